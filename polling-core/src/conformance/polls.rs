//! The suite of [`PollStore`](crate::store::PollStore).

use crate::clock::Timestamp;
use crate::model::{Outcome, Poll, PollId, PollParts, PollState, ResultsVisibility, Version, Vote};
use crate::store::{CreationOrder, PollFilter, PollSnapshot, Transitions};

use super::StoreUnderTest;
use super::fixture::{NOW, at, batch, cast, poll};

/// Runs the whole suite; each test gets a store of its own from `make`.
///
/// # Panics
///
/// With the fact that does not hold.
pub async fn poll_store(make: impl AsyncFn() -> StoreUnderTest) {
    a_poll_is_read_as_it_was_created(make().await).await;
    creating_again_changes_nothing(make().await).await;
    polls_are_listed_in_the_order_of_creation(make().await).await;
    a_filter_finds_state_and_text(make().await).await;
    polls_are_ranked_by_voters(make().await).await;
    closing_is_final_and_happens_once(make().await).await;
    a_vote_that_was_counted_is_never_late(make().await).await;
    a_question_is_found_by_any_part_of_it(make().await).await;
    an_archived_poll_is_gone(make().await).await;
    scheduled_changes_are_announced_once(make().await).await;
    a_close_is_announced_although_the_clock_was_set_back(make().await).await;
    what_was_created_outlives_the_store(make().await).await;
}

async fn create(store: &StoreUnderTest, poll: &Poll) {
    store.polls.create(poll).await.expect("the poll is created");
}

async fn read(store: &StoreUnderTest, poll: PollId) -> Option<PollSnapshot> {
    store.polls.read(poll).await.expect("the poll is read")
}

async fn version(store: &StoreUnderTest, poll: PollId) -> Version {
    read(store, poll).await.expect("the poll exists").tally.version
}

async fn list(store: &StoreUnderTest, filter: &PollFilter, now: Timestamp) -> Vec<PollId> {
    let listed = store.polls.list(filter, CreationOrder::OldestFirst, None, 100, now).await.expect("polls are listed");
    listed.into_iter().map(|snapshot| snapshot.poll.id).collect()
}

fn ids(polls: &[&Poll]) -> Vec<PollId> {
    polls.iter().map(|poll| poll.id).collect()
}

async fn a_poll_is_read_as_it_was_created(store: StoreUnderTest) {
    let plain = poll(2, |_| {});
    let full = poll(100, |draft| {
        draft.question = "Ça va? 🗳️ \"quoted\" \\ 'single' %_".to_owned();
        draft.max_choices = Some(7);
        draft.allow_change = true;
        draft.results = ResultsVisibility::AfterVote;
        draft.opens_at = Some(at(1));
        draft.closes_at = Some(Timestamp::MAX);
    });
    for poll in [plain, full] {
        create(&store, &poll).await;
        let snapshot = read(&store, poll.id).await.expect("the poll exists");
        assert_eq!(snapshot.poll, poll);
        assert_eq!((snapshot.tally.poll, snapshot.tally.totals.voters), (poll.id, 0));
        assert_eq!(snapshot.tally.totals.votes, vec![0; poll.options.len()]);
        assert_eq!(snapshot.tally.version.number, 1);
    }
    assert_eq!(read(&store, PollId::new(NOW)).await, None, "another poll");
}

async fn creating_again_changes_nothing(store: StoreUnderTest) {
    let poll = poll(2, |_| {});
    create(&store, &poll).await;
    store.tallies.apply(&batch(0, &[cast(&poll, 1, 1, &[1])])).await.expect("it is applied");
    let before = read(&store, poll.id).await;
    create(&store, &poll).await;
    assert_eq!(read(&store, poll.id).await, before);
}

async fn polls_are_listed_in_the_order_of_creation(store: StoreUnderTest) {
    let polls: Vec<Poll> = (0..25).map(|_| poll(2, |_| {})).collect();
    for poll in polls.iter().rev() {
        create(&store, poll).await;
    }
    for (order, reversed) in [(CreationOrder::OldestFirst, false), (CreationOrder::NewestFirst, true)] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store.polls.list(&PollFilter::default(), order, after, 10, NOW).await.expect("polls are listed");
            assert!(page.len() <= 10);
            let Some(last) = page.last() else { break };
            after = Some(last.poll.id);
            seen.extend(page.into_iter().map(|snapshot| snapshot.poll));
        }
        if reversed {
            seen.reverse();
        }
        assert_eq!(seen, polls, "{order:?}");
    }
}

