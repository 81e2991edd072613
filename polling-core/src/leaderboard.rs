//! The options with the most votes, kept up to date from absolute tallies.
//!
//! The board holds a bounded set of the best options and the *threshold*: the rank above which it is sure to hold every option.
//! An update that stays behind the threshold costs one comparison. When options leave (a poll closes, votes are retracted) and
//! too few are left, the board says that it is thin, and is filled again by a scan of the store.

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::RandomState;

use crate::model::{OptionId, PollId, Tally, Version};
use crate::store::Leader;

/// Options that the board holds after it was filled, at most.
pub const BOARD_OPTIONS_MAX: usize = 4000;
/// When fewer are left while the store may have more, the board is thin.
pub const BOARD_OPTIONS_MIN: usize = 2000;

/// Sorts best first: more votes, then the poll created earlier, then the smaller option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Rank {
    votes: std::cmp::Reverse<u64>,
    poll: PollId,
    option: OptionId,
}

impl From<Leader> for Rank {
    fn from(leader: Leader) -> Self {
        Self { votes: std::cmp::Reverse(leader.votes), poll: leader.poll, option: leader.option }
    }
}

impl From<Rank> for Leader {
    fn from(rank: Rank) -> Self {
        Self { poll: rank.poll, option: rank.option, votes: rank.votes.0 }
    }
}

/// What the board knows of a poll that has an option on it.
#[derive(Debug, Default)]
struct Held {
    /// Of the newest tally seen; zero when it came from a scan.
    version: Version,
    /// The votes under which each option stands in `best`; 0 for one that does not.
    votes: Vec<u64>,
}

/// The best options of all polls on the board. It does not know which polls belong there: tell it only of those that do.
#[derive(Debug)]
pub struct Leaderboard {
    best: BTreeSet<Rank>,
    held: HashMap<PollId, Held, RandomState>,
    /// Every option that ranks before it is held. `None`: every option of every poll is held.
    threshold: Option<Rank>,
    watched: Watched,
    version: u64,
}

/// The places whose changes make a new version: those that anybody can ask for, and some behind them, so that they need not be
/// counted anew at every change.
#[derive(Debug, Default)]
struct Watched {
    /// The last of them; `None`: all.
    last: Option<Rank>,
    /// How many there are.
    places: usize,
}

impl Watched {
    /// Too few to be sure of the first, or so many that changes would count that nobody sees.
    const fn is_off(&self) -> bool {
        self.last.is_some() && (self.places < PLACES_WATCHED || self.places > 3 * PLACES_WATCHED)
    }

    fn has(&self, rank: Rank) -> bool {
        self.last.is_none_or(|last| rank <= last)
    }

    fn of(best: &BTreeSet<Rank>) -> Self {
        let last = best.iter().nth(2 * PLACES_WATCHED - 1).copied();
        Self { last, places: best.len().min(2 * PLACES_WATCHED) }
    }
}

impl Default for Leaderboard {
    fn default() -> Self {
        Self::new()
    }
}

impl Leaderboard {
    /// An empty board for a store without votes.
    #[must_use]
    pub fn new() -> Self {
        Self { best: BTreeSet::new(), held: HashMap::default(), threshold: None, watched: Watched::default(), version: 1 }
    }

    /// Grows whenever an option among the best 100 changes its votes or its place, and at times when one close behind them does.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Whether options may be missing that belong among those asked for: scan the store for [`BOARD_OPTIONS_MAX`] and
    /// [`fill`](Self::fill).
    #[must_use]
    pub fn is_thin(&self) -> bool {
        self.threshold.is_some() && self.best.len() < BOARD_OPTIONS_MIN
    }

    /// Whether an update of this poll can change the board: it has an option there, or one that passes the threshold.
    /// Cheap; lets a caller leave alone the polls that cannot matter, before it finds out whether they belong on the board.
    #[must_use]
    pub fn concerns(&self, tally: &Tally) -> bool {
        self.held.contains_key(&tally.poll) || self.ranks(tally).any(|rank| self.is_above_threshold(rank))
    }

    /// Takes the absolute totals of a poll that belongs on the board. One that is not newer than what is known changes nothing.
    pub fn update(&mut self, tally: &Tally) {
        if !self.concerns(tally) || self.held.get(&tally.poll).is_some_and(|held| held.version >= tally.version) {
            return;
        }
        let mut held = self.held.remove(&tally.poll).unwrap_or_default();
        held.version = tally.version;
        held.votes.resize(tally.totals.votes.len().max(held.votes.len()), 0);
        for (index, &votes) in tally.totals.votes.iter().enumerate() {
            let Some(option) = OptionId::from_index(index) else { break };
            let standing = &mut held.votes[index];
            if *standing == votes {
                continue;
            }
            let rank = |votes| Rank { votes: std::cmp::Reverse(votes), poll: tally.poll, option };
            if *standing > 0 {
                self.remove(rank(*standing));
                *standing = 0;
            }
            if votes > 0 && self.is_above_threshold(rank(votes)) {
                self.insert(rank(votes));
                *standing = votes;
            }
        }
        if held.votes.iter().any(|&votes| votes > 0) {
            self.held.insert(tally.poll, held);
        }
        self.trim();
    }

