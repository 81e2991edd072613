//! The OpenAPI document: what the operations say of themselves, completed by what their description cannot say.

use std::marker::PhantomData;

use poem::http::StatusCode;
use poem_openapi::{LicenseObject, OpenApiService};
use serde_json::{Map, Value, json};

use super::document_examples::{example_of, word_lists};
use super::operations::{DescriptionOf, Documented, TITLE};
use super::problem::{PROBLEM_MEDIA_TYPE, document_of_status};
use super::problem_kind::ProblemKind;
use super::problem_schema;
use crate::transport::refusal::explanation;

/// What the API is, at the head of the document.
const DESCRIPTION: &str = "\
Live polls: create a poll, vote, and watch the results move.

A vote is answered by 202 when it is durable, and by a receipt that tells what became of it. Make a `vote_id` before you send a \
vote and send the same again whenever the answer is lost: it never counts twice. Every error is a problem document (RFC 9457); \
the page that its `type` names says what a client should do. Times are RFC 3339 in UTC. HEAD works where GET does. What goes \
over the WebSockets is described by `/asyncapi.json`.";

/// The document as JSON, the same text on every build.
#[must_use]
pub fn openapi_document() -> String {
    let license = LicenseObject::new("MIT OR Apache-2.0").url("https://spdx.org/licenses/");
    let described = DescriptionOf::<Documented>(PhantomData);
    let service =
        OpenApiService::new(described, TITLE, env!("CARGO_PKG_VERSION")).description(DESCRIPTION).license(license).server("/");
    let mut document: Value = serde_json::from_str(&service.spec()).unwrap_or_default();
    if let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) {
        paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut).for_each(complete_operation);
    }
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        schemas.iter_mut().for_each(|(name, schema)| complete_schema(name, schema));
    }
    let mut text = serde_json::to_string_pretty(&sorted(document)).unwrap_or_default();
    text.push('\n');
    text
}

/// How a request is refused of which only the head was read, whatever it asks for.
const OF_EVERY_HEAD: [StatusCode; 2] = [StatusCode::URI_TOO_LONG, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE];
/// How one is refused that has a body, whatever it asks for.
const OF_EVERY_BODY: [StatusCode; 1] = [StatusCode::REQUEST_TIMEOUT];

/// Gives every problem of an operation an example of its own, and the operation the refusals that it never hears of.
fn complete_operation(operation: &mut Value) {
    let has_body = operation.get("requestBody").is_some();
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    for response in responses.values_mut() {
        let Some(content) = response.get_mut("content").and_then(|content| content.get_mut(PROBLEM_MEDIA_TYPE)) else {
            continue;
        };
        let types = content.pointer("/schema/properties/type/enum").and_then(Value::as_array).cloned().unwrap_or_default();
        let kinds = types.iter().filter_map(|name| ProblemKind::parse(name.as_str()?.strip_prefix("/problems/")?));
        let examples: Map<String, Value> = kinds
            .map(|kind| {
                let facts = kind.facts();
                (facts.name.to_owned(), json!({ "summary": facts.title, "value": problem_schema::example(kind) }))
            })
            .collect();
        content["examples"] = Value::Object(examples);
    }
    let of_the_body: &[StatusCode] = if has_body { &OF_EVERY_BODY } else { &[] };
    for &status in OF_EVERY_HEAD.iter().chain(of_the_body) {
        responses.insert(status.as_str().to_owned(), refusal(status));
    }
}

/// A response whose status says all there is to say.
fn refusal(status: StatusCode) -> Value {
    let sent: Value = serde_json::from_slice(&document_of_status(status, Some(explanation(status)))).unwrap_or_default();
    let of_the_type = json!({ "type": { "type": "string", "enum": [sent["type"]] } });
    let schema = json!({ "type": "object", "allOf": [{ "$ref": "#/components/schemas/Problem" }], "properties": of_the_type });
    let examples = json!({ "refused": { "summary": sent["title"], "value": sent } });
    json!({
        "description": status.canonical_reason(),
        "content": { (PROBLEM_MEDIA_TYPE): { "schema": schema, "examples": examples } },
    })
}

/// Adds the example of a schema, the words that its fields may have, and which of its fields may be null.
fn complete_schema(name: &str, schema: &mut Value) {
    if let Some(example) = example_of(name) {
        schema["example"] = example;
    }
    let required: Vec<String> = match schema.get("required").and_then(Value::as_array) {
        Some(names) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        None => Vec::new(),
    };
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (field, property) in properties.iter_mut() {
        if let Some(words) = word_lists(name, field) {
            property["enum"] = json!(words);
        }
        let is_time = field == "at" || field.ends_with("_at");
        if is_time {
            property["format"] = json!("date-time");
        }
        let is_written = property.get("writeOnly").is_some();
        if !required.contains(field) && (is_written || is_time) {
            property["nullable"] = json!(true);
            if let Some(words) = property.get_mut("enum").and_then(Value::as_array_mut) {
                words.push(Value::Null);
            }
        }
    }
    if matches!(name, "Poll" | "CreatedPoll") {
        // These are always there; null says that there is no such time.
        let times = ["opens_at", "closes_at"].map(Value::from);
        if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
            required.extend(times);
        }
    }
}

/// The same value with its keys in order, whatever order the map has in this build.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|left, right| left.0.cmp(&right.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}
