//! Who sees results that are not shown to all.

use serde_json::{Value, json};

use super::support::{Answered, Created, Server};

fn sees(answer: &Answered) -> bool {
    let poll = answer.expect(200);
    let options = poll["results"]["options"].as_array().expect("options").clone();
    assert!(poll["results"]["voters"].is_u64(), "voters are always shown");
    let shown = options.iter().all(|option| option.get("votes").is_some() && option.get("share").is_some());
    let hidden = options.iter().all(|option| option.get("votes").is_none() && option.get("share").is_none());
    assert!(shown != hidden && options.iter().all(|option| option["text"].is_string()));
    shown
}

async fn export_status(server: &Server, poll: &Created, query: &str, cookie: &str) -> u16 {
    let request = server.get(&poll.path(&format!("/export.csv{query}"))).header("cookie", cookie);
    let answer = request.send().await;
    if answer.status.as_u16() == 403 {
        answer.expect_problem(403, "results-hidden");
    }
    answer.status.as_u16()
}

#[tokio::test]
async fn results_after_the_close_are_hidden_until_then_from_all_but_the_owner() {
    let server = Server::start();
    let poll = server.create(json!({ "results": "after_close", "closes_at": server.time_in(9) })).await;
    let vote = server.post(&poll.path("/vote"), &json!({ "choices": [1] })).send().await;
    let receipt = vote.expect(202)["receipt"].as_str().map(str::to_owned).expect("a receipt");
    let cookie = vote.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let path = poll.path("");
    let hidden = server.get(&path).send().await;
    assert!(!sees(&hidden));
    assert!(!sees(&server.get(&path).header("cookie", &cookie).send().await));
    assert!(!sees(&server.get(&poll.path(&format!("?receipt={receipt}"))).send().await));
    assert!(!sees(&server.get(&path).bearer("owner_of_another").send().await));
    let shown = server.get(&path).bearer(&poll.owner).send().await;
    assert!(sees(&shown));
    assert_ne!(shown.header("etag"), hidden.header("etag"));
    assert_eq!((shown.header("cache-control"), shown.header("vary")), ("private, no-cache", "authorization, cookie"));
    assert_eq!(export_status(&server, &poll, "", &cookie).await, 403);
    server.advance(9);
    assert!(sees(&server.get(&path).send().await));
    assert_eq!(export_status(&server, &poll, "", "").await, 200);
}

#[tokio::test]
async fn results_after_the_vote_are_shown_to_whoever_proves_a_counted_vote() {
    let server = Server::start();
    let poll = server.create(json!({ "results": "after_vote", "allow_change": true, "closes_at": server.time_in(9) })).await;
    let path = poll.path("");
    assert!(!sees(&server.get(&path).send().await));
    assert!(sees(&server.get(&path).bearer(&poll.owner).send().await));
    let vote = server.post(&poll.path("/vote"), &json!({ "choices": [1] })).send().await;
    let receipt = vote.expect(202)["receipt"].as_str().map(str::to_owned).expect("a receipt");
    let cookie = vote.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let with_receipt = format!("?receipt={receipt}");
    assert!(sees(&server.get(&path).header("cookie", &cookie).send().await));
    assert!(sees(&server.get(&poll.path(&with_receipt)).send().await));
    assert_eq!(export_status(&server, &poll, "", "").await, 403);
    assert_eq!(export_status(&server, &poll, "", &cookie).await, 200);
    assert_eq!(export_status(&server, &poll, &with_receipt, "").await, 200);
    // Whoever takes the vote back sees the results no longer, and the receipt of a retraction is none of a counted vote.
    let retraction = server.delete(&poll.path("/vote")).header("cookie", &cookie).send().await.expect(202);
    let of_retraction = format!("?receipt={}", retraction["receipt"].as_str().expect("a receipt"));
    assert!(!sees(&server.get(&path).header("cookie", &cookie).send().await));
    assert!(!sees(&server.get(&poll.path(&with_receipt)).send().await));
    assert!(!sees(&server.get(&poll.path(&of_retraction)).send().await));
    server.advance(9);
    assert!(!sees(&server.get(&path).send().await), "the close alone shows nothing");
}

#[tokio::test]
async fn a_receipt_of_another_poll_or_a_forged_one_is_refused() {
    let server = Server::start();
    let (poll, other) = (server.create(json!({ "results": "after_vote" })).await, server.create(json!({})).await);
    let receipt = server.vote(&other, "ann", 1).await.expect(202)["receipt"].as_str().map(str::to_owned).expect("a receipt");
    for query in [format!("?receipt={receipt}"), "?receipt=x".to_owned(), "?receipt=".to_owned()] {
        assert_eq!(server.get(&poll.path(&query)).send().await.expect_errors(), ["receipt"]);
        assert_eq!(server.get(&poll.path(&format!("/export.csv{query}"))).send().await.expect_errors(), ["receipt"]);
    }
}

#[tokio::test]
async fn lists_and_the_leaderboard_show_only_what_everybody_may_see() {
    let server = Server::start();
    let mut polls = Vec::new();
    for results in ["always", "after_vote", "after_close"] {
        let poll = server.create(json!({ "question": results, "results": results })).await;
        server.vote(&poll, "ann", 2).await.expect(202);
        polls.push(poll);
    }
    let list = server.get("/polls?sort=oldest").bearer(&polls[1].owner).send().await.expect(200);
    let shown: Vec<bool> = (0..3).map(|index| list["polls"][index]["results"]["options"][1].get("votes").is_some()).collect();
    assert_eq!(shown, [true, false, false]);
    let board = server.get("/leaderboard").send().await;
    let entries = board.expect(200)["entries"].clone();
    let expected = json!([{ "rank": 1, "poll_id": polls[0].id, "question": "always", "option_id": 2, "text": "B", "votes": 1 }]);
    assert_eq!(entries, expected);
    let again = server.get("/leaderboard").header("if-none-match", board.header("etag")).send().await;
    assert_eq!((again.status.as_u16(), again.header("etag")), (304, board.header("etag")));
    for limit in ["0", "101", "x", "", "+1", "1.0"] {
        assert_eq!(server.get(&format!("/leaderboard?limit={limit}")).send().await.expect_errors(), ["limit"]);
    }
    for limit in ["1", "100"] {
        let board: Value = server.get(&format!("/leaderboard?limit={limit}")).send().await.expect(200);
        assert_eq!(board["entries"], expected);
    }
}
