//! The document of the live protocol, compared with the frames that are really made.

use std::collections::BTreeSet;

use boon::{Compiler, Draft, Schemas};
use polling_core::clock::{Clock, SystemClock};
use polling_core::model::{OwnerKey, PollDraft, PollId, Tally, Totals, Version};
use polling_core::store::PollSnapshot;
use polling_server::api::problem::{FieldError, Problem};
use polling_server::api::problem_kind::ProblemKind;
use polling_server::api::types::{LeaderboardBody, LeaderboardEntry};
use polling_server::live::frame::{BoardFrame, PollFrame, Rendered, error_frame};
use polling_server::live::message::Request;
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::Server;

/// What the document is called while it is looked into; nothing is there.
const ADDRESS: &str = "https://localhost/asyncapi.json";

fn document() -> Value {
    serde_json::from_str(include_str!("../../../asyncapi.json")).expect("JSON")
}

/// Whether a value is what a schema of the document demands.
fn validate(schema: &str, value: &Value) -> Result<(), String> {
    let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
    compiler.set_default_draft(Draft::V7);
    compiler.enable_format_assertions();
    compiler.add_resource(ADDRESS, document()).expect("a document");
    let schema = compiler.compile(&format!("{ADDRESS}#/components/schemas/{schema}"), &mut schemas).expect("a schema");
    schemas.validate(value, schema).map_err(|error| format!("{error} of {value}"))
}

/// Checks that these values are what the schema demands, and that they have together every member that it names, and all of them
/// exactly those that it requires.
fn check<'a>(schema: &str, values: impl IntoIterator<Item = &'a Value>) {
    let mut seen = Vec::new();
    for value in values {
        validate(schema, value).unwrap_or_else(|error| panic!("{schema}: {error}"));
        seen.push(value.as_object().expect("an object").keys().cloned().collect::<BTreeSet<String>>());
    }
    let document = document();
    let schema_of = &document["components"]["schemas"][schema];
    let named: BTreeSet<String> = schema_of["properties"].as_object().expect("members").keys().cloned().collect();
    let required = schema_of["required"].as_array().into_iter().flatten();
    let required: BTreeSet<String> = required.map(|name| name.as_str().expect("a name").to_owned()).collect();
    assert_eq!(seen.iter().flatten().cloned().collect::<BTreeSet<_>>(), named, "what {schema} may have");
    let always = seen.into_iter().reduce(|left, right| &left & &right).expect("a value");
    assert_eq!(always, required, "what {schema} always has");
}

