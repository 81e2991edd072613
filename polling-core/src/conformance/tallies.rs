//! The suite of [`TallyStore`](crate::store::TallyStore).

use crate::checkpoint::{Batch, DeadLetter, Entry, Offset, Partition, PartitionBatch, Position, RecordDigest};
use crate::model::{Outcome, Poll, Receipt, Resolution, ResultsVisibility, Tally, Vote};
use crate::store::{Applied, CountedVote, StoreError};

use super::StoreUnderTest;
use super::fixture::{NOW, at, batch, cast, choices, part, poll, retract, vote_id, voter};
use super::growth::histories;
use super::history::{RandomHistory, assert_equals_the_oracle};
use Outcome::{Counted, Duplicate, Invalid, Late, Superseded};

/// Runs the whole suite; each test gets a store of its own from `make`.
///
/// # Panics
///
/// With the fact that does not hold.
pub async fn tally_store(make: impl AsyncFn() -> StoreUnderTest) {
    a_vote_is_counted_and_moves_the_checkpoint(make().await).await;
    a_batch_applied_again_is_fenced_and_changes_nothing(make().await).await;
    a_batch_that_leaves_a_hole_is_fenced(make().await).await;
    the_checkpoint_keeps_what_the_last_record_is_recognised_by(make().await).await;
    one_fenced_partition_keeps_the_whole_batch_out(make().await).await;
    of_two_loops_that_apply_the_same_batch_one_wins(make().await).await;
    a_voter_is_counted_once(make().await).await;
    a_changed_vote_replaces_the_former(make().await).await;
    a_retraction_empties_the_ballot(make().await).await;
    a_repeat_has_the_outcome_of_the_first_whatever_came_between(make().await).await;
    the_acceptance_time_decides_what_is_late(make().await).await;
    a_vote_that_the_poll_cannot_take_is_invalid(make().await).await;
    receipts_of_an_archived_poll_still_resolve(make().await).await;
    a_receipt_is_pending_until_the_checkpoint_has_passed_it(make().await).await;
    a_dead_letter_moves_the_checkpoint(make().await).await;
    an_empty_batch_changes_nothing(make().await).await;
    only_a_changed_tally_has_a_new_version(make().await).await;
    leaders_are_the_visible_options_of_open_polls_in_order(make().await).await;
    histories(&make).await;
    for seed in 0..8 {
        a_random_history_equals_the_oracle(make().await, seed).await;
    }
    what_was_applied_outlives_the_store(make().await).await;
}

async fn create(store: &StoreUnderTest, poll: &Poll) {
    store.polls.create(poll).await.expect("the poll is created");
}

async fn apply(store: &StoreUnderTest, batch: &Batch) -> Applied {
    store.tallies.apply(batch).await.expect("the batch is applied")
}

async fn tally(store: &StoreUnderTest, poll: &Poll) -> Tally {
    store.tallies.tallies(&[poll.id]).await.expect("tallies are read").pop().expect("the poll exists")
}

async fn votes(store: &StoreUnderTest, poll: &Poll) -> (u64, Vec<u64>) {
    let totals = tally(store, poll).await.totals;
    (totals.voters, totals.votes)
}

async fn next(store: &StoreUnderTest, partition: u32) -> i64 {
    store.tallies.checkpoint().await.expect("the checkpoint is read").next(Partition(partition)).get()
}

/// The outcome by a receipt without a position, which only finds what is kept or can be derived without it.
async fn outcome(store: &StoreUnderTest, vote: &Vote, offset: u64) -> Option<Outcome> {
    resolution(store, vote, offset).await.map(|resolution| resolution.outcome)
}

async fn resolution(store: &StoreUnderTest, vote: &Vote, offset: u64) -> Option<Resolution> {
    let offset = Offset::ZERO.plus(usize::try_from(offset).expect("a small offset"));
    let receipt = Receipt::of(vote, Some(Position { partition: Partition(0), offset }));
    store.tallies.outcome(&receipt).await.expect("the outcome is read")
}

async fn a_vote_is_counted_and_moves_the_checkpoint(store: StoreUnderTest) {
    let poll = poll(3, |draft| draft.max_choices = Some(2));
    create(&store, &poll).await;
    let vote = cast(&poll, 1, 1, &[1, 3]);
    let applied = apply(&store, &batch(0, &[vote])).await;
    assert_eq!(applied.outcomes, [Counted]);
    assert_eq!(applied.tallies, [tally(&store, &poll).await], "what is answered is what is kept");
    assert_eq!(votes(&store, &poll).await, (1, vec![1, 0, 1]));
    assert_eq!(next(&store, 0).await, 1);
    let standing = store.tallies.standing(poll.id, voter(1)).await.expect("it is read");
    assert_eq!(standing, Some(CountedVote { id: vote_id(1), choices: Some(choices(&[1, 3])) }));
    assert_eq!(store.tallies.standing(poll.id, voter(2)).await.expect("it is read"), None);
}

