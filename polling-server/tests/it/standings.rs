//! The leaderboard against a full sort of the store, however scans, looks and news come between each other.

use std::cmp::Reverse;
use std::collections::VecDeque;

use polling_core::bus::Update;
use polling_core::leaderboard::{BOARD_OPTIONS_MAX, PLACES_WATCHED};
use polling_core::model::{OptionId, PollId, Tally, Totals, Version};
use polling_core::store::Leader;
use polling_server::live::standings::Standings;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

/// Fewer than options, so that many have as many votes as others.
const VOTES_MAX: u64 = 50;

/// A poll as the store has it.
struct Kept {
    tally: Tally,
    is_open: bool,
}

/// What is true, and the news of it that is on its way.
struct Store {
    options: usize,
    polls: Vec<Kept>,
    news: Vec<Update>,
}

impl Store {
    fn new(polls: usize, options: usize, random: &mut StdRng) -> Self {
        let mut store = Self { options, polls: Vec::new(), news: Vec::new() };
        (0..polls).for_each(|_| store.create());
        for votes in store.polls.iter_mut().flat_map(|kept| &mut kept.tally.totals.votes) {
            *votes = random.random_range(0..VOTES_MAX);
        }
        store
    }

    fn create(&mut self) {
        let number = self.polls.len() as u128;
        let poll = PollId::from_uuid(Uuid::from_u128(number << 80 | 0x7000_8000_0000_0000_0000)).expect("of version 7");
        let totals = Totals { voters: 0, votes: vec![0; self.options] };
        self.polls.push(Kept { tally: Tally { poll, version: Version { epoch: 1, number: 1 }, totals }, is_open: true });
    }

    /// A vote, a changed vote or a retraction; at times a poll closes and another one is made.
    fn change(&mut self, random: &mut StdRng) {
        let index = random.random_range(0..self.polls.len());
        let kept = &mut self.polls[index];
        if !kept.is_open {
            return;
        }
        kept.tally.version.number += 1;
        if random.random_bool(0.02) {
            kept.is_open = false;
            self.news.push(Update::Changed(kept.tally.poll));
            self.create();
        } else {
            kept.tally.totals.votes[random.random_range(0..self.options)] = random.random_range(0..VOTES_MAX);
            self.news.push(Update::Tally(kept.tally.clone()));
        }
    }

    /// What the board needs to know of a poll: its totals, if it belongs there.
    fn read(&self, poll: PollId) -> Option<Tally> {
        self.polls.iter().find(|kept| kept.tally.poll == poll && kept.is_open).map(|kept| kept.tally.clone())
    }

    fn leaders(&self, limit: usize) -> Vec<Leader> {
        let options = self.polls.iter().filter(|kept| kept.is_open).flat_map(|kept| {
            let votes = kept.tally.totals.votes.iter().enumerate().filter(|&(_, &votes)| votes > 0);
            votes.map(|(index, &votes)| Leader {
                poll: kept.tally.poll,
                option: OptionId::from_index(index).expect("one"),
                votes,
            })
        });
        let mut leaders: Vec<Leader> = options.collect();
        leaders.sort_unstable_by_key(|leader| (Reverse(leader.votes), leader.poll, leader.option));
        leaders.truncate(limit);
        leaders
    }

    fn tallies(&self, leaders: &[Leader]) -> Vec<Tally> {
        leaders.iter().take(2 * PLACES_WATCHED).filter_map(|leader| self.read(leader.poll)).collect()
    }
}

/// A scan that is under way.
enum Scan {
    Begun(u64),
    Read(u64, Vec<Leader>),
    Ready(u64, Vec<Leader>, Vec<Tally>),
}

/// A server's board, with what is under way for it.
#[derive(Default)]
struct Server {
    standings: Standings,
    scan: Option<Scan>,
    /// Polls that are to be looked at in this round, and what was read of the first of them.
    round: VecDeque<(PollId, u64)>,
    read: Option<Option<Tally>>,
}

