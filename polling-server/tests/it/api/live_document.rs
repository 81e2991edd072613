//! The document of the live protocol, compared with the frames that are really made.

use std::collections::BTreeSet;

use polling_core::clock::{Clock, SystemClock};
use polling_core::model::{OwnerKey, PollDraft, PollId, Tally, Totals, Version};
use polling_core::store::PollSnapshot;
use polling_server::api::problem::{FieldError, Problem};
use polling_server::api::problem_kind::ProblemKind;
use polling_server::api::types::{LeaderboardBody, LeaderboardEntry};
use polling_server::live::frame::{BoardFrame, PollFrame, error_frame};
use polling_server::live::message::Request;
use serde_json::Value;

use super::support::Server;

fn document() -> Value {
    serde_json::from_str(include_str!("../../../asyncapi.json")).expect("JSON")
}

/// Compares values with schemas, and notes which members of which schemas it has seen.
struct Comparison {
    document: Value,
    seen: BTreeSet<(String, String)>,
}

impl Comparison {
    fn new() -> Self {
        Self { document: document(), seen: BTreeSet::new() }
    }

    fn schema(&self, name: &str) -> Value {
        self.document["components"]["schemas"][name].clone()
    }

    /// Checks that `value` has what the schema requires and nothing that it does not name.
    fn check(&mut self, name: &str, value: &Value) {
        let schema = self.schema(name);
        let (value, members) = (value.as_object().expect("an object"), schema["properties"].as_object().expect("members"));
        for required in schema["required"].as_array().expect("a list") {
            assert!(value.contains_key(required.as_str().expect("a name")), "{required} of {name} in {value:?}");
        }
        for (member, value) in value {
            let schema = members.get(member).unwrap_or_else(|| panic!("{name} has no {member}"));
            self.seen.insert((name.to_owned(), member.clone()));
            self.check_member(&format!("{name}/{member}"), schema, value);
        }
    }

    fn check_member(&mut self, place: &str, schema: &Value, value: &Value) {
        if let Some(constant) = schema.get("const") {
            assert_eq!(value, constant, "{place}");
        }
        if let Some(words) = schema["enum"].as_array() {
            assert!(words.contains(value), "{value} at {place}");
        }
        let found = match value {
            Value::String(_) => "string",
            Value::Number(_) => "integer",
            Value::Bool(_) => "boolean",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
            Value::Null => "null",
        };
        let allowed =
            |types: &Value| types == found || types.as_array().is_some_and(|types| types.iter().any(|one| one == found));
        assert!(allowed(&schema["type"]), "{found} at {place}");
        for item in value.as_array().into_iter().flatten() {
            match schema["items"]["$ref"].as_str() {
                Some(name) => self.check(name.rsplit('/').next().expect("a name"), item),
                None => self.check_member(&format!("{place}/items"), &schema["items"], item),
            }
        }
    }

    /// Checks that every member of these schemas was seen.
    fn all_seen(&self, names: &[&str]) {
        for &name in names {
            for member in self.schema(name)["properties"].as_object().expect("members").keys() {
                assert!(self.seen.contains(&(name.to_owned(), member.clone())), "no frame has {member} of {name}");
            }
        }
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn snapshot() -> PollSnapshot {
    let draft = PollDraft { question: "Tea?".into(), options: vec!["Yes".into(), "No".into()], ..PollDraft::default() };
    let poll = draft.into_poll(OwnerKey([0; 32]), SystemClock.now()).expect("sound");
    let totals = Totals { votes: vec![3, 1], voters: 4 };
    let tally = Tally { poll: poll.id, version: Version { epoch: 1, number: 5 }, totals };
    PollSnapshot { poll, tally }
}

#[test]
fn every_frame_has_exactly_the_members_that_the_document_names() {
    let mut comparison = Comparison::new();
    let frame = PollFrame::new(&snapshot(), SystemClock.now());
    comparison.check("ResultsFrame", &json(&frame.with_results.text));
    comparison.check("ResultsFrame", &json(&frame.without_results.text));
    let counted = frame.with_viewers(snapshot().poll.id, 3).viewers.expect("counted");
    for frame in [&counted.with_results, &counted.without_results] {
        comparison.check("ResultsFrame", &json(&frame.text));
    }
    comparison.check("ViewersFrame", &json(&counted.alone.text));
    let entry = LeaderboardEntry { rank: 1, votes: 1, ..LeaderboardEntry::default() };
    let body = LeaderboardBody { version: 1, entries: vec![entry] };
    let first = BoardFrame::new(9, &body, None);
    for frame in [&first, &BoardFrame::new(9, &body, Some(&first))] {
        comparison.check("LeaderboardFrame", &json(&frame.rendered.text));
    }
    let poll = PollId::new(SystemClock.now());
    let problems = [
        Problem::new(ProblemKind::PollNotFound),
        Problem::with_detail(ProblemKind::Validation, "this socket takes no messages"),
        Problem::validation(vec![FieldError::at("/subscribe/0", "must be the id of a poll")]),
        Problem::new(ProblemKind::Unavailable),
    ];
    for problem in &problems {
        for poll in [None, Some(poll)] {
            comparison.check("ErrorFrame", &json(&error_frame(problem, poll).text));
        }
    }
    comparison.all_seen(&["ResultsFrame", "OptionVotes", "ViewersFrame", "LeaderboardFrame", "LeaderboardEntry"]);
    comparison.all_seen(&["ErrorFrame", "FieldError"]);
}

#[test]
fn every_example_is_what_its_schema_says_and_the_server_understands_those_of_the_client() {
    let mut comparison = Comparison::new();
    for (name, message) in document()["components"]["messages"].as_object().expect("messages") {
        let schema = message["payload"]["$ref"].as_str().and_then(|name| name.rsplit('/').next()).expect("a schema");
        for example in message["examples"].as_array().expect("examples") {
            let payload = &example["payload"];
            comparison.check(schema, payload);
            if name == "request" {
                Request::parse(payload.to_string().as_bytes()).expect("understood");
            } else {
                assert_eq!(payload["type"], *name);
            }
            if let Some(problem) = payload["problem"].as_str() {
                let facts = ProblemKind::parse(problem.trim_start_matches("/problems/")).expect("a kind").facts();
                assert_eq!((&payload["title"], &payload["status"]), (&facts.title.into(), &facts.status.as_u16().into()));
            }
        }
    }
    comparison.all_seen(&["ResultsFrame", "ViewersFrame", "LeaderboardFrame", "LeaderboardEntry"]);
    comparison.all_seen(&["ErrorFrame", "FieldError", "Request"]);
}

#[tokio::test]
async fn the_document_is_served_and_names_the_sockets_of_the_api() {
    let served = Server::start().get("/asyncapi.json").send().await;
    assert_eq!(served.expect(200), document());
    assert!(served.header("etag").starts_with('"'));
    assert_eq!((&document()["asyncapi"], &document()["info"]["version"]), (&"3.0.0".into(), &env!("CARGO_PKG_VERSION").into()));
    let api: Value = json(&polling_server::api::openapi_document());
    let sockets = |path: &&String| path.ends_with("/live");
    let in_api: BTreeSet<String> = api["paths"].as_object().expect("paths").keys().filter(sockets).cloned().collect();
    let document = document();
    let channels = document["channels"].as_object().expect("channels").values();
    let here: BTreeSet<String> = channels.map(|channel| channel["address"].as_str().expect("text").to_owned()).collect();
    assert_eq!(here, in_api);
}