async fn a_filter_finds_state_and_text(store: StoreUnderTest) {
    let open = poll(2, |draft| draft.question = "ÉCLAIR or 100% Tarte_Tatin?".to_owned());
    let scheduled = poll(2, |draft| draft.opens_at = Some(at(10)));
    let closing = poll(2, |draft| draft.closes_at = Some(at(5)));
    for poll in [&open, &scheduled, &closing] {
        create(&store, poll).await;
    }
    let in_state = |state| PollFilter { state: Some(state), text: None };
    assert_eq!(list(&store, &in_state(PollState::Open), NOW).await, ids(&[&open, &closing]));
    assert_eq!(list(&store, &in_state(PollState::Scheduled), NOW).await, ids(&[&scheduled]));
    assert_eq!(list(&store, &in_state(PollState::Closed), NOW).await, []);
    assert_eq!(list(&store, &in_state(PollState::Open), at(10)).await, ids(&[&open, &scheduled]));
    assert_eq!(list(&store, &in_state(PollState::Closed), at(5)).await, ids(&[&closing]));
    let with_text = |text: &str| PollFilter { state: None, text: Some(text.to_owned()) };
    for found in ["éclair", "100% tarte_TATIN", "?"] {
        assert!(list(&store, &with_text(found), NOW).await.contains(&open.id), "{found}");
    }
    for not_found in ["1%0", "Tarte-Tatin", "'"] {
        assert_eq!(list(&store, &with_text(not_found), NOW).await, [], "{not_found}");
    }
}

async fn polls_are_ranked_by_voters(store: StoreUnderTest) {
    let (few, many, also_few) = (poll(2, |_| {}), poll(2, |_| {}), poll(2, |_| {}));
    for poll in [&few, &many, &also_few] {
        create(&store, poll).await;
    }
    let votes = [cast(&many, 1, 1, &[1]), cast(&many, 2, 2, &[2]), cast(&also_few, 1, 3, &[1]), cast(&few, 1, 4, &[1])];
    store.tallies.apply(&batch(0, &votes)).await.expect("it is applied");
    let rank = async |limit| store.polls.rank(&PollFilter::default(), limit, NOW).await.expect("polls are ranked");
    assert_eq!(rank(10).await, ids(&[&many, &few, &also_few]));
    assert_eq!(rank(1).await, ids(&[&many]));
}

async fn closing_is_final_and_happens_once(store: StoreUnderTest) {
    let poll = poll(2, |draft| draft.closes_at = Some(at(60)));
    create(&store, &poll).await;
    let created = version(&store, poll.id).await;
    let closed = store.polls.close(poll.id, at(9)).await.expect("it is closed").expect("the poll exists");
    assert_eq!(closed.poll.closes_at, Some(at(9)));
    assert!(closed.tally.version > created);
    let again = store.polls.close(poll.id, at(10)).await.expect("it is closed").expect("the poll exists");
    assert_eq!(again, closed);
    assert_eq!(read(&store, poll.id).await, Some(closed));
    assert_eq!(store.polls.close(PollId::new(NOW), NOW).await.expect("it answers"), None);
    let transitions = store.polls.transition(at(100)).await.expect("it answers");
    assert_eq!(transitions, Transitions::default(), "the planned close does not come any more");
}

async fn a_vote_that_was_counted_is_never_late(store: StoreUnderTest) {
    let poll = poll(2, |_| {});
    create(&store, &poll).await;
    let vote = Vote { accepted_at: at(7), ..cast(&poll, 1, 1, &[1]) };
    store.tallies.apply(&batch(0, &[vote])).await.expect("it is applied");
    let closed = store.polls.close(poll.id, at(3)).await.expect("it is closed").expect("the poll exists");
    assert_eq!(closed.poll.state(at(7)), PollState::Open, "the close moves behind the vote");
    let announced = store.polls.transition(at(8)).await.expect("it answers");
    assert_eq!(announced.changed, [poll.id], "and is announced when it comes");
    let late = Vote { accepted_at: at(8), ..cast(&poll, 2, 2, &[1]) };
    let applied = store.tallies.apply(&batch(1, &[late])).await.expect("it is applied");
    assert_eq!(applied.outcomes, [Outcome::Late]);
}

