//! Which voters have voted through this server lately.

use std::sync::atomic::{AtomicU16, Ordering};

use polling_core::model::VoterKey;

/// Voters that are remembered, at most: a second or two of votes at full speed. With marks of two bytes that is 128 KiB, which a
/// processor can keep at hand: each vote looks at a place that none before it has looked at.
const SLOTS: usize = 1 << 16;

/// Remembers voters, and forgets one when another needs its place. A hint, in both directions: whoever is told that a voter was
/// seen, as one in 65,535 is without having been, asks the store; whoever is told that it was not lets the store decide later.
pub(crate) struct RecentVoters(Box<[AtomicU16]>);

impl RecentVoters {
    /// Nobody was seen.
    pub(crate) fn new() -> Self {
        Self((0..SLOTS).map(|_| AtomicU16::new(0)).collect())
    }

    /// Whether the voter was seen.
    pub(crate) fn saw(&self, voter: VoterKey) -> bool {
        let (slot, mark) = self.place(voter);
        slot.load(Ordering::Relaxed) == mark
    }

    /// The voter was seen.
    pub(crate) fn note(&self, voter: VoterKey) {
        let (slot, mark) = self.place(voter);
        slot.store(mark, Ordering::Relaxed);
    }

    /// A voter key is a digest, so any part of it serves as a hash.
    fn place(&self, voter: VoterKey) -> (&AtomicU16, u16) {
        let bits = u128::from_be_bytes(voter.0);
        let (index, mark) = (bits as usize % SLOTS, (bits >> 112) as u16);
        // Zero marks a place that was never used.
        (&self.0[index], mark.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voter_is_remembered_until_another_takes_its_place() {
        let recent = RecentVoters::new();
        let (first, same_place) = (VoterKey([0; 16]), VoterKey([9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        assert!(!recent.saw(first));
        recent.note(first);
        assert!(recent.saw(first) && !recent.saw(same_place));
        recent.note(same_place);
        assert!(!recent.saw(first) && recent.saw(same_place));
    }
}
