//! Bodies that are too large, not JSON, or not what they are said to be.

use bytes::Bytes;
use futures_util::stream;
use poem::Body;
use poem::http::Method;
use serde_json::json;

use super::support::{Answered, Server};

async fn send(server: &Server, path: &str, body: impl Into<Body>) -> Answered {
    server.request(Method::POST, path).header("content-type", "application/json").body(body).send().await
}

/// A body without a length, in small pieces.
fn endless(length: usize) -> Body {
    let pieces = (0..length / 512).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 512])));
    Body::from_bytes_stream(stream::iter(pieces))
}

#[tokio::test]
async fn a_body_has_a_bound_with_and_without_a_length() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    let vote = json!({ "choices": [1], "voter_id": "a" }).to_string();
    let batch = json!({ "votes": [{ "choices": [1], "voter_id": "b" }] }).to_string();
    let new_poll = json!({ "question": "q", "options": ["a", "b"] }).to_string();
    for (path, body, bytes_max) in [
        (poll.path("/vote"), vote, 4 * 1024),
        (poll.path("/votes"), batch, 1024 * 1024),
        ("/polls".to_owned(), new_poll, 128 * 1024),
    ] {
        let padded = |length: usize| format!("{body}{}", " ".repeat(length - body.len()));
        assert!(send(&server, &path, padded(bytes_max)).await.status.is_success());
        send(&server, &path, padded(bytes_max + 1)).await.expect_problem(413, "too-large");
        send(&server, &path, endless(bytes_max + 512)).await.expect_problem(413, "too-large");
        let announced = server.request(Method::POST, &path).header("content-type", "application/json");
        // A length is believed before anything is read.
        let announced = announced.header("content-length", &(bytes_max + 1).to_string()).body("{}").send().await;
        announced.expect_problem(413, "too-large");
    }
}

#[tokio::test]
async fn a_body_in_pieces_is_put_together() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    let text = json!({ "choices": [2], "voter_id": "somebody" }).to_string().into_bytes();
    let pieces: Vec<_> = text.chunks(3).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
    send(&server, &poll.path("/vote"), Body::from_bytes_stream(stream::iter(pieces))).await.expect(202);
    assert_eq!(server.votes(&poll).await, [0, 1, 0]);
}

#[tokio::test]
async fn what_is_not_json_in_utf_8_is_refused() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    let deep = format!("{{\"choices\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"{".to_vec(),
        b"{\"choices\":[1]} x".to_vec(),
        b"choices=1".to_vec(),
        b"{'choices':[1]}".to_vec(),
        b"{\"choices\":[1],\"voter_id\":\"\xff\"}".to_vec(),
        b"{\"choices\":[1],\"voter_id\":\"\\ud800\"}".to_vec(),
        b"\xef\xbb\xbf{\"choices\":[1]}".to_vec(),
        b"{\"choices\":[NaN]}".to_vec(),
        deep.into_bytes(),
    ];
    for path in [poll.path("/vote"), poll.path("/votes"), "/polls".to_owned()] {
        for body in &bodies {
            send(&server, &path, body.clone()).await.expect_problem(400, "invalid-json");
        }
        let broken = stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("gone"))]);
        send(&server, &path, Body::from_bytes_stream(broken)).await.expect_problem(400, "invalid-json");
    }
}

#[tokio::test]
async fn a_body_is_read_only_as_json() {
    let server = Server::start();
    let poll = server.create(json!({ "allow_change": true })).await;
    let body = json!({ "choices": [1], "voter_id": "a" }).to_string();
    let path = poll.path("/vote");
    for accepted in ["application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;charset=UTF-8"]
    {
        let answer = server.request(Method::POST, &path).header("content-type", accepted).body(body.clone()).send().await;
        answer.expect(202);
    }
    for refused in ["text/plain", "application/json; charset=latin1", "application/jsonp", "application/problem+json", "json", ""]
    {
        for path in [&path, &poll.path("/votes"), "/polls"] {
            let request = server.request(Method::POST, path).header("content-type", refused).body(body.clone());
            request.send().await.expect_problem(415, "unsupported-media-type");
        }
    }
    let missing = server.request(Method::POST, &path).body(body).send().await;
    missing.expect_problem(415, "unsupported-media-type");
}

#[tokio::test]
async fn an_answer_is_given_only_to_whoever_accepts_json() {
    let server = Server::start();
    let poll = server.create(json!({ "allow_change": true })).await;
    let vote = json!({ "choices": [1], "voter_id": "a" });
    let batch = json!({ "votes": [{ "choices": [1], "voter_id": "b" }] });
    let receipt = server.vote(&poll, "a", 1).await.expect(202)["receipt"].as_str().map(str::to_owned).expect("a receipt");
    let requests = || {
        vec![
            server.post("/polls", &json!({ "question": "q", "options": ["a", "b"] })),
            server.get("/polls"),
            server.get(&poll.path("")),
            server.post(&poll.path("/vote"), &vote),
            server.delete(&poll.path("/vote?voter_id=a")),
            server.post(&poll.path("/votes"), &batch),
            server.get(&format!("/receipts/{receipt}")),
            server.post(&poll.path("/close"), &json!({})).bearer(&poll.owner),
            server.get("/leaderboard"),
        ]
    };
    for request in requests() {
        request.header("accept", "text/html, application/json;q=0").send().await.expect_problem(406, "not-acceptable");
    }
    for request in requests() {
        assert!(request.header("accept", "text/html, */*;q=0.1").send().await.status.is_success());
    }
}

#[tokio::test]
async fn fields_in_an_array_are_no_object() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    for (path, body) in [
        ("/polls".to_owned(), json!(["q", ["a", "b"], 1, false, null, null, null])),
        (poll.path("/vote"), json!([[1], "ann", null])),
        (poll.path("/votes"), json!([[{ "choices": [1], "voter_id": "ann" }]])),
    ] {
        assert_eq!(send(&server, &path, body.to_string()).await.expect_errors(), [""], "{path}");
    }
    let results = send(&server, &poll.path("/votes"), json!({ "votes": [[[1], "ann", null]] }).to_string()).await.expect(202);
    assert_eq!(results["results"][0]["problem"]["errors"][0]["pointer"], "/votes/0");
    assert_eq!(server.votes(&poll).await, [0, 0, 0]);
}
