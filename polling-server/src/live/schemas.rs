//! The schemas of what goes over the sockets, made from the types that are sent and read, for `asyncapi.json`.

use std::fs;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::frame::{ErrorFrame, LeaderboardFrame, ResultsFrame, ViewersFrame};
use super::message::Wire;

/// Where the document is kept.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/asyncapi.json");
/// Where the schemas begin, as the last in the document: what is above is written by hand.
const BEGIN: &str = "\n    \"schemas\": ";
/// What closes the document below them.
const END: &str = "\n  }\n}\n";

fn schemas() -> Value {
    // AsyncAPI takes schemas to be of this draft.
    let settings = SchemaSettings::draft07().with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut sent = settings.clone().for_serialize().into_generator();
    sent.subschema_for::<ResultsFrame<'_>>();
    sent.subschema_for::<ViewersFrame>();
    sent.subschema_for::<LeaderboardFrame<'_>>();
    sent.subschema_for::<ErrorFrame<'_>>();
    let mut read = settings.for_deserialize().into_generator();
    read.subschema_for::<Wire>();
    let mut schemas: Map<String, Value> = sent.take_definitions(true);
    schemas.extend(read.take_definitions(true));
    let mut schemas = Value::Object(schemas);
    // The same text, whatever order the map has in this build.
    schemas.sort_all_objects();
    schemas
}

#[test]
fn the_schemas_of_the_live_document_are_those_of_what_is_sent_and_read() {
    let committed = fs::read_to_string(COMMITTED).expect("a readable file");
    let (by_hand, _) = committed.split_once(BEGIN).expect("schemas");
    let schemas = serde_json::to_string_pretty(&schemas()).expect("JSON").replace('\n', "\n    ");
    let generated = [by_hand, BEGIN, &schemas, END].concat();
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        fs::write(COMMITTED, &generated).expect("a writable file");
    } else {
        assert!(committed == generated, "asyncapi.json is out of date: run this test with UPDATE=1");
    }
}