    /// Takes a poll off the board: it was closed, archived, or hides its results.
    pub fn remove_poll(&mut self, poll: PollId) {
        for (index, votes) in self.held.remove(&poll).unwrap_or_default().votes.into_iter().enumerate() {
            if let (Some(option), 1..) = (OptionId::from_index(index), votes) {
                self.remove(Rank { votes: std::cmp::Reverse(votes), poll, option });
            }
        }
    }

    /// Starts anew from a scan of the store: its best options, in any order. `complete` says whether these are all it has.
    ///
    /// Updates of tallies that were committed after the scan began must be given to [`update`](Self::update) afterwards.
    pub fn fill(&mut self, leaders: &[Leader], complete: bool) {
        let before = self.top(PLACES_WATCHED);
        self.best = leaders.iter().copied().map(Rank::from).collect();
        self.held.clear();
        for leader in leaders {
            let votes = &mut self.held.entry(leader.poll).or_default().votes;
            votes.resize(votes.len().max(leader.option.index() + 1), 0);
            votes[leader.option.index()] = leader.votes;
        }
        self.threshold = if complete { None } else { self.best.last().copied() };
        self.trim();
        self.watched = Watched::of(&self.best);
        if self.top(PLACES_WATCHED) != before {
            self.version += 1;
        }
    }

    /// The best options, best first; at most `limit`.
    #[must_use]
    pub fn top(&self, limit: usize) -> Vec<Leader> {
        self.best.iter().take(limit).copied().map(Leader::from).collect()
    }

    fn ranks<'a>(&self, tally: &'a Tally) -> impl Iterator<Item = Rank> + use<'a> {
        tally.totals.votes.iter().enumerate().filter(|&(_, &votes)| votes > 0).filter_map(|(index, &votes)| {
            Some(Rank { votes: std::cmp::Reverse(votes), poll: tally.poll, option: OptionId::from_index(index)? })
        })
    }

    /// The threshold itself is held too: it is the last that was kept when the others were let go.
    fn is_above_threshold(&self, rank: Rank) -> bool {
        self.threshold.is_none_or(|threshold| rank <= threshold)
    }

    fn insert(&mut self, rank: Rank) {
        if self.best.insert(rank) && self.watched.has(rank) {
            self.watched.places += 1;
            self.note_change();
        }
    }

    fn remove(&mut self, rank: Rank) {
        if self.best.remove(&rank) && self.watched.has(rank) {
            self.watched.places -= 1;
            self.note_change();
        }
    }

    fn note_change(&mut self) {
        self.version += 1;
        let may_end = self.watched.last.is_none() && self.best.len() > 3 * PLACES_WATCHED;
        if may_end || self.watched.is_off() {
            self.watched = Watched::of(&self.best);
        }
    }

    /// Lets the worst go when there are too many, and remembers where the board ends.
    fn trim(&mut self) {
        if self.best.len() <= BOARD_OPTIONS_MAX {
            return;
        }
        // Down to half way between the bounds, so that neither trimming nor filling comes soon again.
        let keep = usize::midpoint(BOARD_OPTIONS_MIN, BOARD_OPTIONS_MAX);
        while self.best.len() > keep {
            let Some(worst) = self.best.pop_last() else { break };
            if let Some(held) = self.held.get_mut(&worst.poll) {
                held.votes[worst.option.index()] = 0;
                if held.votes.iter().all(|&votes| votes == 0) {
                    self.held.remove(&worst.poll);
                }
            }
        }
        self.threshold = self.best.last().copied();
    }
}

