//! The part of the suite of [`TallyStore`](crate::store::TallyStore) about histories.

use std::time::Duration;

use super::StoreUnderTest;
use super::fixture::{NOW, at, batch, cast, poll, retract};
use crate::model::{Poll, STEPS_MAX, Steps, Vote};

pub(super) async fn histories(make: impl AsyncFn() -> StoreUnderTest) {
    a_vote_is_in_the_step_in_which_it_was_accepted(make().await).await;
    a_history_counts_votes_as_they_stand_now(make().await).await;
    a_poll_without_votes_has_a_history_of_zeros(make().await).await;
    a_history_may_have_the_most_steps_and_options(make().await).await;
    a_poll_that_is_not_there_has_no_history(make().await).await;
}

fn steps(count: usize) -> Steps {
    Steps::new(NOW, Duration::from_secs(10), count).expect("sound steps")
}

fn accepted(vote: Vote, seconds: u64) -> Vote {
    Vote { accepted_at: at(seconds), ..vote }
}

async fn create(store: &StoreUnderTest, poll: &Poll) {
    store.polls.create(poll).await.expect("the poll is created");
}

async fn apply(store: &StoreUnderTest, first: u64, votes: &[Vote]) {
    store.tallies.apply(&batch(first, votes)).await.expect("the batch is applied");
}

/// The running totals; checks that they never shrink, and end with the tally of the same moment.
async fn points(store: &StoreUnderTest, poll: &Poll, steps: Steps) -> Vec<(u64, Vec<u64>)> {
    let history = store.tallies.history(poll.id, steps).await.expect("it is read").expect("the poll exists");
    let tally = store.tallies.tallies(&[poll.id]).await.expect("it is read").pop().expect("the poll exists");
    assert_eq!(history.tally, tally, "of the moment of the tally");
    assert_eq!((history.points.len(), history.points.last()), (steps.count(), Some(&tally.totals)));
    for pair in history.points.windows(2) {
        let grown = pair[0].votes.iter().zip(&pair[1].votes).all(|(before, after)| before <= after);
        assert!(grown && pair[0].voters <= pair[1].voters, "{pair:?}");
    }
    history.points.into_iter().map(|point| (point.voters, point.votes)).collect()
}

async fn a_vote_is_in_the_step_in_which_it_was_accepted(store: StoreUnderTest) {
    let (several, other) = (poll(3, |draft| draft.max_choices = Some(2)), poll(2, |_| {}));
    create(&store, &several).await;
    create(&store, &other).await;
    let votes = [
        accepted(cast(&several, 1, 1, &[1, 3]), 0),
        accepted(cast(&several, 2, 2, &[1]), 9),
        accepted(cast(&other, 1, 1, &[2]), 9),
        accepted(cast(&several, 3, 3, &[1, 2]), 10),
        // Behind the last step: the clock of another server.
        accepted(cast(&several, 4, 4, &[3]), 1000),
    ];
    apply(&store, 0, &votes).await;
    let expected = [(2, vec![2, 0, 1]), (3, vec![3, 1, 1]), (3, vec![3, 1, 1]), (4, vec![3, 1, 2])];
    assert_eq!(points(&store, &several, steps(4)).await, expected);
    let before_the_first = Steps::new(at(500), Duration::from_secs(10), 2).expect("sound steps");
    assert_eq!(points(&store, &several, before_the_first).await, [(3, vec![3, 1, 1]), (4, vec![3, 1, 2])]);
    assert_eq!(points(&store, &other, steps(1)).await, [(1, vec![0, 1])]);
}

async fn a_history_counts_votes_as_they_stand_now(store: StoreUnderTest) {
    let poll = poll(2, |draft| draft.allow_change = true);
    create(&store, &poll).await;
    apply(&store, 0, &[accepted(cast(&poll, 1, 1, &[1]), 0), accepted(cast(&poll, 2, 2, &[1]), 0)]).await;
    assert_eq!(points(&store, &poll, steps(3)).await, [(2, vec![2, 0]), (2, vec![2, 0]), (2, vec![2, 0])]);
    apply(&store, 2, &[accepted(cast(&poll, 1, 3, &[2]), 15)]).await;
    assert_eq!(points(&store, &poll, steps(3)).await, [(1, vec![1, 0]), (2, vec![1, 1]), (2, vec![1, 1])]);
    apply(&store, 3, &[accepted(retract(&poll, 2, 4), 25)]).await;
    assert_eq!(points(&store, &poll, steps(3)).await, [(0, vec![0, 0]), (1, vec![0, 1]), (1, vec![0, 1])]);
    // In one batch with what it displaces.
    apply(&store, 4, &[accepted(cast(&poll, 2, 5, &[1]), 26), accepted(cast(&poll, 2, 6, &[2]), 27)]).await;
    assert_eq!(points(&store, &poll, steps(3)).await, [(0, vec![0, 0]), (1, vec![0, 1]), (2, vec![0, 2])]);
}

async fn a_poll_without_votes_has_a_history_of_zeros(store: StoreUnderTest) {
    let poll = poll(2, |_| {});
    create(&store, &poll).await;
    assert_eq!(points(&store, &poll, steps(2)).await, [(0, vec![0, 0]), (0, vec![0, 0])]);
}

async fn a_history_may_have_the_most_steps_and_options(store: StoreUnderTest) {
    let poll = poll(100, |draft| draft.max_choices = Some(100));
    create(&store, &poll).await;
    let all: Vec<u64> = (1..=100).collect();
    apply(&store, 0, &[accepted(cast(&poll, 1, 1, &all), 5), accepted(cast(&poll, 2, 2, &[100]), 9995)]).await;
    let points = points(&store, &poll, steps(STEPS_MAX)).await;
    assert_eq!((&points[0], &points[998]), (&(1, vec![1; 100]), &(1, vec![1; 100])));
    assert_eq!((points[999].0, points[999].1[98], points[999].1[99]), (2, 1, 2));
}

async fn a_poll_that_is_not_there_has_no_history(store: StoreUnderTest) {
    let poll = poll(2, |_| {});
    assert_eq!(store.tallies.history(poll.id, steps(1)).await.expect("it is read"), None);
    create(&store, &poll).await;
    apply(&store, 0, &[cast(&poll, 1, 1, &[1])]).await;
    assert!(store.polls.archive(poll.id).await.expect("it is archived"));
    assert_eq!(store.tallies.history(poll.id, steps(1)).await.expect("it is read"), None);
}