async fn a_question_is_found_by_any_part_of_it(store: StoreUnderTest) {
    let greek = poll(2, |draft| draft.question = "Ποια ΟΔΟΣΑΣ; ΔΡΟΜΟΣ".to_owned());
    create(&store, &greek).await;
    for part in ["ΟΔΟΣ", "οδος", "οδοσ", "ΟΔΟΣΑΣ", "οδοσας", "Σ; Δ", "δρόμος", "ς"] {
        let filter = PollFilter { text: Some(part.to_owned()), state: None };
        let expected: &[PollId] = if part == "δρόμος" { &[] } else { &[greek.id] };
        assert_eq!(list(&store, &filter, NOW).await, expected, "{part}");
        assert_eq!(store.polls.rank(&filter, 10, NOW).await.expect("polls are ranked"), expected, "{part}");
    }
}

async fn an_archived_poll_is_gone(store: StoreUnderTest) {
    let (gone, kept) = (poll(2, |draft| draft.closes_at = Some(at(5))), poll(2, |_| {}));
    create(&store, &gone).await;
    create(&store, &kept).await;
    store.tallies.apply(&batch(0, &[cast(&gone, 1, 1, &[1])])).await.expect("it is applied");
    assert!(store.polls.archive(gone.id).await.expect("it is archived"));
    assert!(!store.polls.archive(gone.id).await.expect("it answers"), "again");
    assert_eq!(read(&store, gone.id).await, None);
    assert_eq!(store.polls.close(gone.id, NOW).await.expect("it answers"), None);
    assert_eq!(list(&store, &PollFilter::default(), NOW).await, ids(&[&kept]));
    assert_eq!(store.polls.rank(&PollFilter::default(), 10, NOW).await.expect("polls are ranked"), ids(&[&kept]));
    assert_eq!(store.tallies.leaders(10, NOW).await.expect("leaders are read"), []);
    assert_eq!(store.polls.transition(at(9)).await.expect("it answers"), Transitions::default());
}

async fn scheduled_changes_are_announced_once(store: StoreUnderTest) {
    let poll = poll(2, |draft| {
        draft.opens_at = Some(at(10));
        draft.closes_at = Some(at(20));
    });
    create(&store, &poll).await;
    let transition = async |seconds| store.polls.transition(at(seconds)).await.expect("it answers");
    assert_eq!(transition(9).await, Transitions { changed: vec![], next: Some(at(10)) });
    let scheduled = version(&store, poll.id).await;
    assert_eq!(transition(10).await, Transitions { changed: vec![poll.id], next: Some(at(20)) });
    let open = version(&store, poll.id).await;
    assert!(open > scheduled);
    let shown = read(&store, poll.id).await.expect("the poll exists").poll.state_shown(at(9));
    assert_eq!(shown, PollState::Open, "what has a version is not taken back by a clock that is behind");
    assert_eq!(transition(11).await, Transitions { changed: vec![], next: Some(at(20)) });
    assert_eq!(transition(30).await, Transitions { changed: vec![poll.id], next: None });
    assert!(version(&store, poll.id).await > open);
    assert_eq!(transition(31).await, Transitions::default());
}

async fn a_close_is_announced_although_the_clock_was_set_back(store: StoreUnderTest) {
    let closing = poll(2, |draft| draft.closes_at = Some(at(5)));
    let ahead = Poll::from_parts(PollParts { id: PollId::new(at(60)), ..(*closing).clone() }).expect("the parts fit");
    create(&store, &ahead).await;
    let transitions = store.polls.transition(at(5)).await.expect("it answers");
    assert_eq!(transitions, Transitions { changed: vec![ahead.id], next: None });
}

async fn what_was_created_outlives_the_store(mut store: StoreUnderTest) {
    let Some(reopen) = store.reopen.take() else { return };
    let (poll, archived) = (poll(3, |draft| draft.closes_at = Some(at(5))), poll(2, |_| {}));
    create(&store, &poll).await;
    create(&store, &archived).await;
    store.polls.archive(archived.id).await.expect("it is archived");
    store.polls.close(poll.id, at(1)).await.expect("it is closed");
    let before = read(&store, poll.id).await;
    drop(store);
    let store = reopen().await;
    assert_eq!(read(&store, poll.id).await, before);
    assert_eq!(read(&store, archived.id).await, None);
}