/// Places that anybody can ask for.
pub const PLACES_WATCHED: usize = 100;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use uuid::Uuid;

    use super::*;
    use crate::model::Totals;

    fn poll(number: u64) -> PollId {
        let uuid = Uuid::from_u128((u128::from(number) << 80) | 0x7000_8000_0000_0000_0000);
        PollId::from_uuid(uuid).expect("version 7")
    }

    fn tally(poll_number: u64, version: u64, votes: &[u64]) -> Tally {
        Tally {
            poll: poll(poll_number),
            version: Version { epoch: 1, number: version },
            totals: Totals { voters: votes.iter().sum(), votes: votes.to_vec() },
        }
    }

    #[test]
    fn ties_go_to_the_older_poll_and_then_to_the_smaller_option() {
        let mut board = Leaderboard::new();
        board.update(&tally(2, 1, &[5, 5]));
        board.update(&tally(1, 1, &[0, 5]));
        let order: Vec<_> = board.top(10).iter().map(|leader| (leader.poll, leader.option.get())).collect();
        assert_eq!(order, [(poll(1), 2), (poll(2), 1), (poll(2), 2)]);
    }

    #[test]
    fn an_older_tally_changes_nothing() {
        let mut board = Leaderboard::new();
        board.update(&tally(1, 2, &[7]));
        let version = board.version();
        board.update(&tally(1, 1, &[6]));
        assert_eq!((board.top(1)[0].votes, board.version()), (7, version));
    }

    #[test]
    fn a_full_board_lets_the_worst_go_and_says_when_it_is_thin() {
        let mut board = Leaderboard::new();
        for number in 0..=BOARD_OPTIONS_MAX as u64 {
            board.update(&tally(number, 1, &[number + 1]));
        }
        assert_eq!(board.best.len(), 3000);
        assert!(!board.concerns(&tally(0, 2, &[3])), "far below the threshold");
        for number in 3000..=BOARD_OPTIONS_MAX as u64 {
            assert!(!board.is_thin());
            board.remove_poll(poll(number));
        }
        assert!(board.is_thin());
    }

    /// The polls of a store, sorted in full: what the board must show, and what it is filled from.
    #[derive(Default)]
    struct Sorted(HashMap<PollId, Tally>);

    impl Sorted {
        fn best(&self, limit: usize) -> Vec<Leader> {
            let mut ranks: Vec<Rank> = self.0.values().flat_map(|tally| Leaderboard::new().ranks(tally)).collect();
            ranks.sort_unstable();
            ranks.into_iter().take(limit).map(Leader::from).collect()
        }

        fn fill(&self, board: &mut Leaderboard) {
            let best = self.best(BOARD_OPTIONS_MAX);
            board.fill(&best, best.len() < BOARD_OPTIONS_MAX);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

        /// More options than the board holds, so that it lets go, becomes thin, and is filled again.
        #[test]
        fn a_board_that_holds_a_part_shows_the_best_of_all(seed in any::<u64>()) {
            let mut random = rand::rngs::SmallRng::seed_from_u64(seed);
            let (mut board, mut all, mut refills) = (Leaderboard::new(), Sorted::default(), 0);
            for step in 1..=12_000_u64 {
                let before = (board.top(PLACES_WATCHED), board.version());
                // First come polls, then closings and changed votes, which let the board run dry.
                let number = random.random_range(0..3_000_u64);
                if step > 6_000 && random.random_bool(0.7) {
                    board.remove_poll(poll(number));
                    all.0.remove(&poll(number));
                } else {
                    let votes: Vec<u64> = (0..3).map(|_| random.random_range(0..1_000)).collect();
                    board.update(&tally(number, step, &votes));
                    all.0.insert(poll(number), tally(number, step, &votes));
                }
                if board.is_thin() {
                    refills += 1;
                    all.fill(&mut board);
                }
                prop_assert!(board.version() > before.1 || board.top(PLACES_WATCHED) == before.0, "a change that nobody is told of");
                if step % 1_000 == 0 {
                    prop_assert_eq!(board.top(PLACES_WATCHED), all.best(PLACES_WATCHED));
                }
            }
            prop_assert!(refills > 0, "the case has shown nothing");
        }
    }

    proptest! {
        #[test]
        fn the_board_is_the_sorted_list(steps in proptest::collection::vec((0..40_u64, proptest::collection::vec(0..9_u64, 3), 0..8_u8), 1..200)) {
            let mut board = Leaderboard::new();
            let mut all: HashMap<PollId, Tally> = HashMap::new();
            for (version, (number, votes, action)) in (1..).zip(steps) {
                if action == 0 {
                    board.remove_poll(poll(number));
                    all.remove(&poll(number));
                } else {
                    board.update(&tally(number, version, &votes));
                    all.insert(poll(number), tally(number, version, &votes));
                }
                let mut sorted: Vec<Rank> = all.values().flat_map(|tally| board.ranks(tally)).collect();
                sorted.sort();
                let sorted: Vec<Leader> = sorted.into_iter().take(PLACES_WATCHED).map(Leader::from).collect();
                prop_assert_eq!(board.top(PLACES_WATCHED), sorted);
            }
        }
    }
}