/// What is at this pointer in those that have it.
fn parts<'a>(values: &'a [Value], pointer: &'a str) -> impl Iterator<Item = &'a Value> {
    values.iter().filter_map(move |value| value.pointer(pointer))
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn snapshot() -> PollSnapshot {
    let draft = PollDraft { question: "Tea?".into(), options: vec!["Yes".into(), "No".into()], ..PollDraft::default() };
    let poll = draft.into_poll(OwnerKey([0; 32]), SystemClock.now()).expect("sound");
    let totals = Totals { votes: vec![3, 1], voters: 4 };
    let tally = Tally { poll: poll.id, version: Version { epoch: 1, number: 5 }, totals };
    PollSnapshot { poll, tally }
}

/// What a frame says. Clients may tell what it is by its beginning, and need not read it.
fn read(frame: &Rendered) -> Value {
    assert!(frame.text.starts_with("{\"type\":\""), "{}", frame.text);
    parsed(&frame.text)
}

#[test]
fn every_frame_is_what_its_schema_demands_and_has_always_what_it_requires() {
    let frame = PollFrame::new(&snapshot(), SystemClock.now());
    let counted = frame.with_viewers(snapshot().poll.id, 3).viewers.expect("counted");
    let results = [&frame.with_results, &frame.without_results, &counted.with_results, &counted.without_results].map(read);
    check("ResultsFrame", &results);
    check("OptionVotes", parts(&results, "/options/0"));
    check("ViewersFrame", [&read(&counted.alone)]);
    let entry = LeaderboardEntry {
        rank: 1,
        question: "Tea?".into(),
        option_id: 1,
        text: "Yes".into(),
        votes: 1,
        ..LeaderboardEntry::default()
    };
    let body = LeaderboardBody { version: 1, entries: vec![entry] };
    let first = BoardFrame::new(9, &body, None);
    let second = BoardFrame::new(9, &body, Some(&first));
    let boards = [&first.rendered, &second.rendered].map(read);
    check("LeaderboardFrame", &boards);
    check("LeaderboardEntry", parts(&boards, "/entries/0"));
    let poll = PollId::new(SystemClock.now());
    let problems = [
        Problem::new(ProblemKind::PollNotFound),
        Problem::with_detail(ProblemKind::Validation, "this socket takes no messages"),
        Problem::validation(vec![FieldError::at("/subscribe/0", "must be the id of a poll")]),
        Problem::new(ProblemKind::Unavailable),
    ];
    let frames = |problem| [None, Some(poll)].map(|poll| read(&error_frame(problem, poll)));
    let errors: Vec<Value> = problems.iter().flat_map(frames).collect();
    check("ErrorFrame", &errors);
    check("FieldError", parts(&errors, "/errors/0"));
}

#[test]
fn a_value_beside_a_schema_is_refused_by_it() {
    let entry = json!({
        "rank": 1, "poll_id": Uuid::nil(), "question": "Tea?", "option_id": 1, "text": "Yes", "votes": 1, "previous_rank": null,
    });
    assert_eq!(validate("LeaderboardEntry", &entry), Ok(()));
    for (member, value) in [
        ("rank", json!(0)),
        ("poll_id", json!("1")),
        ("question", json!("")),
        ("option_id", json!(101)),
        ("text", json!("x".repeat(201))),
        ("votes", json!(0)),
        ("previous_rank", json!(0)),
        ("more", json!(1)),
    ] {
        let mut other = entry.clone();
        other[member] = value;
        assert!(validate("LeaderboardEntry", &other).is_err(), "{other}");
    }
}

#[test]
fn a_message_is_understood_if_it_is_what_its_schema_demands() {
    let poll = PollId::new(SystemClock.now()).to_string();
    let many = |count| json!({ "subscribe": vec![poll.clone(); count] });
    let understood = [
        json!({}),
        json!({ "subscribe": null, "unsubscribe": null, "leaderboard": null }),
        json!({ "subscribe": [poll], "unsubscribe": [], "leaderboard": false }),
        many(100),
    ];
    let refused = [
        json!([]),
        json!(null),
        json!({ "subscribe": poll }),
        json!({ "subscribe": [null] }),
        json!({ "unsubscribe": ["1"] }),
        json!({ "leaderboard": 1 }),
        json!({ "watch": [poll] }),
        many(101),
    ];
    for (messages, is_understood) in [(&understood[..], true), (&refused[..], false)] {
        for message in messages {
            assert_eq!(Request::parse(message.to_string().as_bytes()).is_ok(), is_understood, "{message}");
            assert_eq!(validate("Request", message).is_ok(), is_understood, "{message}");
        }
    }
}

#[test]
fn every_example_is_what_its_schema_demands_and_the_server_understands_those_of_the_client() {
    for (name, message) in document()["components"]["messages"].as_object().expect("messages") {
        let schema = message["payload"]["$ref"].as_str().and_then(|name| name.rsplit('/').next()).expect("a schema");
        let examples = message["examples"].as_array().expect("examples");
        check(schema, examples.iter().map(|example| &example["payload"]));
        for payload in examples.iter().map(|example| &example["payload"]) {
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
}

#[tokio::test]
async fn the_document_is_served_and_names_the_sockets_of_the_api() {
    let served = Server::start().get("/asyncapi.json").send().await;
    assert_eq!(served.expect(200), document());
    assert!(served.header("etag").starts_with('"'));
    assert_eq!((&document()["asyncapi"], &document()["info"]["version"]), (&"3.0.0".into(), &env!("CARGO_PKG_VERSION").into()));
    let api: Value = parsed(&polling_server::api::openapi_document());
    let sockets = |path: &&String| path.ends_with("/live");
    let in_api: BTreeSet<String> = api["paths"].as_object().expect("paths").keys().filter(sockets).cloned().collect();
    let document = document();
    let channels = document["channels"].as_object().expect("channels").values();
    let here: BTreeSet<String> = channels.map(|channel| channel["address"].as_str().expect("text").to_owned()).collect();
    assert_eq!(here, in_api);
}
