//! The options with the most votes, kept up to date from absolute tallies.
//!
//! The board holds a bounded set of the best options and the *threshold*: the rank above which it is sure to hold every option.
//! An update that stays behind the threshold costs one comparison. When options leave (a poll closes, votes are retracted) and
//! too few are left, the board says that it is thin, and is filled again by a scan of the store.
//!
//! The set has no order. Votes come far more often than anybody looks, and a total that grows mostly stays in its place: an update
//! writes it down where it stands, and the first look after a change among the best sorts those.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

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
    votes: Reverse<u64>,
    poll: PollId,
    option: OptionId,
}

impl From<Leader> for Rank {
    fn from(leader: Leader) -> Self {
        Self { votes: Reverse(leader.votes), poll: leader.poll, option: leader.option }
    }
}

impl From<Rank> for Leader {
    fn from(rank: Rank) -> Self {
        Self { poll: rank.poll, option: rank.option, votes: rank.votes.0 }
    }
}

/// The ranks of a poll's options, without those that nobody has voted for.
fn ranks(poll: PollId, votes: &[u64]) -> impl Iterator<Item = Rank> {
    let voted = votes.iter().enumerate().filter(|&(_, &votes)| votes > 0);
    voted.filter_map(move |(index, &votes)| Some(Rank { votes: Reverse(votes), poll, option: OptionId::from_index(index)? }))
}

/// What the board knows of a poll that has an option on it.
#[derive(Debug, Default)]
struct Held {
    /// Of the newest tally seen; zero when it came from a scan.
    version: Version,
    /// The votes with which each option is on the board; 0 for one that is not.
    votes: Vec<u64>,
}

/// Every option that ranks before it is held, and so is the option itself: it is the last that was kept when the others were let go.
/// `None`: every option of every poll is held.
#[derive(Debug, Clone, Copy)]
struct Threshold(Option<Rank>);

impl Threshold {
    fn has(self, rank: Rank) -> bool {
        self.0.is_none_or(|threshold| rank <= threshold)
    }

    /// Whether an option of the poll belongs on the board.
    fn passes(self, tally: &Tally) -> bool {
        ranks(tally.poll, &tally.totals.votes).any(|rank| self.has(rank))
    }
}

/// The best options of all polls on the board. It does not know which polls belong there: tell it only of those that do.
#[derive(Debug)]
pub struct Leaderboard {
    held: HashMap<PollId, Held, RandomState>,
    /// Options on the board.
    options: usize,
    threshold: Threshold,
    watched: Watched,
    version: u64,
    /// The best of the watched places in their order, as they were when somebody looked last.
    sorted: Vec<Rank>,
    /// Whether none of them has changed since.
    is_sorted: bool,
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
    fn has(&self, rank: Rank) -> bool {
        self.last.is_none_or(|last| rank <= last)
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
        Self {
            held: HashMap::default(),
            options: 0,
            threshold: Threshold(None),
            watched: Watched::default(),
            version: 1,
            sorted: Vec::new(),
            is_sorted: false,
        }
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
        self.threshold.0.is_some() && self.options < BOARD_OPTIONS_MIN
    }

    /// Whether an option of the poll is on the board.
    #[must_use]
    pub fn holds(&self, poll: PollId) -> bool {
        self.held.contains_key(&poll)
    }

    /// Whether an update of this poll can change the board: it has an option there, or one that passes the threshold.
    /// Cheap; lets a caller leave alone the polls that cannot matter, before it finds out whether they belong on the board.
    #[must_use]
    pub fn concerns(&self, tally: &Tally) -> bool {
        self.holds(tally.poll) || self.threshold.passes(tally)
    }

    /// Takes the absolute totals of a poll that belongs on the board. One that is not newer than what is known changes nothing.
    pub fn update(&mut self, tally: &Tally) {
        let held = match self.held.entry(tally.poll) {
            Entry::Occupied(held) if held.get().version >= tally.version => return,
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(room) if self.threshold.passes(tally) => room.insert(Held::default()),
            Entry::Vacant(_) => return,
        };
        held.version = tally.version;
        let options = tally.totals.votes.len().max(held.votes.len());
        held.votes.resize(options, 0);
        let (mut is_change, mut is_left) = (false, false);
        for (index, (&votes, standing)) in tally.totals.votes.iter().zip(&mut held.votes).enumerate() {
            if *standing == votes {
                continue;
            }
            let Some(option) = OptionId::from_index(index) else { break };
            let rank = |votes| Rank { votes: Reverse(votes), poll: tally.poll, option };
            let stood = (*standing > 0).then(|| rank(*standing));
            let stands = (votes > 0).then(|| rank(votes)).filter(|&rank| self.threshold.has(rank));
            *standing = stands.map_or(0, |rank| rank.votes.0);
            is_left |= stands.is_none();
            self.options = self.options + usize::from(stands.is_some()) - usize::from(stood.is_some());
            let was_watched = stood.is_some_and(|rank| self.watched.has(rank));
            let is_watched = stands.is_some_and(|rank| self.watched.has(rank));
            self.watched.places = self.watched.places + usize::from(is_watched) - usize::from(was_watched);
            is_change |= was_watched || is_watched;
        }
        if is_left && held.votes.iter().all(|&votes| votes == 0) {
            self.held.remove(&tally.poll);
        }
        if is_change {
            self.note_change();
        }
        self.trim();
    }

