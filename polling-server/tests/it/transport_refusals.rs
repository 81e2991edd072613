//! What is refused before the API hears of it, and how: as a problem that the client can read.

use std::time::Duration;

use crate::transport::{SOON, Server, request, transport};

fn assert_problem(answer: &str, status: &str, detail: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.contains("content-type: application/problem+json\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    let body: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).expect("a body")).expect("JSON");
    assert_eq!((body["status"].to_string().as_str(), body["detail"].as_str()), (status, Some(detail)));
    // There is no page that says such a status.
    assert_eq!(body["type"], "about:blank");
    assert!(body["title"].is_string(), "{body}");
}

const TOO_LARGE: &str = "the head of the request is too large";
const TOO_LONG: &str = "the request target is too long";
const LATE: &str = "the request did not arrive in time";

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_431() {
    let server = Server::usual().await;
    let large = format!("GET /hello/ann HTTP/1.1\r\nhost: test\r\nx-large: {}\r\n\r\n", "x".repeat(16 * 1024));
    assert_problem(&server.exchange(large).await, "431", TOO_LARGE);
    let fields: String = (0..=100).map(|number| format!("x-{number}: 1\r\n")).collect();
    assert_problem(&server.exchange(format!("GET /hello/ann HTTP/1.1\r\n{fields}\r\n")).await, "431", TOO_LARGE);
    let bearable = format!("GET /hello/ann HTTP/1.0\r\nx-large: {}\r\n\r\n", "x".repeat(15 * 1024));
    assert!(server.exchange(bearable).await.ends_with("hello ann"));
}

#[tokio::test]
async fn a_target_that_is_too_long_is_answered_414() {
    let server = Server::usual().await;
    for length in [9_000, 20_000, 200_000] {
        let answer = server.exchange(request("GET", &format!("/{}", "x".repeat(length)))).await;
        assert_problem(&answer, "414", TOO_LONG);
    }
}

#[tokio::test]
async fn what_is_not_http_is_answered_400() {
    let server = Server::usual().await;
    for garbage in ["hello\r\n\r\n", "\u{0}\u{1}\u{2}\u{3}", "GET / HTTP/1.1\r\nno colon here\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"]
    {
        assert_problem(&server.exchange(garbage).await, "400", "this is not a well-formed HTTP/1.1 request");
    }
}

#[tokio::test]
async fn a_request_that_does_not_name_one_host_is_answered_400() {
    let server = Server::usual().await;
    for hosts in ["", "host: test\r\nhost: test\r\n", "Host: test\r\nHOST: other\r\n"] {
        let answer = server.exchange(format!("GET /hello/ann HTTP/1.1\r\n{hosts}\r\n")).await;
        assert_problem(&answer, "400", "a request must have exactly one Host");
    }
    for sound in ["HTTP/1.1\r\nhost: \r\nconnection: close\r\n", "HTTP/1.0\r\n", "HTTP/1.0\r\nhost: test\r\n"] {
        let answer = server.exchange(format!("GET /hello/ann {sound}\r\n")).await;
        assert!(answer.ends_with("hello ann"), "{answer}");
    }
}

#[tokio::test]
async fn garbage_after_a_request_is_answered_after_its_answer() {
    let server = Server::usual().await;
    let mut client = server.connect().await;
    client.send([&request("GET", "/hello/ann"), "garbage\r\n\r\n"].concat()).await;
    assert!(client.response().await.ends_with("hello ann"));
    assert_problem(&client.rest().await, "400", "this is not a well-formed HTTP/1.1 request");
}

#[tokio::test]
async fn a_coding_that_is_not_known_is_answered_501() {
    let server = Server::usual().await;
    let post = |coding: &str| format!("POST /echo HTTP/1.1\r\nhost: test\r\n{coding}\r\n\r\n4\r\nbody\r\n0\r\n\r\n");
    let twice = "transfer-encoding: chunked\r\ntransfer-encoding: chunked";
    for unknown in ["transfer-encoding: gzip, chunked", "transfer-encoding: chunked, chunked", twice] {
        let answer = server.exchange(post(unknown)).await;
        assert_problem(&answer, "501", "of the transfer codings only chunked is known here");
    }
    let known = post("connection: close\r\ntransfer-encoding: Chunked");
    assert!(server.exchange(known).await.ends_with("body"));
}

#[tokio::test]
async fn http_2_is_answered_505() {
    let server = Server::usual().await;
    let answer = server.exchange("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_problem(&answer, "505", "only HTTP/1.1 and HTTP/1.0 are spoken here");
}

#[tokio::test]
async fn a_head_that_does_not_arrive_in_time_is_answered_408() {
    let mut transport = transport();
    transport.limits.header_timeout = Duration::from_millis(50);
    let server = Server::start(transport, SOON).await;
    assert_problem(&server.exchange("GET /hello/ann HTTP/1.1\r\nhos").await, "408", LATE);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_answered_408() {
    let mut transport = transport();
    transport.limits.body_timeout = Duration::from_millis(50);
    let server = Server::start(transport, SOON).await;
    let fixed = "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbo";
    assert_problem(&server.exchange(fixed).await, "408", LATE);
    let chunked = "POST /echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n2\r\nbo\r\n";
    assert_problem(&server.exchange(chunked).await, "408", LATE);
}

#[tokio::test]
async fn a_client_in_the_midst_of_a_large_body_can_read_its_refusal() {
    let server = Server::usual().await;
    let mut client = server.connect().await;
    let body = "x".repeat(512 * 1024);
    client.send(format!("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_client_whose_body_nobody_waits_for_is_told_that_the_connection_ends() {
    let server = Server::usual().await;
    let head = "POST /hello/you HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n";
    let mut client = server.connect().await;
    client.send(head).await;
    let refused = client.response().await;
    assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("\r\nconnection: close\r\n"), "{refused}");
    let mut client = server.connect().await;
    for _ in 0..2 {
        client.send(format!("{head}whole")).await;
        let refused = client.response().await;
        assert!(refused.starts_with("HTTP/1.1 405 ") && !refused.contains("connection: close"), "{refused}");
    }
}
