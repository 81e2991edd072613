//! Who votes, and who may create polls.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use polling_core::clock::Timestamp;
use polling_server::api::access::{Access, ApiKey, IdentitySource, TokenAlgorithm, TokenVerifier};
use serde_json::{Value, json};

use super::support::{Answered, Created, START, Server, Setup};

const KEY: &[u8] = b"a secret that has at least thirty-two bytes";

fn start(identities: &[IdentitySource]) -> Server {
    let tokens = TokenVerifier::new(TokenAlgorithm::Hs256, KEY, Some("polls"), Duration::from_secs(30)).expect("a key");
    let access = Access { identities: identities.to_vec(), tokens: Some(tokens), ..Access::open() };
    Server::start_with(Setup { access, ..Setup::default() })
}

fn token(claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(KEY)).expect("a token")
}

fn seconds(offset: i64) -> i64 {
    Timestamp::parse(START).expect("a time").as_micros() / 1_000_000 + offset
}

fn claims(subject: &str) -> Value {
    json!({ "sub": subject, "aud": "polls", "exp": seconds(60) })
}

async fn vote_with(server: &Server, poll: &Created, token: &str) -> Answered {
    server.post(&poll.path("/vote"), &json!({ "choices": [1] })).bearer(token).send().await
}

#[tokio::test]
async fn a_browser_gets_a_cookie_with_its_first_vote_and_is_known_by_it() {
    let server = Server::start();
    let poll = server.create(json!({ "allow_change": true })).await;
    let first = server.post(&poll.path("/vote"), &json!({ "choices": [1] })).send().await;
    first.expect(202);
    let set_cookie = first.header("set-cookie");
    let (cookie, attributes) = set_cookie.split_once("; ").expect("attributes");
    assert!(cookie.starts_with("polling_voter="));
    assert_eq!(attributes, "Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax");
    let cookies = format!("theme=dark; {cookie}");
    let second = server.post(&poll.path("/vote"), &json!({ "choices": [2] })).header("cookie", &cookies).send().await;
    second.expect(202);
    assert_eq!((second.header("set-cookie"), server.votes(&poll).await), ("", vec![0, 1, 0]));
    server.delete(&poll.path("/vote")).header("cookie", &cookies).send().await.expect(202);
    assert_eq!(server.votes(&poll).await, [0, 0, 0]);
    // The last character may be an A already.
    let forged = format!("{}{}", &cookie[..cookie.len() - 1], if cookie.ends_with('A') { 'Q' } else { 'A' });
    let stranger = server.post(&poll.path("/vote"), &json!({ "choices": [3] })).header("cookie", &forged).send().await;
    stranger.expect(202);
    assert!(stranger.header("set-cookie").starts_with("polling_voter="), "a forged cookie is no cookie");
}

#[tokio::test]
async fn a_cookie_is_secure_when_the_server_is_told_so() {
    let access = Access { secure_cookies: true, ..Access::open() };
    let server = Server::start_with(Setup { access, ..Setup::default() });
    let poll = server.create(json!({})).await;
    let answer = server.post(&poll.path("/vote"), &json!({ "choices": [1] })).send().await;
    assert!(answer.header("set-cookie").ends_with("; SameSite=Lax; Secure"));
}

#[tokio::test]
async fn a_declared_voter_comes_before_the_cookie() {
    let server = Server::start();
    let poll = server.create(json!({})).await;
    let cookie = server.post(&poll.path("/vote"), &json!({ "choices": [1] })).send().await;
    let cookie = cookie.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let body = json!({ "choices": [2], "voter_id": "ann" });
    server.post(&poll.path("/vote"), &body).header("cookie", &cookie).send().await.expect(202);
    assert_eq!(server.votes(&poll).await, [1, 1, 0]);
}

#[tokio::test]
async fn a_token_names_its_subject_while_it_is_valid() {
    let server = start(&[IdentitySource::Token]);
    let poll = server.create(json!({})).await;
    vote_with(&server, &poll, &token(&claims("ann"))).await.expect(202);
    vote_with(&server, &poll, &token(&claims("ann"))).await.expect_problem(409, "already-voted");
    vote_with(&server, &poll, &token(&claims("bob"))).await.expect(202);
    assert_eq!(server.votes(&poll).await, [2, 0, 0]);
    for wrong in [
        json!({ "sub": "x", "aud": "polls", "exp": seconds(-31) }),
        json!({ "sub": "x", "aud": "polls", "exp": seconds(60), "nbf": seconds(31) }),
        json!({ "sub": "x", "aud": "others", "exp": seconds(60) }),
        json!({ "sub": "x", "exp": seconds(60) }),
        json!({ "sub": "x", "aud": "polls" }),
        json!({ "sub": "", "aud": "polls", "exp": seconds(60) }),
        json!({ "aud": "polls", "exp": seconds(60) }),
    ] {
        let refused = vote_with(&server, &poll, &token(&wrong)).await;
        refused.expect_problem(401, "unauthorized");
        assert_eq!(refused.header("www-authenticate"), "Bearer");
    }
    let within_leeway = json!({ "sub": "cy", "aud": ["polls"], "exp": seconds(-29), "nbf": seconds(29) });
    vote_with(&server, &poll, &token(&within_leeway)).await.expect(202);
}