async fn a_batch_applied_again_is_fenced_and_changes_nothing(store: StoreUnderTest) {
    let poll = poll(2, |_| {});
    create(&store, &poll).await;
    let batch = batch(0, &[cast(&poll, 1, 1, &[1]), cast(&poll, 2, 2, &[2])]);
    apply(&store, &batch).await;
    let before = tally(&store, &poll).await;
    let error = store.tallies.apply(&batch).await.expect_err("it was applied before");
    assert!(
        matches!(error, StoreError::Fenced { partition: Partition(0), expected: Offset::ZERO, found } if found.get() == 2),
        "{error:?}"
    );
    assert_eq!(tally(&store, &poll).await, before);
    assert_eq!(next(&store, 0).await, 2);
}

async fn the_checkpoint_keeps_what_the_last_record_is_recognised_by(store: StoreUnderTest) {
    let poll = poll(2, |_| {});
    create(&store, &poll).await;
    let (first, second) = (RecordDigest::of(b"the first"), RecordDigest::of(b"the second"));
    for (offset, last) in [(0, Some(first)), (1, Some(second)), (2, None)] {
        let part = |partition| PartitionBatch { last, ..part(partition, offset, &[cast(&poll, partition, 1, &[1])]) };
        apply(&store, &Batch::new(vec![part(0), part(7)]).expect("two partitions")).await;
        let fenced = PartitionBatch { last: Some(first), ..part(0) };
        assert!(store.tallies.apply(&Batch::single(fenced)).await.is_err(), "it was applied before");
        let checkpoint = store.tallies.checkpoint().await.expect("the checkpoint is read");
        assert_eq!([0, 7, 8].map(|partition| checkpoint.last(Partition(partition))), [last, last, None]);
    }
}

async fn a_batch_that_leaves_a_hole_is_fenced(store: StoreUnderTest) {
    let poll = poll(2, |_| {});
    create(&store, &poll).await;
    let answer = store.tallies.apply(&batch(1, &[cast(&poll, 1, 1, &[1])])).await;
    assert!(matches!(answer, Err(StoreError::Fenced { .. })), "{answer:?}");
    assert_eq!(votes(&store, &poll).await, (0, vec![0, 0]));
    assert_eq!(next(&store, 0).await, 0);
}

async fn one_fenced_partition_keeps_the_whole_batch_out(store: StoreUnderTest) {
    let poll = poll(2, |_| {});
    create(&store, &poll).await;
    let parts = vec![part(0, 0, &[cast(&poll, 1, 1, &[1])]), part(1, 7, &[cast(&poll, 2, 2, &[1])])];
    let answer = store.tallies.apply(&Batch::new(parts).expect("distinct")).await;
    assert!(matches!(answer, Err(StoreError::Fenced { partition: Partition(1), .. })), "{answer:?}");
    assert_eq!((votes(&store, &poll).await, next(&store, 0).await), ((0, vec![0, 0]), 0));
    let parts = vec![part(0, 0, &[cast(&poll, 1, 1, &[1])]), part(1, 0, &[cast(&poll, 2, 2, &[2])])];
    let applied = apply(&store, &Batch::new(parts).expect("distinct")).await;
    assert_eq!(applied.outcomes, [Counted, Counted]);
    assert_eq!((votes(&store, &poll).await, next(&store, 1).await), ((2, vec![1, 1]), 1));
}

async fn of_two_loops_that_apply_the_same_batch_one_wins(store: StoreUnderTest) {
    let poll = poll(2, |_| {});
    create(&store, &poll).await;
    let batch = batch(0, &[cast(&poll, 1, 1, &[1])]);
    let attempts = (0..8).map(|_| store.tallies.apply(&batch));
    let answers = futures_util::future::join_all(attempts).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(StoreError::Fenced { .. }))), "{answers:?}");
    assert_eq!(votes(&store, &poll).await, (1, vec![1, 0]));
}

