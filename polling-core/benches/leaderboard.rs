//! What an update costs the leaderboard when there are ten million options, and filling it anew.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::cast_precision_loss, reason = "what is measured is far below any bound")]

use std::hint::black_box;
use std::time::Instant;

use polling_core::leaderboard::{BOARD_OPTIONS_MAX, Leaderboard, PLACES_WATCHED};
use polling_core::model::{OptionId, PollId, Tally, Totals, Version};
use polling_core::store::Leader;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

/// Polls of four options: ten million options.
const POLLS: usize = 2_500_000;
const OPTIONS: usize = 4;
/// Updates of a turn, each of one more vote for one option.
const UPDATES: usize = 1_000_000;
/// Updates that come together, as from a bus: they were just read, so they are at hand.
const BATCH: usize = 1_000;
/// Turns of each kind; their median is what is told.
const TURNS: usize = 5;
/// The leaders of the hot kind: polls that get half of the votes.
const HOT_POLLS: usize = 100;

fn main() {
    let mut random = SmallRng::seed_from_u64(1);
    let mut tallies: Vec<Tally> = (0..POLLS).map(|number| tally(number, &mut random)).collect();
    let before = resident_bytes();
    let mut board = Leaderboard::new();
    let fill = median((0..TURNS).map(|_| seconds(|| fill(&mut board, &tallies))).collect());
    let memory = resident_bytes().saturating_sub(before);
    println!("{} options; medians of {TURNS} turns of {UPDATES} updates.\n", POLLS * OPTIONS);
    println!("| votes go to | ns/update | goal | of these concern the board | µs/look, after each {BATCH} |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for (title, hot_share) in [("any poll alike", 0.0), ("100 polls half of them, any the others", 0.5)] {
        let (mut turns, mut looks) = (Vec::new(), Vec::new());
        let mut concerned = 0_u32;
        for _ in 0..TURNS {
            concerned = 0;
            let (mut spent, mut looked) = (0.0, 0.0);
            for _ in 0..UPDATES / BATCH {
                let updates: Vec<Tally> = (0..BATCH).map(|_| vote(&mut random, hot_share, &mut tallies)).collect();
                spent += seconds(|| {
                    for update in &updates {
                        if board.concerns(black_box(update)) {
                            concerned += 1;
                            board.update(update);
                        }
                    }
                });
                looked += seconds(|| {
                    black_box(board.top(PLACES_WATCHED));
                });
            }
            turns.push(spent * 1e9 / UPDATES as f64);
            looks.push(looked * 1e6 / (UPDATES / BATCH) as f64);
        }
        let share = 100.0 * f64::from(concerned) / UPDATES as f64;
        println!("| {title} | {:.0} | 50 | {share:.1} % | {:.1} |", median(turns), median(looks));
    }
    println!(
        "\nFilling it anew from {} options in memory: {:.0} ms. It holds {} KiB more.",
        POLLS * OPTIONS,
        fill * 1e3,
        memory / 1024
    );
}

fn tally(number: usize, random: &mut SmallRng) -> Tally {
    // The first polls are the hot ones, and have the most votes by now.
    let most = if number < HOT_POLLS { 1_000_000 } else { 10_000 };
    let votes: Vec<u64> = (0..OPTIONS).map(|_| random.random_range(0..most)).collect();
    let poll = PollId::from_uuid(Uuid::from_u128((number as u128) << 80 | 0x7000_8000_0000_0000_0000)).expect("of version 7");
    Tally { poll, version: Version { epoch: 1, number: 1 }, totals: Totals { voters: votes.iter().sum(), votes } }
}

/// One more vote, and the tally that tells of it.
fn vote(random: &mut SmallRng, hot_share: f64, tallies: &mut [Tally]) -> Tally {
    let polls = if random.random_bool(hot_share) { HOT_POLLS } else { POLLS };
    let tally = &mut tallies[random.random_range(0..polls)];
    tally.version.number += 1;
    tally.totals.voters += 1;
    tally.totals.votes[random.random_range(0..OPTIONS)] += 1;
    tally.clone()
}

/// As a store in memory does it: the best of all, in any order.
fn fill(board: &mut Leaderboard, tallies: &[Tally]) {
    let leader = |(tally, index): (&Tally, usize)| Leader {
        poll: tally.poll,
        option: OptionId::from_index(index).expect("an option"),
        votes: tally.totals.votes[index],
    };
    let all = tallies.iter().flat_map(|tally| (0..OPTIONS).map(move |index| (tally, index))).map(leader);
    let mut leaders: Vec<Leader> = all.collect();
    leaders.select_nth_unstable_by_key(BOARD_OPTIONS_MAX, |leader| (std::cmp::Reverse(leader.votes), leader.poll, leader.option));
    leaders.truncate(BOARD_OPTIONS_MAX);
    board.fill(&leaders, false);
}

fn seconds(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("the system tells");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}
