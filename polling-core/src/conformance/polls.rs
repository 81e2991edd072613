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
    a_poll_that_was_closed_stays_closed_when_the_clock_is_set_back(make().await).await;
    a_planned_close_that_came_is_not_taken_back(make().await).await;
    a_list_keeps_to_the_state_at_an_earlier_time(make().await).await;
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
    let in_state = |state| PollFilter { state: Some(state), ..PollFilter::default() };
    assert_eq!(list(&store, &in_state(PollState::Open), NOW).await, ids(&[&open, &closing]));
    assert_eq!(list(&store, &in_state(PollState::Scheduled), NOW).await, ids(&[&scheduled]));
    assert_eq!(list(&store, &in_state(PollState::Closed), NOW).await, []);
    assert_eq!(list(&store, &in_state(PollState::Open), at(10)).await, ids(&[&open, &scheduled]));
    assert_eq!(list(&store, &in_state(PollState::Closed), at(5)).await, ids(&[&closing]));
    let with_text = |text: &str| PollFilter { text: Some(text.to_owned()), ..PollFilter::default() };
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
    let late = Vote { accepted_at: at(8), ..cast(&poll, 2, 2, &[1]) };
    let applied = store.tallies.apply(&batch(1, &[late])).await.expect("it is applied");
    assert_eq!(applied.outcomes, [Outcome::Late]);
}

/// Checks that at any of these times the poll is closed, by whatever way one asks for it.
async fn expect_closed(store: &StoreUnderTest, poll: PollId, times: [Timestamp; 3]) {
    for now in times {
        let read = read(store, poll).await.expect("the poll exists").poll;
        assert_eq!((read.state_shown(now), read.state_for_voting(now)), (PollState::Closed, PollState::Closed), "at {now}");
        for state in [PollState::Scheduled, PollState::Open, PollState::Closed] {
            let (filter, is_there) = (PollFilter { state: Some(state), ..PollFilter::default() }, state == PollState::Closed);
            assert_eq!(list(store, &filter, now).await.contains(&poll), is_there, "listed as {state:?} at {now}");
            let ranked = store.polls.rank(&filter, 10, now).await.expect("polls are ranked");
            assert_eq!(ranked.contains(&poll), is_there, "ranked as {state:?} at {now}");
        }
        assert_eq!(store.tallies.leaders(10, now).await.expect("leaders are read"), [], "at {now}");
    }
}

async fn a_poll_that_was_closed_stays_closed_when_the_clock_is_set_back(store: StoreUnderTest) {
    let poll = poll(2, |_| {});
    create(&store, &poll).await;
    let accepted = |seconds, number| Vote { accepted_at: at(seconds), ..cast(&poll, number, number, &[1]) };
    store.tallies.apply(&batch(0, &[accepted(3600, 1)])).await.expect("it is applied");
    // From here on the clock is an hour behind the one by which the vote was accepted.
    let closed = store.polls.close(poll.id, at(3)).await.expect("it is closed").expect("the poll exists");
    expect_closed(&store, poll.id, [NOW, at(3), at(9999)]).await;
    assert_eq!(store.polls.close(poll.id, at(4)).await.expect("it answers"), Some(closed), "again");
    let transitions = store.polls.transition(at(9999)).await.expect("it answers");
    assert_eq!(transitions, Transitions::default(), "nothing is still to come");
    let on_their_way = [accepted(2, 2), accepted(3599, 3), accepted(3601, 4)];
    let applied = store.tallies.apply(&batch(1, &on_their_way)).await.expect("it is applied");
    let expected = [Outcome::Counted, Outcome::Counted, Outcome::Late];
    assert_eq!(applied.outcomes, expected, "what was acknowledged before the close counts, by whichever of the clocks");
    expect_closed(&store, poll.id, [NOW, at(4), at(9999)]).await;
}

