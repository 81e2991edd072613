//! Votes: who, what, and under which identifier.

use std::fmt;

use uuid::Uuid;

use super::poll::{OptionId, PollId};
use crate::clock::Timestamp;

/// Who votes, as the transport knows it. It goes into a [`VoterKey`] and nowhere else: it is neither stored nor logged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum VoterIdentity<'a> {
    /// A trusted caller says who it is.
    Declared(&'a str),
    /// The subject of a verified token.
    Token(&'a str),
    /// A browser that was given a signed cookie.
    Cookie(Uuid),
}

impl fmt::Debug for VoterIdentity<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("VoterIdentity(redacted)")
    }
}

/// The pseudonym of a voter within one poll: keyed digest of the identity, different in every poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoterKey(pub [u8; 16]);

/// The name that a client gives to one vote before it sends it. Used once per voter: sending it again never counts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoteId(pub Uuid);

impl fmt::Display for VoteId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The options that a vote names: at least one, each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Choices(u128);

impl Choices {
    /// Takes distinct options; `None` when there are none or one comes twice.
    #[must_use]
    pub fn new(options: impl IntoIterator<Item = OptionId>) -> Option<Self> {
        let mut set = 0_u128;
        for option in options {
            let bit = 1 << option.index();
            if set & bit != 0 {
                return None;
            }
            set |= bit;
        }
        (set != 0).then_some(Self(set))
    }

    /// One option.
    #[must_use]
    pub fn single(option: OptionId) -> Self {
        Self(1 << option.index())
    }

    /// How many options it names.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The options in ascending order.
    pub fn iter(self) -> impl Iterator<Item = OptionId> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let index = rest.trailing_zeros() as usize;
            rest &= rest.checked_sub(1)?;
            OptionId::from_index(index)
        })
    }

    /// The greatest option that it names.
    #[must_use]
    pub const fn highest_index(self) -> usize {
        127 - self.0.leading_zeros() as usize
    }

    /// One byte for each option, ascending: the form in which stores keep it, so that SQL can search it.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        self.iter().map(OptionId::get).collect()
    }

    /// Reads [`to_bytes`](Self::to_bytes); `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let options: Option<Vec<OptionId>> = bytes.iter().map(|&byte| OptionId::new(u64::from(byte))).collect();
        Self::new(options?)
    }
}

/// What a vote asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VoteKind {
    /// Count these choices.
    Cast(Choices),
    /// Take back what was counted.
    Retract,
}

impl VoteKind {
    /// The kind of a vote that is kept as these choices, of which a retraction has none.
    #[must_use]
    pub const fn of(choices: Option<Choices>) -> Self {
        match choices {
            Some(choices) => Self::Cast(choices),
            None => Self::Retract,
        }
    }

    /// The choices; none for a retraction.
    #[must_use]
    pub const fn choices(self) -> Option<Choices> {
        match self {
            Self::Cast(choices) => Some(choices),
            Self::Retract => None,
        }
    }
}

/// A vote as it stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// The poll.
    pub poll: PollId,
    /// The voter. Also the key that picks the partition, so that one voter's votes stay in order.
    pub voter: VoterKey,
    /// The name of this vote.
    pub id: VoteId,
    /// When the server accepted it. Decides whether it is late.
    pub accepted_at: Timestamp,
    /// What it asks for.
    pub kind: VoteKind,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(numbers: &[u64]) -> Vec<OptionId> {
        numbers.iter().filter_map(|&number| OptionId::new(number)).collect()
    }

    #[test]
    fn choices_are_a_set_in_ascending_order() {
        let choices = Choices::new(options(&[100, 3, 1])).expect("distinct");
        assert_eq!(choices.to_bytes(), [1, 3, 100]);
        assert_eq!((choices.len(), choices.highest_index()), (3, 99));
        assert_eq!(Choices::from_bytes(&choices.to_bytes()), Some(choices));
    }

    #[test]
    fn choices_without_an_option_or_with_one_twice_cannot_be_made() {
        assert_eq!(Choices::new([]), None);
        assert_eq!(Choices::new(options(&[2, 2])), None);
        assert_eq!(Choices::from_bytes(&[0]), None);
        assert_eq!(Choices::from_bytes(&[101]), None);
    }
}