    /// Takes a poll off the board: it was closed, archived, or hides its results.
    pub fn remove_poll(&mut self, poll: PollId) {
        let held = self.held.remove(&poll).unwrap_or_default();
        let mut is_change = false;
        for rank in ranks(poll, &held.votes) {
            self.options -= 1;
            if self.watched.has(rank) {
                self.watched.places -= 1;
                is_change = true;
            }
        }
        if is_change {
            self.note_change();
        }
    }

    /// Starts anew from a scan of the store: its best options, in any order. `complete` says whether these are all it has.
    ///
    /// Updates of tallies that were committed after the scan began must be given to [`update`](Self::update) afterwards.
    pub fn fill(&mut self, leaders: &[Leader], complete: bool) {
        let before = self.top(PLACES_WATCHED);
        self.held.clear();
        for leader in leaders {
            let votes = &mut self.held.entry(leader.poll).or_default().votes;
            votes.resize(votes.len().max(leader.option.index() + 1), 0);
            votes[leader.option.index()] = leader.votes;
        }
        self.options = self.all().count();
        self.threshold = Threshold(if complete { None } else { self.all().max() });
        self.trim();
        self.watch_anew();
        self.is_sorted = false;
        if self.top(PLACES_WATCHED) != before {
            self.version += 1;
        }
    }

    /// The best options, best first; at most `limit`. Sorts those that are watched, when one of them has changed since the last call.
    pub fn top(&mut self, limit: usize) -> Vec<Leader> {
        if limit > PLACES_WATCHED {
            let mut all: Vec<Rank> = self.all().collect();
            all.sort_unstable();
            return all.into_iter().take(limit).map(Leader::from).collect();
        }
        if !self.is_sorted {
            let mut watched: Vec<Rank> = self.all().filter(|&rank| self.watched.has(rank)).collect();
            watched.sort_unstable();
            watched.truncate(PLACES_WATCHED);
            (self.sorted, self.is_sorted) = (watched, true);
        }
        self.sorted.iter().take(limit).copied().map(Leader::from).collect()
    }

    /// All options on the board.
    fn all(&self) -> impl Iterator<Item = Rank> {
        self.held.iter().flat_map(|(&poll, held)| ranks(poll, &held.votes))
    }

    /// A place that anybody may see has changed: counts it, and the watched places anew when they are too few to be sure of the first, or
    /// so many that changes would count that nobody sees.
    fn note_change(&mut self) {
        self.version += 1;
        self.is_sorted = false;
        let places = self.watched.places;
        if places > 3 * PLACES_WATCHED || (self.watched.last.is_some() && places < PLACES_WATCHED) {
            self.watch_anew();
        }
    }

    fn watch_anew(&mut self) {
        const PLACES: usize = 2 * PLACES_WATCHED;
        let mut all: Vec<Rank> = self.all().collect();
        let last = (all.len() >= PLACES).then(|| *all.select_nth_unstable(PLACES - 1).1);
        self.watched = Watched { last, places: all.len().min(PLACES) };
    }

    /// Lets the worst go when there are too many, and remembers where the board ends.
    fn trim(&mut self) {
        if self.options <= BOARD_OPTIONS_MAX {
            return;
        }
        // Down to half way between the bounds, so that neither trimming nor filling comes soon again.
        let keep = usize::midpoint(BOARD_OPTIONS_MIN, BOARD_OPTIONS_MAX);
        let mut all: Vec<Rank> = self.all().collect();
        let (_, &mut last, worst) = all.select_nth_unstable(keep - 1);
        for rank in worst {
            let Some(held) = self.held.get_mut(&rank.poll) else { continue };
            held.votes[rank.option.index()] = 0;
            if held.votes.iter().all(|&votes| votes == 0) {
                self.held.remove(&rank.poll);
            }
        }
        (self.options, self.threshold) = (keep, Threshold(Some(last)));
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
        assert_eq!(board.options, 3000);
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
            let mut ranks: Vec<Rank> = self.0.values().flat_map(|tally| ranks(tally.poll, &tally.totals.votes)).collect();
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
                // Not at each step, so that changes gather between two looks.
                let before = random.random_bool(0.1).then(|| (board.top(PLACES_WATCHED), board.version()));
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
                if let Some((top, version)) = before {
                    prop_assert!(board.version() > version || board.top(PLACES_WATCHED) == top, "a change that nobody is told of");
                }
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
                if action == 1 {
                    continue;
                }
                let mut sorted: Vec<Rank> = all.values().flat_map(|tally| ranks(tally.poll, &tally.totals.votes)).collect();
                sorted.sort();
                let sorted: Vec<Leader> = sorted.into_iter().take(PLACES_WATCHED).map(Leader::from).collect();
                prop_assert_eq!(board.top(PLACES_WATCHED), sorted);
            }
        }
    }
}
