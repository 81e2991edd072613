//! What is shown: the newest state of everything, in whatever order it comes.

use serde::Deserialize;
use uuid::Uuid;

use crate::frame::{Entry, Frame, Results};

/// A poll: its texts as `GET` has them, and the newest of what frames say.
#[derive(Debug, Deserialize)]
pub(crate) struct WatchedPoll {
    pub(crate) id: Uuid,
    pub(crate) question: String,
    results: Texts,
    #[serde(skip)]
    pub(crate) newest: Option<Results>,
    #[serde(skip)]
    pub(crate) viewers: Option<u64>,
    /// What was said of it instead of results.
    #[serde(skip)]
    pub(crate) trouble: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Texts {
    options: Vec<Text>,
}

#[derive(Debug, Deserialize)]
struct Text {
    text: String,
}

impl WatchedPoll {
    /// For each option its text and its votes, if they are shown.
    pub(crate) fn options(&self) -> impl Iterator<Item = (&str, Option<u64>)> {
        let votes = self.newest.as_ref().and_then(|results| results.options.as_ref());
        let texts = self.results.options.iter().enumerate();
        texts.map(move |(index, option)| (option.text.as_str(), votes.and_then(|votes| Some(votes.get(index)?.votes))))
    }

    fn take(&mut self, results: Results) {
        let version = |results: &Results| (results.epoch, results.version);
        self.viewers = results.viewers.or(self.viewers);
        self.trouble = None;
        if self.newest.as_ref().is_none_or(|newest| version(newest) < version(&results)) {
            self.newest = Some(results);
        }
    }
}

/// Everything that is watched.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) polls: Vec<WatchedPoll>,
    /// The leaderboard; `None`: it is not watched.
    pub(crate) board: Option<Vec<Entry>>,
    /// What is wrong with the connection.
    pub(crate) trouble: Option<String>,
}

impl State {
    pub(crate) fn new(polls: Vec<WatchedPoll>, leaderboard: bool) -> Self {
        Self { polls, board: leaderboard.then(Vec::new), trouble: None }
    }

    /// Takes a frame in.
    pub(crate) fn take(&mut self, frame: Frame) {
        match frame {
            Frame::Results(results) => {
                if let Some(poll) = self.poll(results.poll_id) {
                    poll.take(results);
                }
            }
            Frame::Viewers(viewers) => {
                if let Some(poll) = self.poll(viewers.poll_id) {
                    poll.viewers = Some(viewers.viewers);
                }
            }
            Frame::Leaderboard { entries } => self.board = Some(entries),
            Frame::Error(trouble) => match trouble.poll_id.and_then(|id| self.poll(id)) {
                Some(poll) => poll.trouble = Some(trouble.title),
                None => self.trouble = Some(trouble.title),
            },
            Frame::Unknown => {}
        }
    }

    fn poll(&mut self, id: Uuid) -> Option<&mut WatchedPoll> {
        self.polls.iter_mut().find(|poll| poll.id == id)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(crate) const POLL: &str = "019aa5c2-7a10-7c3e-9d1f-3b1a5f0c8e21";

    pub(crate) fn state() -> State {
        let options = json!([{ "id": 1, "text": "Tea", "votes": 0 }, { "id": 2, "text": "Coffee" }]);
        let poll = json!({ "id": POLL, "question": "Tea or coffee?", "results": { "options": options } });
        State::new(vec![serde_json::from_value(poll).expect("a poll")], true)
    }

    pub(crate) fn results(version: u64, votes: [u64; 2]) -> Value {
        json!({ "type": "results", "poll_id": POLL, "epoch": 1, "version": version, "state": "open", "voters": votes[0] + votes[1],
            "options": [{ "id": 1, "votes": votes[0] }, { "id": 2, "votes": votes[1] }], "new": true })
    }

    pub(crate) fn take(state: &mut State, frame: Value) {
        state.take(serde_json::from_value(frame).expect("a frame"));
    }

    #[test]
    fn only_what_is_newer_is_shown() {
        let mut state = state();
        assert_eq!(state.polls[0].options().next(), Some(("Tea", None)));
        take(&mut state, results(3, [1, 3]));
        take(&mut state, results(2, [0, 0]));
        assert_eq!(state.polls[0].options().collect::<Vec<_>>(), [("Tea", Some(1)), ("Coffee", Some(3))]);
        take(&mut state, json!({ "type": "viewers", "poll_id": POLL, "viewers": 7 }));
        take(&mut state, json!({ "type": "something new" }));
        assert_eq!(state.polls[0].viewers, Some(7));
    }

    #[test]
    fn a_problem_is_shown_where_it_belongs() {
        let mut state = state();
        take(&mut state, json!({ "type": "error", "title": "No such poll", "status": 404, "poll_id": POLL }));
        assert_eq!(state.polls[0].trouble.as_deref(), Some("No such poll"));
        take(&mut state, json!({ "type": "error", "title": "Not now", "status": 503 }));
        assert_eq!(state.trouble.as_deref(), Some("Not now"));
        take(&mut state, results(1, [0, 0]));
        take(&mut state, json!({ "type": "error", "title": "Not now", "status": 503, "poll_id": POLL }));
        take(&mut state, results(1, [0, 0]));
        assert_eq!(state.polls[0].trouble, None, "it can be shown again, and nothing has changed meanwhile");
    }
}