async fn a_voter_is_counted_once(store: StoreUnderTest) {
    let poll = poll(2, |_| {});
    create(&store, &poll).await;
    let (first, second, third) = (cast(&poll, 1, 1, &[1]), cast(&poll, 1, 2, &[2]), cast(&poll, 1, 3, &[1]));
    assert_eq!(apply(&store, &batch(0, &[first, second])).await.outcomes, [Counted, Duplicate]);
    let applied = apply(&store, &batch(2, &[third, first])).await;
    assert_eq!((applied.outcomes, applied.conflicts), (vec![Duplicate, Counted], vec![]), "the same again is no conflict");
    let other_choice = Vote { kind: second.kind, ..first };
    let applied = apply(&store, &batch(4, &[other_choice, third])).await;
    assert_eq!((applied.outcomes, applied.conflicts), (vec![Counted, Duplicate], vec![0]), "the id of the vote that stands");
    assert_eq!(votes(&store, &poll).await, (1, vec![1, 0]));
    for (vote, offset, expected) in [(first, 0, Counted), (second, 1, Duplicate), (third, 2, Duplicate), (first, 3, Counted)] {
        assert_eq!(outcome(&store, &vote, offset).await, Some(expected));
    }
}

async fn a_changed_vote_replaces_the_former(store: StoreUnderTest) {
    let poll = poll(3, |draft| draft.allow_change = true);
    create(&store, &poll).await;
    let (first, second, third) = (cast(&poll, 1, 1, &[1]), cast(&poll, 1, 2, &[2]), cast(&poll, 1, 3, &[3]));
    assert_eq!(apply(&store, &batch(0, &[first, second])).await.outcomes, [Superseded, Counted]);
    assert_eq!(votes(&store, &poll).await, (1, vec![0, 1, 0]));
    assert_eq!(apply(&store, &batch(2, &[third])).await.outcomes, [Counted]);
    assert_eq!(votes(&store, &poll).await, (1, vec![0, 0, 1]));
    assert_eq!(outcome(&store, &first, 0).await, Some(Superseded));
    assert_eq!(outcome(&store, &second, 1).await, Some(Superseded));
    assert_eq!(outcome(&store, &third, 2).await, Some(Counted));
}

async fn a_retraction_empties_the_ballot(store: StoreUnderTest) {
    let poll = poll(2, |draft| draft.allow_change = true);
    create(&store, &poll).await;
    let (vote, taken_back, again) = (cast(&poll, 1, 1, &[2]), retract(&poll, 1, 2), retract(&poll, 1, 3));
    apply(&store, &batch(0, &[vote])).await;
    assert_eq!(apply(&store, &batch(1, &[taken_back, again])).await.outcomes, [Counted, Invalid]);
    assert_eq!(votes(&store, &poll).await, (0, vec![0, 0]));
    assert_eq!(outcome(&store, &vote, 0).await, Some(Superseded));
    let standing = store.tallies.standing(poll.id, voter(1)).await.expect("it is read");
    assert_eq!(standing, Some(CountedVote { id: vote_id(2), choices: None }));
    let anew = cast(&poll, 1, 4, &[1]);
    assert_eq!(apply(&store, &batch(3, &[anew])).await.outcomes, [Counted]);
    assert_eq!(votes(&store, &poll).await, (1, vec![1, 0]));
    assert_eq!(outcome(&store, &taken_back, 1).await, Some(Counted), "a retraction that took effect has done so");
}

async fn a_repeat_has_the_outcome_of_the_first_whatever_came_between(store: StoreUnderTest) {
    let poll = poll(2, |draft| draft.allow_change = true);
    create(&store, &poll).await;
    let nothing_to_retract = retract(&poll, 1, 1);
    let (first, taken_back, second) = (cast(&poll, 1, 2, &[1]), retract(&poll, 1, 3), cast(&poll, 1, 4, &[2]));
    let history = [nothing_to_retract, first, taken_back, second];
    assert_eq!(apply(&store, &batch(0, &history)).await.outcomes, [Invalid, Superseded, Counted, Counted]);
    let before = tally(&store, &poll).await;
    let applied = apply(&store, &batch(4, &history)).await;
    assert_eq!(applied.outcomes, [Invalid, Superseded, Counted, Counted]);
    assert_eq!(applied.conflicts, [0; 0], "the same again is no conflict");
    assert_eq!(tally(&store, &poll).await, before, "a repeat changes nothing");
    let other = [
        Vote { kind: second.kind, ..nothing_to_retract },
        Vote { kind: second.kind, ..first },
        Vote { kind: first.kind, ..taken_back },
        retract(&poll, 1, 4),
    ];
    let applied = apply(&store, &batch(8, &other)).await;
    assert_eq!(applied.outcomes, [Invalid, Superseded, Counted, Counted]);
    assert_eq!(applied.conflicts, [0, 1, 2, 3], "each asks for something else than the first of its name");
    assert_eq!(tally(&store, &poll).await, before, "nor under another choice");
    for (vote, offset) in history.iter().zip(8..) {
        let resolution = resolution(&store, vote, offset).await.expect("it was applied");
        assert_eq!(resolution.kind, Some(vote.kind), "what was asked first is kept");
    }
}

