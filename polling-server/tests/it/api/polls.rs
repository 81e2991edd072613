//! Creating, reading, closing and deleting polls.

use polling_core::model::PollId;
use serde_json::{Value, json};

use super::support::Server;

#[tokio::test]
async fn a_created_poll_is_shown_with_its_owner_token_once() {
    let server = Server::start();
    let body = json!({ "question": "  Tea?  ", "options": [" Yes ", "No"], "closes_at": null });
    let answer = server.post("/polls", &body).send().await;
    let mut created = answer.expect(201);
    assert_eq!(answer.header("location"), format!("/polls/{}", created["id"].as_str().expect("an id")));
    assert_eq!(answer.header("cache-control"), "no-store");
    let owner = created.as_object_mut().and_then(|poll| poll.remove("owner_token")).expect("a token");
    // Identifiers grow in one process whatever its clocks say, and other tests have other clocks.
    let id = created["id"].as_str().and_then(PollId::parse).expect("an identifier");
    assert_eq!(created["created_at"], id.created_at().to_string());
    assert!(owner.as_str().is_some_and(|token| token.starts_with("owner_")));
    let expected = json!({
        "id": created["id"], "question": "Tea?", "state": "open", "max_choices": 1, "allow_change": false,
        "results_visibility": "always", "created_at": created["created_at"], "opens_at": null, "closes_at": null,
        "results": { "epoch": 7, "version": 1, "voters": 0, "options": [
            { "id": 1, "text": "Yes", "votes": 0, "share": 0.0 }, { "id": 2, "text": "No", "votes": 0, "share": 0.0 } ] },
    });
    assert_eq!(created, expected);
    assert_eq!(server.get(answer.header("location")).send().await.expect(200), expected);
}

#[tokio::test]
async fn every_field_of_a_poll_is_kept() {
    let server = Server::start();
    let fields = json!({ "max_choices": 2, "allow_change": true, "results": "after_close",
        "opens_at": "2026-11-24T15:00:00+02:00", "closes_at": "2026-11-24T14:00:00.5Z" });
    let poll = server.create(fields).await;
    let shown = server.get(&poll.path("")).send().await.expect(200);
    assert_eq!((&shown["state"], &shown["max_choices"], &shown["allow_change"]), (&json!("scheduled"), &json!(2), &json!(true)));
    assert_eq!(shown["results_visibility"], "after_close");
    assert_eq!((&shown["opens_at"], &shown["closes_at"]), (&json!("2026-11-24T13:00:00Z"), &json!("2026-11-24T14:00:00.5Z")));
}

#[tokio::test]
async fn each_bound_of_a_poll_holds_and_one_beyond_is_refused() {
    let server = Server::start();
    let options = |count: usize| (0..count).map(|number| format!("{number:é>200}")).collect::<Vec<_>>();
    let base = json!({ "question": "q", "options": ["a", "b"] });
    let cases: Vec<(&str, Value, Value)> = vec![
        ("question", json!("é".repeat(500)), json!("é".repeat(501))),
        ("question", json!("x"), json!(" \u{a0} ")),
        ("options", json!(options(100)), json!(options(101))),
        ("options", json!(["a", "b"]), json!(["a"])),
        ("options", json!(["é".repeat(200), "b"]), json!(["é".repeat(201), "b"])),
        ("options", json!(["a", "A"]), json!(["a", " a"])),
        ("max_choices", json!(2), json!(3)),
        ("max_choices", json!(1), json!(0)),
        ("closes_at", json!(server.time_in(1)), json!(server.time_in(0))),
        ("closes_at", json!("9999-12-31T23:59:59Z"), json!("1969-12-31T23:59:59Z")),
        ("opens_at", json!("2020-01-01T00:00:00Z"), json!("2020-13-01T00:00:00Z")),
        ("results", json!("after_vote"), json!("AFTER_VOTE")),
        ("allow_change", json!(true), json!(1)),
    ];
    for (field, good, bad) in cases {
        let mut body = base.clone();
        body[field] = good;
        server.post("/polls", &body).send().await.expect(201);
        body[field] = bad;
        let places = server.post("/polls", &body).send().await.expect_errors();
        assert!(places.len() == 1 && places[0].starts_with(&format!("/{field}")), "{field}: {places:?}");
    }
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_poll_is_named() {
    let server = Server::start();
    let body = json!({ "question": 7, "options": ["a", null, "a", "\u{0}"], "max_choices": "2", "allow_change": "yes",
        "results": "never", "opens_at": "soon", "closes_at": "2000-01-01T00:00:00Z", "colour": "red", "a/b~c": 1 });
    let mut places = server.post("/polls", &body).send().await.expect_errors();
    places.sort();
    let expected = [
        "/allow_change",
        "/a~1b~0c",
        "/closes_at",
        "/colour",
        "/max_choices",
        "/opens_at",
        "/options/1",
        "/options/2",
        "/options/3",
        "/question",
        "/results",
    ];
    assert_eq!(places, expected);
    assert_eq!(server.post("/polls", &json!({})).send().await.expect_errors(), ["/question", "/options"]);
    assert_eq!(server.post("/polls", &json!([])).send().await.expect_errors(), [""]);
    let crossed =
        json!({ "question": "q", "options": ["a", "b"], "opens_at": server.time_in(9), "closes_at": server.time_in(9) });
    assert_eq!(server.post("/polls", &crossed).send().await.expect_errors(), ["/closes_at"]);
}

#[tokio::test]
async fn shares_are_votes_over_voters() {
    let server = Server::start();
    let poll = server.create(json!({ "max_choices": 3 })).await;
    for (voter, choices) in [("a", json!([1, 2])), ("b", json!([2])), ("c", json!([3, 1, 2])), ("d", json!([2]))] {
        server.post(&poll.path("/vote"), &json!({ "choices": choices, "voter_id": voter })).send().await.expect(202);
    }
    let results = server.get(&poll.path("")).send().await.expect(200)["results"].clone();
    assert_eq!(results["voters"], 4);
    let shares: Vec<f64> = (0..3).filter_map(|index| results["options"][index]["share"].as_f64()).collect();
    assert_eq!(shares, [0.5, 1.0, 0.25]);
}

#[tokio::test]
async fn a_poll_has_an_entity_tag_that_changes_with_it() {
    let server = Server::start();
    let poll = server.create(json!({ "closes_at": server.time_in(60) })).await;
    let path = poll.path("");
    let first = server.get(&path).send().await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'));
    assert_eq!(first.header("cache-control"), "no-cache");
    for known in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
        let again = server.get(&path).header("if-none-match", &known).send().await;
        assert_eq!((again.status.as_u16(), again.bytes.len(), again.header("etag")), (304, 0, tag.as_str()));
    }
    server.vote(&poll, "a", 1).await.expect(202);
    let after_vote = server.get(&path).header("if-none-match", &tag).send().await;
    after_vote.expect(200);
    server.advance(61);
    let after_close = server.get(&path).header("if-none-match", after_vote.header("etag")).send().await;
    assert_eq!(after_close.expect(200)["state"], "closed");
}

