//! A clock that is set back: what was closed stays closed.

use std::time::Duration;

use polling_core::store::PollStore;
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::{Created, Server, Setup};

const HOUR: u64 = 3600;

impl Server {
    fn set_back(&self, seconds: u64) {
        self.clock.set_back(Duration::from_secs(seconds));
    }

    /// Checks that the poll is closed wherever it is shown, with the results for all, and takes no votes.
    async fn expect_closed(&self, poll: &Created) {
        let shown = self.get(&poll.path("")).send().await.expect(200);
        assert_eq!((&shown["state"], shown["results"]["options"][0]["votes"].is_u64()), (&json!("closed"), true));
        assert_eq!(self.get(&poll.path("/export.csv")).send().await.status.as_u16(), 200);
        for (state, is_there) in [("scheduled", false), ("open", false), ("closed", true)] {
            for sort in ["newest", "votes"] {
                let listed = self.get(&format!("/polls?state={state}&sort={sort}")).send().await.expect(200);
                let listed = listed["polls"].as_array().expect("a list");
                let found: Vec<&Value> = listed.iter().filter(|listed| listed["id"] == poll.id.as_str()).collect();
                assert_eq!(found.len(), usize::from(is_there), "{state}, by {sort}");
                assert!(found.iter().all(|found| found["state"] == "closed"));
            }
        }
        let leaders = self.get("/leaderboard").send().await.expect(200);
        assert!(leaders["entries"].as_array().expect("a list").iter().all(|entry| entry["poll_id"] != poll.id.as_str()));
        let before = self.votes(poll).await;
        self.vote(poll, "too late", 1).await.expect_problem(409, "poll-closed");
        let batch = json!({ "votes": [{ "choices": [1], "voter_id": "too late", "vote_id": Uuid::new_v4() }] });
        let answer = self.post(&poll.path("/votes"), &batch).send().await.expect(202);
        assert_eq!(answer["results"][0]["problem"]["type"], "/problems/poll-closed");
        assert_eq!(self.votes(poll).await, before);
    }
}

#[tokio::test]
async fn a_poll_that_its_owner_closed_is_closed_although_the_clock_was_set_back() {
    for results in ["always", "after_close"] {
        let server = Server::start();
        let poll = server.create(json!({ "results": results })).await;
        server.advance(HOUR);
        let first = Uuid::new_v4();
        let body = json!({ "choices": [1], "voter_id": "ann", "vote_id": first });
        server.post(&poll.path("/vote"), &body).send().await.expect(202);
        server.set_back(HOUR);
        let close = async || server.post(&poll.path("/close"), &json!(null)).bearer(&poll.owner).send().await.expect(200);
        let closed = close().await;
        assert_eq!(closed["state"], "closed");
        server.expect_closed(&poll).await;
        assert_eq!(close().await, closed, "closing again changes nothing");
        let again = server.post(&poll.path("/vote"), &body).send().await.expect(202);
        assert_eq!(again["status"], "counted", "a vote that was counted before is answered as before");
        server.advance(2 * HOUR);
        server.expect_closed(&poll).await;
    }
}

#[tokio::test]
async fn a_planned_close_that_was_announced_is_not_taken_back_by_the_clock() {
    let store = Setup::default().store;
    let server = Server::start_with(Setup { store: store.clone(), ..Setup::default() });
    let poll = server.create(json!({ "results": "after_close", "closes_at": server.time_in(60) })).await;
    server.vote(&poll, "ann", 1).await.expect(202);
    server.advance(HOUR);
    let announced = store.transition(polling_core::clock::Clock::now(&*server.clock)).await.expect("it answers");
    assert_eq!(announced.changed, [poll.poll_id()]);
    server.views.forget(poll.poll_id());
    server.set_back(HOUR);
    server.expect_closed(&poll).await;
}