async fn the_acceptance_time_decides_what_is_late(store: StoreUnderTest) {
    let poll = poll(2, |draft| {
        draft.opens_at = Some(at(10));
        draft.closes_at = Some(at(20));
    });
    create(&store, &poll).await;
    let accepted = |number, seconds| Vote { accepted_at: at(seconds), ..cast(&poll, number, number, &[1]) };
    let history = [accepted(1, 9), accepted(2, 10), accepted(3, 19), accepted(4, 20), accepted(5, 12)];
    assert_eq!(apply(&store, &batch(0, &history)).await.outcomes, [Invalid, Counted, Counted, Late, Counted]);
    assert_eq!(votes(&store, &poll).await, (3, vec![3, 0]));
    assert_eq!(outcome(&store, &history[3], 3).await, Some(Late));
    assert_eq!(outcome(&store, &history[0], 0).await, Some(Invalid));
}

async fn a_vote_that_the_poll_cannot_take_is_invalid(store: StoreUnderTest) {
    let known = poll(2, |_| {});
    let unknown = poll(2, |_| {});
    create(&store, &known).await;
    let beyond = cast(&known, 1, 1, &[3]);
    let history = [beyond, cast(&known, 2, 2, &[1, 2]), retract(&known, 3, 3), cast(&unknown, 4, 4, &[1])];
    assert_eq!(apply(&store, &batch(0, &history)).await.outcomes, [Invalid; 4]);
    assert_eq!(votes(&store, &known).await, (0, vec![0, 0]));
    let corrected = cast(&known, 1, 1, &[1]);
    assert_eq!(apply(&store, &batch(4, &[corrected])).await.outcomes, [Invalid], "the vote id was used");
    assert_eq!(outcome(&store, &history[3], 3).await, Some(Invalid), "of a poll that never was");
}

async fn receipts_of_an_archived_poll_still_resolve(store: StoreUnderTest) {
    let poll = poll(2, |_| {});
    create(&store, &poll).await;
    let (vote, second, after) = (cast(&poll, 1, 1, &[1]), cast(&poll, 1, 2, &[1]), cast(&poll, 2, 3, &[1]));
    apply(&store, &batch(0, &[vote, second])).await;
    assert!(store.polls.archive(poll.id).await.expect("it is archived"));
    assert_eq!(apply(&store, &batch(2, &[after])).await.outcomes, [Invalid]);
    assert_eq!(store.tallies.tallies(&[poll.id]).await.expect("tallies are read"), []);
    assert_eq!(store.tallies.standing(poll.id, voter(1)).await.expect("it is read"), None);
    for (vote, offset, expected) in [(vote, 0, Counted), (second, 1, Duplicate), (after, 2, Invalid)] {
        assert_eq!(outcome(&store, &vote, offset).await, Some(expected));
    }
}

async fn a_receipt_is_pending_until_the_checkpoint_has_passed_it(store: StoreUnderTest) {
    let poll = poll(2, |draft| draft.allow_change = true);
    create(&store, &poll).await;
    let (first, waiting) = (cast(&poll, 1, 1, &[1]), cast(&poll, 1, 2, &[2]));
    apply(&store, &batch(0, &[first])).await;
    assert_eq!(outcome(&store, &waiting, 1).await, None, "it may yet replace the first");
    let unplaced = Receipt::of(&waiting, None);
    assert_eq!(store.tallies.outcome(&unplaced).await.expect("it is read"), None);
    apply(&store, &batch(1, &[waiting])).await;
    assert_eq!(outcome(&store, &waiting, 1).await, Some(Counted));
    let resolution = Resolution { outcome: Counted, kind: Some(waiting.kind) };
    assert_eq!(store.tallies.outcome(&unplaced).await.expect("it is read"), Some(resolution));
}

async fn a_dead_letter_moves_the_checkpoint(store: StoreUnderTest) {
    let poll = poll(2, |_| {});
    create(&store, &poll).await;
    let letter = DeadLetter { bytes: vec![0xff; 100], reason: "rubbish".to_owned() };
    let entries = vec![Entry::DeadLetter(letter), Entry::Vote(cast(&poll, 1, 1, &[2]))];
    let part = PartitionBatch { partition: Partition(0), first: Offset::ZERO, entries, last: None };
    assert_eq!(apply(&store, &Batch::single(part)).await.outcomes, [Invalid, Counted]);
    assert_eq!((next(&store, 0).await, votes(&store, &poll).await), (2, (1, vec![0, 1])));
}