#[tokio::test]
async fn only_the_owner_closes_a_poll_and_closing_again_is_the_same() {
    let server = Server::start();
    let (poll, other) = (server.create(json!({})).await, server.create(json!({})).await);
    let path = poll.path("/close");
    let refused = server.post(&path, &json!({})).send().await;
    refused.expect_problem(401, "unauthorized");
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    server.post(&path, &json!({})).bearer(&other.owner).send().await.expect_problem(403, "forbidden");
    server.post(&path, &json!({})).bearer("nonsense").send().await.expect_problem(403, "forbidden");
    // A vote accepted in the very microsecond of the close was in time, so the close comes after it.
    server.vote(&poll, "a", 1).await.expect(202);
    let closed = server.request(poem::http::Method::POST, &path).bearer(&poll.owner).send().await.expect(200);
    assert_eq!((&closed["state"], &closed["results"]["voters"]), (&json!("closed"), &json!(1)));
    server.advance(5);
    let again = server.post(&path, &json!({})).bearer(&poll.owner).send().await.expect(200);
    assert_eq!(again, closed);
    server.vote(&poll, "b", 1).await.expect_problem(409, "poll-closed");
}

#[tokio::test]
async fn a_deleted_poll_is_not_found_but_its_receipts_are() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    let receipt = server.vote(&poll, "a", 1).await.expect(202)["receipt"].clone();
    server.delete(&poll.path("")).send().await.expect_problem(401, "unauthorized");
    server.delete(&poll.path("")).bearer("owner_x").send().await.expect_problem(403, "forbidden");
    let deleted = server.delete(&poll.path("")).bearer(&poll.owner).send().await;
    assert_eq!((deleted.status.as_u16(), deleted.bytes.len()), (204, 0));
    for path in ["", "/export.csv"] {
        server.get(&poll.path(path)).bearer(&poll.owner).send().await.expect_problem(404, "poll-not-found");
    }
    server.vote(&poll, "b", 1).await.expect_problem(404, "poll-not-found");
    server.delete(&poll.path("")).bearer(&poll.owner).send().await.expect_problem(404, "poll-not-found");
    server.post(&poll.path("/close"), &json!({})).bearer(&poll.owner).send().await.expect_problem(404, "poll-not-found");
    assert_eq!(server.receipt_status(&receipt).await, "counted");
    assert_eq!(server.get("/polls").send().await.expect(200)["polls"], json!([]));
}

#[tokio::test]
async fn an_export_is_a_table_that_runs_nothing() {
    let server = Server::start();
    let poll = server.create(json!({ "options": ["=1+1", "a, \"b\"", "plain"] })).await;
    server.vote(&poll, "a", 2).await.expect(202);
    let table = server.get(&poll.path("/export.csv")).send().await;
    assert_eq!((table.status.as_u16(), table.header("content-type")), (200, "text/csv; charset=utf-8"));
    let expected = "option_id,text,votes,share\r\n1,'=1+1,0,0\r\n2,\"a, \"\"b\"\"\",1,1\r\n3,plain,0,0\r\n";
    assert_eq!(String::from_utf8(table.bytes).as_deref(), Ok(expected));
    server.get(&poll.path("/export.csv")).header("accept", "application/json").send().await.expect_problem(406, "not-acceptable");
}
