//! The commands of an operator, beside servers and workers that run.

use std::sync::Arc;

use polling_core::open::Urls;
use rustix::process::Signal;
use serde_json::Value;

use crate::audit::everything_is_counted;
use crate::crowd::{Crowd, create_poll};
use crate::load::Load;
use crate::place::Place;
use crate::postgres::Session;
use crate::program::{Server, Worker, finished, worker_command};

crate::tests![TESTS: an_operator_audits_and_recounts_while_votes_come_in, an_operator_is_told_why_nothing_was_looked_at,];

/// How often an auditor looks while votes come in.
const ROUNDS: usize = 5;

/// Audits; answers how it ended and what it found.
async fn audit(urls: &Urls, arguments: &[&str]) -> (Option<i32>, Value) {
    let (code, printed) = finished(urls, &[&["audit", "--json"], arguments].concat()).await;
    (code, serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed:?}")))
}

/// What differs, and from what.
fn differing(report: &Value) -> Vec<(&str, &str)> {
    let differences = report["differences"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &'_ Value, name: &str| -> Option<&'static str> {
        let known = ["voters", "option 1", "option 2", "option 3", "standing", "votes", "log"];
        known.into_iter().find(|known| value[name] == **known)
    };
    let pair = |value: &Value| Some((text(value, "quantity")?, text(value, "held_against")?));
    differences.iter().map(|value| pair(value).unwrap_or_else(|| panic!("{value}"))).collect()
}

async fn an_operator_audits_and_recounts_while_votes_come_in(place: &Place) {
    let (urls, schema) = (place.urls(), place.schema());
    let server = Server::start(place).await;
    let poll = create_poll(&server.api, 3, false).await;
    let _worker = Worker::start(place).await;
    let load = Load::start(Arc::new(Crowd::default()), vec![server.api.clone()], poll);
    for round in 0..ROUNDS {
        load.goes_on(20).await;
        let (code, report) = audit(&urls, &["--from-log"]).await;
        assert_eq!((code, &report["sound"]), (Some(0), &Value::Bool(true)), "round {round}: {report}");
        assert!(report["log"]["records"].as_u64() >= report["records"].as_u64(), "{report}");
        assert_eq!((&report["log"]["polls"], &report["unchecked"]), (&1.into(), &Value::Array(Vec::new())), "{report}");
    }

    let mut person = Session::open(place.database()).await;
    person.run(&format!("UPDATE {schema}.polls SET voters = voters + 3, tally[2] = tally[2] + 4")).await;
    let id = poll.to_string();
    let (code, report) = audit(&urls, &["--poll", &id, "--without-log"]).await;
    assert_eq!((code, differing(&report)), (Some(1), vec![("voters", "votes"), ("option 2", "votes")]), "{report}");
    let (code, printed) = finished(&urls, &["recount"]).await;
    assert!(code == Some(1) && printed.contains("1 polls recounted, 1 of them wrong; nothing was changed"), "{printed}");
    let (code, printed) = finished(&urls, &["recount", "--poll", &id, "--yes"]).await;
    assert!(code == Some(0) && printed.contains("1 polls recounted, 1 of them wrong, 1 mended"), "{printed}");
    load.goes_on(20).await;
    let (code, report) = audit(&urls, &[]).await;
    assert_eq!((code, &report["log"]["polls"]), (Some(0), &1.into()), "{report}");

    load.stop().await;
    everything_is_counted(place).await;
    // A vote of option 1 is removed, and the totals are made to agree: only the counts and the log know of it.
    let votes = format!("{schema}.votes");
    person.run(&format!("DELETE FROM {votes} WHERE ctid = (SELECT ctid FROM {votes} WHERE choices = '\\x01' LIMIT 1)")).await;
    assert_eq!(finished(&urls, &["recount", "--yes"]).await.0, Some(0));
    let (code, report) = audit(&urls, &["--from-log"]).await;
    let expected = vec![("standing", "votes"), ("voters", "log"), ("option 1", "log")];
    assert_eq!((code, differing(&report)), (Some(1), expected), "{report}");
    let (_, printed) = finished(&urls, &["audit"]).await;
    assert!(printed.contains("3 differences"), "{printed}");
}

async fn an_operator_is_told_why_nothing_was_looked_at(place: &Place) {
    let urls = place.urls();
    let ends = async |urls: &Urls, arguments: &[&str]| finished(urls, arguments).await.0;
    assert_eq!(ends(&urls, &["audit", "--poll", "first"]).await, Some(64));
    assert_eq!(ends(&urls, &["audit", "--from-log", "--without-log"]).await, Some(64));
    // Nobody has made the tables.
    assert_eq!(ends(&urls, &["audit"]).await, Some(65));
    let server = Server::start(place).await;
    // No port has the number 1 on machines that tests run on.
    let away = place.urls_through("127.0.0.1:1", place.database());
    assert_eq!(ends(&away, &["audit", "--from-log"]).await, Some(69));
    let (code, report) = audit(&away, &[]).await;
    assert_eq!(code, Some(0), "{report}");
    assert!(report["unchecked"][0].as_str().is_some_and(|text| text.starts_with("the log was not read: ")), "{report}");
    let away = place.urls_through(place.brokers(), &place.database_at(([127, 0, 0, 1], 1).into()));
    assert_eq!(ends(&away, &["audit"]).await, Some(69));
    assert_eq!(ends(&away, &["recount", "--yes"]).await, Some(69));
    let unknown = "01937b3c-5c00-7000-8000-00000000002a";
    assert_eq!(ends(&urls, &["audit", "--poll", unknown]).await, Some(1));
    assert_eq!(ends(&urls, &["recount", "--poll", unknown]).await, Some(1));

    create_poll(&server.api, 2, false).await;
    let mut person = Session::open(place.database()).await;
    person.run(&format!("BEGIN; LOCK TABLE {}.polls IN ACCESS EXCLUSIVE MODE", place.schema())).await;
    let mut waiting = worker_command(&urls, &["audit"]);
    waiting.line("auditing").await;
    waiting.signal(Signal::TERM);
    assert_eq!(waiting.exit_code().await, Some(75));
    person.run("ROLLBACK").await;
}
