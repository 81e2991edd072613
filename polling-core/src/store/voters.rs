//! Who has voted, remembered in little memory: a filter that saves a store from looking for votes that are not there.

use std::hash::RandomState;

use fastbloom::BloomFilter;

use crate::model::VoterKey;

/// Bits of the filter: 8 MiB, of which the system gives only what is written to. Of n voters (1 - e^(-4n/bits))^4 are looked for in
/// vain: one in five hundred when four million are remembered, one in seven when it is sixteen million.
const BITS: usize = 1 << 26;
/// Bits that are set for each voter. More would tell fewer voters apart from others, and fill the filter sooner.
const BITS_OF_VOTER: u32 = 4;
/// Voters after which it is better to begin anew: then all voters of the polls of that time are looked for, but of no later ones.
const VOTERS_MAX: usize = 16_000_000;

/// Voters of polls. None is forgotten, and some are taken to be there who are not.
#[derive(Debug)]
pub(super) struct Voters {
    filter: BloomFilter<RandomState>,
    remembered: usize,
}

impl Default for Voters {
    /// Nobody.
    fn default() -> Self {
        let filter = BloomFilter::with_num_bits(BITS).hasher(RandomState::new()).hashes(BITS_OF_VOTER);
        Self { filter, remembered: 0 }
    }
}

impl Voters {
    /// Remembers the voter of the poll with this number.
    pub(super) fn insert(&mut self, poll: i64, voter: VoterKey) {
        self.remembered += usize::from(!self.filter.insert(&(poll, voter)));
    }

    /// Whether the voter may have been remembered: certainly not when it says no.
    pub(super) fn may_contain(&self, poll: i64, voter: VoterKey) -> bool {
        self.filter.contains(&(poll, voter))
    }

    /// Whether so many are remembered that others are taken for them too often.
    pub(super) const fn are_too_many(&self) -> bool {
        self.remembered > VOTERS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_forgotten_and_few_are_taken_for_others() {
        let voter = |number: u64| VoterKey(u128::from(number).to_be_bytes());
        let mut voters = Voters::default();
        assert!(!voters.may_contain(1, voter(0)));
        (0..10_000).for_each(|number| voters.insert(1, voter(number)));
        assert!((0..10_000).all(|number| voters.may_contain(1, voter(number))));
        let in_vain = (0..10_000).filter(|&number| voters.may_contain(2, voter(number))).count();
        assert!(in_vain < 10, "{in_vain}");
        voters.insert(1, voter(0));
        assert!((9_990..=10_000).contains(&voters.remembered), "each is remembered once");
    }
}