#[tokio::test]
async fn a_token_of_another_algorithm_or_key_is_refused() {
    let server = start(&[IdentitySource::Token]);
    let poll = server.create(json!({})).await;
    let longer = encode(&Header::new(Algorithm::HS512), &claims("x"), &EncodingKey::from_secret(KEY)).expect("a token");
    let stranger = encode(&Header::default(), &claims("x"), &EncodingKey::from_secret(&[1; 32])).expect("a token");
    // {"alg":"none","typ":"JWT"}
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", token(&claims("x")).split('.').nth(1).expect("claims"));
    let demanding = Header { crit: Some(vec!["b64".to_owned()]), ..Header::new(Algorithm::HS256) };
    let demanding = encode(&demanding, &claims("x"), &EncodingKey::from_secret(KEY)).expect("a token");
    for wrong in [longer.as_str(), &stranger, &unsigned, &demanding, "x", ""] {
        vote_with(&server, &poll, wrong).await.expect_problem(401, "unauthorized");
    }
    server.post(&poll.path("/vote"), &json!({ "choices": [1] })).send().await.expect_problem(401, "unauthorized");
    server
        .delete(&server.create(json!({ "allow_change": true })).await.path("/vote"))
        .send()
        .await
        .expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn the_first_identity_in_the_configured_order_decides() {
    let server = start(&[IdentitySource::Token, IdentitySource::Declared, IdentitySource::Cookie]);
    let poll = server.create(json!({})).await;
    let body = json!({ "choices": [1], "voter_id": "bob" });
    let ann = token(&claims("ann"));
    server.post(&poll.path("/vote"), &body).bearer(&ann).send().await.expect(202);
    vote_with(&server, &poll, &ann).await.expect_problem(409, "already-voted");
    server.post(&poll.path("/vote"), &body).send().await.expect(202);
    server.post(&poll.path("/vote"), &body).bearer("expired").send().await.expect_problem(401, "unauthorized");
    // An owner may vote in the own poll as anybody may: the owner token names no voter.
    let as_owner = server.post(&poll.path("/vote"), &json!({ "choices": [1] })).bearer(&poll.owner).send().await;
    assert_eq!((as_owner.status.as_u16(), as_owner.header("set-cookie").is_empty()), (202, false));
}

#[tokio::test]
async fn a_declared_voter_is_refused_where_voters_do_not_declare_themselves() {
    let server = start(&[IdentitySource::Cookie]);
    let poll = server.create(json!({ "allow_change": true })).await;
    assert_eq!(server.vote(&poll, "ann", 1).await.expect_errors(), ["/voter_id"]);
    assert_eq!(server.delete(&poll.path("/vote?voter_id=ann")).send().await.expect_errors(), ["voter_id"]);
    let batch = json!({ "votes": [{ "choices": [1], "voter_id": "ann" }] });
    server.post(&poll.path("/votes"), &batch).send().await.expect_problem(403, "forbidden");
    let declared_only = start(&[IdentitySource::Declared]);
    let poll = declared_only.create(json!({ "allow_change": true })).await;
    let nobody = declared_only.post(&poll.path("/vote"), &json!({ "choices": [1] })).send().await;
    assert_eq!(nobody.expect_errors(), ["/voter_id"]);
    assert_eq!(declared_only.delete(&poll.path("/vote")).send().await.expect_errors(), ["voter_id"]);
}

#[tokio::test]
async fn api_keys_limit_who_creates_polls() {
    let api_keys = ["first", "second"].into_iter().filter_map(ApiKey::new).collect();
    let access = Access { api_keys, ..Access::open() };
    let server = Server::start_with(Setup { access, ..Setup::default() });
    let body = json!({ "question": "q", "options": ["a", "b"] });
    server.post("/polls", &body).send().await.expect_problem(401, "unauthorized");
    server.post("/polls", &body).bearer("third").send().await.expect_problem(403, "forbidden");
    server.post("/polls", &body).header("x-api-key", "firs").send().await.expect_problem(403, "forbidden");
    server.post("/polls", &body).header("x-api-key", "first").send().await.expect(201);
    let created = server.post("/polls", &body).bearer("second").send().await.expect(201);
    let path = format!("/polls/{}/vote", created["id"].as_str().expect("an id"));
    server.post(&path, &json!({ "choices": [1] })).send().await.expect(202);
}

#[test]
fn a_key_that_does_not_fit_its_algorithm_is_refused() {
    for algorithm in [TokenAlgorithm::Hs256, TokenAlgorithm::Rs256, TokenAlgorithm::Es256, TokenAlgorithm::EdDsa] {
        assert!(TokenVerifier::new(algorithm, b"short", None, Duration::ZERO).is_err(), "{algorithm:?}");
    }
}