impl Server {
    fn scan_on(&mut self, store: &Store) {
        self.scan = match self.scan.take() {
            None => Some(Scan::Begun(self.standings.begin_scan())),
            Some(Scan::Begun(begun)) => Some(Scan::Read(begun, store.leaders(BOARD_OPTIONS_MAX))),
            Some(Scan::Read(begun, leaders)) => {
                let tallies = store.tallies(&leaders);
                Some(Scan::Ready(begun, leaders, tallies))
            }
            Some(Scan::Ready(begun, leaders, tallies)) => {
                self.standings.fill(begun, &leaders, &tallies);
                self.standings.end_scan();
                None
            }
        };
    }

    fn look_on(&mut self, store: &Store) {
        let Some(&(poll, number)) = self.round.front() else {
            self.round = self.standings.settle().into();
            return;
        };
        match self.read.take() {
            None => self.read = Some(store.read(poll)),
            Some(found) => {
                self.standings.look(poll, number, found.as_ref(), true);
                self.round.pop_front();
                if self.round.is_empty() {
                    self.standings.spoil_if_thin();
                }
            }
        }
    }

    fn step(&mut self, store: &mut Store, random: &mut StdRng) {
        match random.random_range(0..200) {
            0..80 => store.change(random),
            80..150 if !store.news.is_empty() => {
                // It may be overtaken.
                let news = store.news.swap_remove(random.random_range(0..store.news.len()));
                self.standings.absorb(&news);
            }
            150 => {
                store.news.clear();
                self.standings.spoil();
            }
            151 if self.scan.is_some() => {
                // It fails.
                self.scan = None;
                self.standings.end_scan();
            }
            152..170 if self.scan.is_some() || self.standings.is_spoilt() || random.random_bool(0.1) => self.scan_on(store),
            170..199 => self.look_on(store),
            199 => {
                self.find(store, 10);
            }
            _ => {}
        }
    }

    /// Looks at the polls of the best options; answers whether all was as it stood.
    fn find(&mut self, store: &Store, limit: usize) -> bool {
        let (version, leaders) = self.standings.top(limit);
        for leader in leaders {
            match store.read(leader.poll) {
                Some(tally) => self.standings.update(&tally),
                None => self.standings.remove(leader.poll),
            }
        }
        self.standings.version() == version
    }

    /// What is shown when all that has happened was told.
    fn shown(&mut self, store: &mut Store) -> Vec<Leader> {
        for news in std::mem::take(&mut store.news) {
            self.standings.absorb(&news);
        }
        for _ in 0..100_000 {
            if self.scan.is_some() || self.standings.is_spoilt() {
                self.scan_on(store);
            } else if !self.round.is_empty() || !self.standings.is_current() {
                self.look_on(store);
                self.standings.spoil_if_thin();
            } else if self.find(store, PLACES_WATCHED) {
                return self.standings.top(PLACES_WATCHED).1;
            }
        }
        panic!("it does not come to rest");
    }
}

fn hold_against_a_full_sort(seeds: u64, polls: usize, options: usize, steps: usize) {
    for seed in 0..seeds {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut store, mut server) = (Store::new(polls, options, &mut random), Server::default());
        for rest in 0..10 {
            (0..steps).for_each(|_| server.step(&mut store, &mut random));
            let (shown, due) = (server.shown(&mut store), store.leaders(PLACES_WATCHED));
            let differs = (0..PLACES_WATCHED).find(|&place| shown.get(place) != due.get(place));
            let of = |leaders: &[Leader]| differs.and_then(|place| leaders.get(place).copied());
            assert_eq!((of(&shown), shown.len()), (of(&due), due.len()), "place {differs:?}, seed {seed}, rest {rest}");
        }
    }
}

#[test]
fn a_board_that_holds_everything_comes_right_whatever_comes_between_what() {
    hold_against_a_full_sort(200, 12, 3, 300);
}

#[test]
fn a_board_that_holds_a_part_comes_right_whatever_comes_between_what() {
    hold_against_a_full_sort(2, 60, 100, 3_000);
}
