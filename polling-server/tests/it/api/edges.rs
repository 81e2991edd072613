//! What holds for every path: unknown ones, methods, HEAD, panics.

use poem::http::Method;
use serde_json::json;

use super::support::Server;

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    for path in ["/nowhere", "/polls/", "//", "/polls/x/y/z", "/%FF", "/receipts", "/receipts/", "/docs/", "/problems/"] {
        server.get(path).send().await.expect_problem(404, "not-found");
    }
    server.get("/problems/nothing").send().await.expect_problem(404, "not-found");
    server.get(&poll.path("/votes/1")).send().await.expect_problem(404, "not-found");
    server.get(&format!("/polls/{}", "%FF")).send().await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_answered_by_those_it_takes() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    let cases = [
        ("/polls".to_owned(), "GET, HEAD, POST", vec![Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS]),
        (poll.path(""), "DELETE, GET, HEAD", vec![Method::POST, Method::PUT]),
        (poll.path("/vote"), "DELETE, POST", vec![Method::GET, Method::HEAD, Method::PUT]),
        (poll.path("/votes"), "POST", vec![Method::GET, Method::DELETE]),
        (poll.path("/close"), "POST", vec![Method::GET]),
        (poll.path("/export.csv"), "GET, HEAD", vec![Method::POST]),
        ("/receipts/x".to_owned(), "GET, HEAD", vec![Method::POST]),
        ("/leaderboard".to_owned(), "GET, HEAD", vec![Method::POST]),
        ("/".to_owned(), "GET, HEAD", vec![Method::POST]),
        ("/docs".to_owned(), "GET, HEAD", vec![Method::POST]),
        ("/openapi.json".to_owned(), "GET, HEAD", vec![Method::DELETE]),
        ("/problems/validation".to_owned(), "GET, HEAD", vec![Method::POST]),
    ];
    for (path, allow, methods) in cases {
        for method in methods {
            let answer = server.request(method.clone(), &path).send().await;
            assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, allow), "{method} {path}");
            if method != Method::HEAD {
                answer.expect_problem(405, "method-not-allowed");
            }
        }
    }
}

#[tokio::test]
async fn head_answers_as_get_without_the_body() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    let paths = [
        "/",
        "/docs",
        "/docs/swagger-ui-bundle.js",
        "/openapi.json",
        "/asyncapi.json",
        "/polls",
        "/leaderboard",
        "/problems/internal",
        "/nowhere",
        &poll.path(""),
        &poll.path("/export.csv"),
        "/polls/x",
    ]
    .map(str::to_owned);
    for path in paths {
        let get = server.get(&path).send().await;
        let head = server.request(Method::HEAD, &path).send().await;
        assert_eq!((head.status, head.bytes.len()), (get.status, 0), "{path}");
        assert_eq!(head.header("content-length"), get.bytes.len().to_string(), "{path}");
        for name in ["content-type", "etag", "cache-control", "x-content-type-options"] {
            assert_eq!(head.header(name), get.header(name), "{name} of {path}");
        }
    }
}

#[tokio::test]
async fn head_of_what_the_client_has_gives_no_length() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    for path in [poll.path(""), "/leaderboard".to_owned(), "/openapi.json".to_owned()] {
        let etag = server.get(&path).send().await.header("etag").to_owned();
        for method in [Method::GET, Method::HEAD] {
            let answer = server.request(method, &path).header("if-none-match", &etag).send().await;
            assert_eq!((answer.status.as_u16(), answer.header("etag")), (304, etag.as_str()), "{path}");
            assert!(answer.headers.get("content-length").is_none(), "{path}");
        }
    }
}

#[tokio::test]
async fn a_vote_by_an_escaped_path_is_a_vote() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    let escaped = format!("/polls/%30{}/vote", &poll.id[1..]);
    server.post(&escaped, &json!({ "choices": [1], "voter_id": "a" })).send().await.expect(202);
    server.post(&escaped, &json!({ "choices": [9] })).send().await.expect_problem(422, "validation");
    server.request(Method::POST, &escaped).body("{}").send().await.expect_problem(415, "unsupported-media-type");
    server
        .request(Method::POST, &escaped)
        .header("content-type", "application/json")
        .body(vec![b' '; 5000])
        .send()
        .await
        .expect_problem(413, "too-large");
    assert_eq!(server.votes(&poll).await, [1, 0, 0]);
}
