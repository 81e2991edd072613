//! The OpenAPI document.

use std::collections::BTreeSet;

use polling_server::api::openapi_document;
use polling_server::api::problem_kind::ProblemKind;
use serde_json::Value;

use super::support::Server;

/// Where the document is kept.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

fn document() -> Value {
    serde_json::from_str(&openapi_document()).expect("JSON")
}

fn operations(document: &Value) -> Vec<(String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods");
            methods.iter().map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation.clone()))
        })
        .collect()
}

#[tokio::test]
async fn the_committed_document_is_the_one_that_is_served() {
    let generated = openapi_document();
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(COMMITTED, &generated).expect("a writable file");
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    assert!(committed == generated, "openapi.json is out of date: run this test with UPDATE=1");
    let served = Server::start().get("/openapi.json").send().await;
    assert_eq!(served.expect(200), document());
}

#[test]
fn every_operation_is_described_in_full() {
    let document = document();
    let operations = operations(&document);
    let expected = [
        "GET /leaderboard",
        "GET /leaderboard/events",
        "GET /leaderboard/live",
        "GET /live",
        "GET /polls",
        "GET /polls/{poll_id}",
        "GET /polls/{poll_id}/events",
        "GET /polls/{poll_id}/export.csv",
        "GET /polls/{poll_id}/history",
        "GET /polls/{poll_id}/live",
        "GET /receipts/{receipt}",
        "POST /polls",
        "POST /polls/{poll_id}/close",
        "POST /polls/{poll_id}/vote",
        "POST /polls/{poll_id}/votes",
        "DELETE /polls/{poll_id}",
        "DELETE /polls/{poll_id}/vote",
    ];
    let named: BTreeSet<&str> = operations.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(named, BTreeSet::from(expected));
    let mut identifiers = BTreeSet::new();
    for (name, operation) in &operations {
        assert!(identifiers.insert(operation["operationId"].as_str().expect("an id").to_owned()), "{name}");
        for member in ["summary", "description"] {
            assert!(operation[member].as_str().is_some_and(|text| !text.is_empty()), "{member} of {name}");
        }
        assert!(operation["tags"].is_array() && operation["security"].is_array(), "{name}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].is_string(), "{parameter} of {name}");
        }
        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.contains_key("500"), "{name}");
        for (status, response) in responses {
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{status} of {name}");
            for media_type in response["content"].as_object().into_iter().flat_map(|content| content.keys()) {
                let known = ["application/json", "application/problem+json", "text/csv", "text/event-stream"];
                assert!(known.contains(&media_type.as_str()), "{name}");
            }
        }
    }
}

#[test]
fn what_is_refused_whatever_is_asked_for_is_in_the_document() {
    for (name, operation) in operations(&document()) {
        let has_body = operation.get("requestBody").is_some();
        for (status, expected) in [("408", has_body), ("414", true), ("431", true)] {
            let response = operation["responses"].get(status);
            assert_eq!(response.is_some(), expected, "{status} of {name}");
        }
    }
}

#[test]
fn every_problem_is_in_the_document_with_an_example() {
    let document = document();
    let mut seen = BTreeSet::new();
    for (name, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().expect("responses") {
            let Some(content) = response.pointer("/content/application~1problem+json") else { continue };
            let examples = content["examples"].as_object().expect("examples");
            let types = content.pointer("/schema/properties/type/enum").and_then(Value::as_array).expect("types");
            assert_eq!(examples.len(), types.len(), "{status} of {name}");
            for (kind, example) in examples {
                assert_eq!(example["value"]["status"].to_string(), *status, "{kind} of {name}");
                match example["value"]["type"].as_str().expect("a type").strip_prefix("/problems/") {
                    Some(page) => {
                        assert_eq!(page, kind, "of {name}");
                        seen.insert(kind.clone());
                    }
                    None => assert_eq!(example["value"]["type"], "about:blank", "{kind} of {name}"),
                }
            }
        }
    }
    // These come from the router, whatever the operation would be.
    seen.extend(["not-found".to_owned(), "method-not-allowed".to_owned()]);
    let all: BTreeSet<String> = ProblemKind::ALL.iter().map(|kind| kind.facts().name.to_owned()).collect();
    assert_eq!(seen, all);
}