async fn a_planned_close_that_came_is_not_taken_back(store: StoreUnderTest) {
    let [announced, closed_by_owner] = [(); 2].map(|()| {
        poll(2, |draft| {
            draft.opens_at = Some(at(10));
            draft.closes_at = Some(at(20));
        })
    });
    create(&store, &announced).await;
    let vote = Vote { accepted_at: at(15), ..cast(&announced, 1, 1, &[1]) };
    store.tallies.apply(&batch(0, &[vote])).await.expect("it is applied");
    let open = PollFilter { state: Some(PollState::Open), ..PollFilter::default() };
    assert_eq!(list(&store, &open, at(9)).await, []);
    assert_eq!(store.polls.transition(at(10)).await.expect("it answers").changed, [announced.id]);
    assert_eq!(list(&store, &open, at(9)).await, [announced.id], "it has opened");
    assert_eq!(store.tallies.leaders(10, at(9)).await.expect("leaders are read").len(), 1);
    assert_eq!(store.polls.transition(at(20)).await.expect("it answers").changed, [announced.id]);
    expect_closed(&store, announced.id, [NOW, at(15), at(30)]).await;
    let before = read(&store, announced.id).await;
    assert_eq!(store.polls.close(announced.id, at(15)).await.expect("it answers"), before);
    create(&store, &closed_by_owner).await;
    let closed = store.polls.close(closed_by_owner.id, at(25)).await.expect("it is closed").expect("the poll exists");
    assert_eq!(
        (closed.poll.closes_at, closed.tally.version.number),
        (Some(at(20)), 2),
        "it came by its plan, and is announced now"
    );
    assert_eq!(store.polls.transition(at(30)).await.expect("it answers"), Transitions::default());
    expect_closed(&store, closed_by_owner.id, [NOW, at(15), at(30)]).await;
}

async fn a_list_keeps_to_the_state_at_an_earlier_time(store: StoreUnderTest) {
    let plan = |opens: Option<u64>, closes: Option<u64>| {
        poll(2, |draft| (draft.opens_at, draft.closes_at) = (opens.map(at), closes.map(at)))
    };
    let [open, scheduled, by_plan, by_owner, before_its_opening, ahead] =
        [plan(None, None), plan(Some(10), None), plan(None, Some(10)), plan(None, None), plan(Some(99), None), plan(None, None)];
    for poll in [&open, &scheduled, &by_plan, &by_owner, &before_its_opening, &ahead] {
        create(&store, poll).await;
    }
    let vote = Vote { accepted_at: at(3600), ..cast(&ahead, 1, 1, &[1]) };
    store.tallies.apply(&batch(0, &[vote])).await.expect("it is applied");
    store.polls.close(ahead.id, at(4)).await.expect("it is closed");
    for poll in [&by_owner, &before_its_opening] {
        store.polls.close(poll.id, at(11)).await.expect("it is closed");
    }
    for is_announced in [false, true] {
        if is_announced {
            store.polls.transition(at(12)).await.expect("it answers");
        }
        let listed =
            async |state, then| list(&store, &PollFilter { state: Some(state), state_at: Some(then), text: None }, at(12)).await;
        assert_eq!(listed(PollState::Open, at(5)).await, ids(&[&open, &by_plan, &by_owner]));
        assert_eq!(listed(PollState::Scheduled, at(5)).await, ids(&[&scheduled, &before_its_opening]));
        assert_eq!(listed(PollState::Closed, at(5)).await, ids(&[&ahead]), "which no time tells");
        assert_eq!(listed(PollState::Closed, at(12)).await, ids(&[&by_plan, &by_owner, &before_its_opening, &ahead]));
    }
}

async fn a_question_is_found_by_any_part_of_it(store: StoreUnderTest) {
    let greek = poll(2, |draft| draft.question = "Ποια ΟΔΟΣΑΣ; ΔΡΟΜΟΣ".to_owned());
    create(&store, &greek).await;
    for part in ["ΟΔΟΣ", "οδος", "οδοσ", "ΟΔΟΣΑΣ", "οδοσας", "Σ; Δ", "δρόμος", "ς"] {
        let filter = PollFilter { text: Some(part.to_owned()), ..PollFilter::default() };
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