async fn an_empty_batch_changes_nothing(store: StoreUnderTest) {
    assert_eq!(apply(&store, &Batch::default()).await, Applied::default());
    assert_eq!(store.tallies.checkpoint().await.expect("it is read").iter().count(), 0);
}

async fn only_a_changed_tally_has_a_new_version(store: StoreUnderTest) {
    let (touched, untouched) = (poll(2, |_| {}), poll(2, |_| {}));
    create(&store, &touched).await;
    create(&store, &untouched).await;
    let start = tally(&store, &untouched).await.version;
    apply(&store, &batch(0, &[cast(&touched, 1, 1, &[1])])).await;
    let counted = tally(&store, &touched).await.version;
    assert!(counted > start);
    assert_eq!(tally(&store, &untouched).await.version, start);
    let applied = apply(&store, &batch(1, &[cast(&touched, 1, 2, &[1]), cast(&touched, 1, 1, &[1])])).await;
    assert_eq!((applied.outcomes, applied.tallies), (vec![Duplicate, Counted], vec![]));
    assert_eq!(tally(&store, &touched).await.version, counted);
}

async fn leaders_are_the_visible_options_of_open_polls_in_order(store: StoreUnderTest) {
    let older = poll(3, |draft| draft.max_choices = Some(3));
    let newer = poll(2, |_| {});
    let hidden = poll(2, |draft| draft.results = ResultsVisibility::AfterClose);
    let closing = poll(2, |draft| draft.closes_at = Some(at(5)));
    for poll in [&older, &newer, &hidden, &closing] {
        create(&store, poll).await;
    }
    let history = [
        cast(&newer, 1, 1, &[2]),
        cast(&older, 1, 2, &[1, 3]),
        cast(&older, 2, 3, &[3]),
        cast(&hidden, 1, 4, &[1]),
        cast(&closing, 1, 5, &[1]),
    ];
    apply(&store, &batch(0, &history)).await;
    let read = async |limit, now| {
        let leaders = store.tallies.leaders(limit, now).await.expect("leaders are read");
        leaders.into_iter().map(|leader| (leader.poll, leader.option.get(), leader.votes)).collect::<Vec<_>>()
    };
    let all = [(older.id, 3, 2), (older.id, 1, 1), (newer.id, 2, 1), (closing.id, 1, 1)];
    assert_eq!(read(10, NOW).await, all);
    for limit in 1..all.len() {
        assert_eq!(read(limit, NOW).await, all[..limit]);
    }
    assert_eq!(read(10, at(5)).await, all[..3], "a poll past its closing time is not open");
}

async fn a_random_history_equals_the_oracle(store: StoreUnderTest, seed: u64) {
    let history = RandomHistory::new(seed);
    for poll in &history.polls {
        create(&store, poll).await;
    }
    let (mut conflicts, mut applied_before) = (Vec::new(), 0);
    for batch in history.batches() {
        conflicts.extend(apply(&store, &batch).await.conflicts.into_iter().map(|index| applied_before + index));
        applied_before += batch.len();
    }
    assert_equals_the_oracle(&store, &history.votes).await;
    assert_eq!(conflicts, history.conflicts(), "the repeats that ask for something else");
    // However many are asked for, they are the first of all.
    let leaders = async |limit| store.tallies.leaders(limit, at(59)).await.expect("leaders are read");
    let all = leaders(10_000).await;
    for limit in 1..=all.len() {
        assert_eq!(leaders(limit).await, all[..limit]);
    }
}

async fn what_was_applied_outlives_the_store(mut store: StoreUnderTest) {
    let Some(reopen) = store.reopen.take() else { return };
    let poll = poll(2, |draft| draft.allow_change = true);
    create(&store, &poll).await;
    let (first, second) = (cast(&poll, 1, 1, &[1]), cast(&poll, 1, 2, &[2]));
    apply(&store, &batch(0, &[first, second])).await;
    let before = tally(&store, &poll).await;
    drop(store);
    let store = reopen().await;
    assert_eq!(tally(&store, &poll).await, before);
    assert_eq!(next(&store, 0).await, 2);
    assert_eq!(outcome(&store, &first, 0).await, Some(Superseded));
    assert_eq!(apply(&store, &batch(2, &[first, second])).await.outcomes, [Superseded, Counted]);
    assert_eq!(tally(&store, &poll).await, before);
}
