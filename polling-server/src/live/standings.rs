//! What is known of the leaderboard, and the news that waits to be worked in. Pure.

use std::collections::BTreeMap;

use polling_core::bus::Update;
use polling_core::leaderboard::{BOARD_OPTIONS_MAX, Leaderboard};
use polling_core::model::{PollId, Tally};
use polling_core::store::Leader;

/// Polls whose news is kept, at most: some megabytes, and more polls than are voted in while the store is scanned.
const WAITING_POLLS_MAX: usize = 10_000;

/// What was heard of a poll.
#[derive(Debug, Default)]
struct News {
    /// Which news it was, the last of it: what comes while a poll is being looked at keeps it waiting.
    number: u64,
    /// The newest tally that came, if any did.
    tally: Option<Tally>,
    /// Whether something changed that a tally does not say.
    is_changed: bool,
    /// Whether it is worked in. It is kept while the store is scanned, for the board that comes of that, which may not have it.
    is_settled: bool,
}

/// The board, and what it has not seen yet.
#[derive(Debug)]
pub struct Standings {
    board: Leaderboard,
    /// Polls with news that may matter.
    waiting: BTreeMap<PollId, News>,
    /// Counts news.
    noted: u64,
    /// Whether the board must be filled from the store, since which news.
    unfilled: Option<u64>,
    /// Whether it was filled ever.
    is_known: bool,
    /// Whether the store is being scanned. The scan may have passed any poll before the news of it came.
    is_scanning: bool,
}

impl Default for Standings {
    fn default() -> Self {
        Self {
            board: Leaderboard::new(),
            waiting: BTreeMap::new(),
            noted: 0,
            unfilled: Some(0),
            is_known: false,
            is_scanning: false,
        }
    }
}

impl Standings {
    /// The version of the board.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.board.version()
    }

    /// The best options with the version of the board.
    #[must_use]
    pub fn top(&mut self, limit: usize) -> (u64, Vec<Leader>) {
        (self.board.version(), self.board.top(limit))
    }

    /// Takes in news; answers whether it may matter.
    pub fn absorb(&mut self, update: &Update) -> bool {
        let poll = match update {
            Update::Tally(tally) => tally.poll,
            Update::Changed(poll) => *poll,
            Update::Progress { .. } | Update::Audience(_) => return false,
        };
        if self.unfilled.is_some() {
            // What comes before the scan is in it.
            if self.is_scanning {
                self.note(poll, update);
            }
            return true;
        }
        match update {
            // It belongs there, so nobody has to be asked.
            Update::Tally(tally) if self.board.holds(poll) => {
                let before = self.board.version();
                self.board.update(tally);
                if self.is_scanning {
                    self.note(poll, update);
                }
                self.board.version() != before
            }
            Update::Tally(tally) if !self.is_scanning && !self.board.concerns(tally) => false,
            _ => {
                self.note(poll, update);
                true
            }
        }
    }

    fn note(&mut self, poll: PollId, update: &Update) {
        self.noted += 1;
        let news = self.waiting.entry(poll).or_default();
        (news.number, news.is_settled) = (self.noted, false);
        match update {
            Update::Tally(tally) if news.tally.as_ref().is_none_or(|known| known.version < tally.version) => {
                news.tally = Some(tally.clone());
            }
            Update::Tally(_) => {}
            _ => news.is_changed = true,
        }
        if self.waiting.len() > WAITING_POLLS_MAX {
            self.waiting.clear();
            self.spoil();
        }
    }

    /// Takes the totals of a poll that is on the board, unless newer ones are known.
    pub fn update(&mut self, tally: &Tally) {
        if self.board.holds(tally.poll) {
            self.board.update(tally);
        }
    }

    /// Takes a poll off the board that does not belong there.
    pub fn remove(&mut self, poll: PollId) {
        self.board.remove_poll(poll);
    }

    /// Has the board filled before it is shown again: it may have missed something.
    pub fn spoil(&mut self) {
        self.noted += 1;
        self.unfilled = Some(self.noted);
    }

    /// The same if options may be missing that belong among those asked for.
    pub fn spoil_if_thin(&mut self) {
        if self.board.is_thin() {
            self.spoil();
        }
    }

    /// Whether the board must be filled.
    #[must_use]
    pub const fn is_spoilt(&self) -> bool {
        self.unfilled.is_some()
    }

    /// Whether there is anything to show although the board must be filled.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.is_known
    }

    /// Whether everything is worked in, and nothing is missing.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.unfilled.is_none() && self.waiting.values().all(|news| news.is_settled) && !self.board.is_thin()
    }

    /// Notes that the store is being scanned; answers the news that are sure to be in it. One scan at a time.
    pub fn begin_scan(&mut self) -> u64 {
        self.is_scanning = true;
        self.noted
    }

    /// Notes that the scan has ended, however it did.
    pub fn end_scan(&mut self) {
        self.is_scanning = false;
        self.waiting.retain(|_, news| !news.is_settled);
    }

    /// Starts anew from a scan of the store that has all news up to `begun`. `tallies` are read after it, of the polls that are shown:
    /// the scan knows no versions, and an older tally that is late must not take the place of what was seen.
    pub fn fill(&mut self, begun: u64, leaders: &[Leader], tallies: &[Tally]) {
        self.board.fill(leaders, leaders.len() < BOARD_OPTIONS_MAX);
        tallies.iter().for_each(|tally| self.update(tally));
        self.waiting.retain(|_, news| {
            news.is_settled = false;
            news.number > begun
        });
        self.unfilled = self.unfilled.filter(|&since| since > begun);
        self.is_known = true;
    }

    /// Works in the news that say enough by themselves; answers the polls that have to be looked at, each with the number of its latest
    /// news, those that have waited longest first.
    pub fn settle(&mut self) -> Vec<(PollId, u64)> {
        let Self { board, waiting, is_scanning, .. } = self;
        waiting.retain(|&poll, news| {
            news.is_settled |= match &news.tally {
                _ if news.is_changed => false,
                Some(tally) if board.holds(poll) => {
                    board.update(tally);
                    true
                }
                Some(tally) => !board.concerns(tally),
                None => true,
            };
            *is_scanning || !news.is_settled
        });
        let unsettled = waiting.iter().filter(|(_, news)| !news.is_settled);
        let mut waiting: Vec<(PollId, u64)> = unsettled.map(|(&poll, news)| (poll, news.number)).collect();
        waiting.sort_unstable_by_key(|&(_, number)| number);
        waiting
    }

    /// Takes in how a poll is: its totals if it belongs on the board. It was read after the news of this number. Unless `is_fresh`,
    /// there may be newer, and the poll stays waiting.
    pub fn look(&mut self, poll: PollId, number: u64, found: Option<&Tally>, is_fresh: bool) {
        let news = self.waiting.get(&poll);
        match found {
            Some(found) => {
                let heard = news.and_then(|news| news.tally.as_ref());
                let newest = heard.filter(|heard| heard.version > found.version).unwrap_or(found);
                self.board.update(newest);
            }
            None => self.board.remove_poll(poll),
        }
        if let Some(news) = self.waiting.get_mut(&poll).filter(|news| is_fresh && news.number == number) {
            news.is_settled = true;
            if !self.is_scanning {
                self.waiting.remove(&poll);
            }
        }
    }
}
