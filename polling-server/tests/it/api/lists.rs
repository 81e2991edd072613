//! The list of polls.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::support::{Created, Server};

/// Follows the cursors; after each page, something happens.
async fn walk(server: &Server, query: &str, mut after_page: impl AsyncFnMut(&Server)) -> Vec<String> {
    let mut seen = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let next = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = server.get(&format!("/polls?{query}{next}")).send().await.expect(200);
        let ids = page["polls"].as_array().expect("polls").iter().map(|poll| poll["id"].as_str().expect("an id").to_owned());
        seen.extend(ids);
        after_page(server).await;
        cursor = page.get("next_cursor").map(|cursor| cursor.as_str().expect("a string").to_owned());
        if cursor.is_none() {
            return seen;
        }
    }
}

async fn some_polls(server: &Server, count: u64) -> Vec<Created> {
    let mut polls = Vec::new();
    for number in 0..count {
        polls.push(server.create(json!({ "question": format!("Question {number}") })).await);
        server.advance(1);
    }
    polls
}

fn ids(polls: &[Created]) -> Vec<String> {
    polls.iter().map(|poll| poll.id.clone()).collect()
}

#[tokio::test]
async fn polls_come_newest_first_or_oldest_first_page_by_page() {
    let server = Server::start();
    let polls = some_polls(&server, 7).await;
    let oldest = ids(&polls);
    let newest: Vec<String> = oldest.iter().rev().cloned().collect();
    for limit in [1, 2, 3, 7, 100] {
        assert_eq!(walk(&server, &format!("limit={limit}"), async |_| ()).await, newest);
        assert_eq!(walk(&server, &format!("sort=oldest&limit={limit}"), async |_| ()).await, oldest);
    }
    assert_eq!(walk(&server, "sort=newest", async |_| ()).await, newest);
}

#[tokio::test]
async fn a_page_has_twenty_polls_unless_asked_otherwise() {
    let server = Server::start();
    some_polls(&server, 21).await;
    let page = server.get("/polls").send().await.expect(200);
    assert_eq!(page["polls"].as_array().map(Vec::len), Some(20));
    let page = server.get("/polls?limit=21").send().await.expect(200);
    assert_eq!((page["polls"].as_array().map(Vec::len), page.get("next_cursor")), (Some(21), None));
}

#[tokio::test]
async fn every_poll_is_shown_once_while_new_ones_come_and_states_change() {
    let server = Server::start();
    let polls = some_polls(&server, 6).await;
    for sort in ["newest", "oldest"] {
        let seen = walk(&server, &format!("sort={sort}&state=open&limit=2"), async |server| {
            server.advance(1);
            for poll in &polls {
                server.post(&poll.path("/close"), &json!({})).bearer(&poll.owner).send().await.expect(200);
            }
        })
        .await;
        let distinct: BTreeSet<&String> = seen.iter().collect();
        let expected = if sort == "newest" { 6 } else { 0 };
        assert_eq!((seen.len(), distinct.len()), (expected, expected), "{sort}");
    }
}

#[tokio::test]
async fn polls_by_votes_are_shown_once_while_votes_move_them() {
    let server = Server::start();
    let polls = some_polls(&server, 9).await;
    for (count, poll) in polls.iter().enumerate().map(|(index, poll)| (index % 4, poll)) {
        for voter in 0..count {
            server.vote(poll, &format!("early {voter}"), 1).await.expect(202);
        }
    }
    let mut round = 0;
    let seen = walk(&server, "sort=votes&limit=2", async |server| {
        round += 1;
        for voter in 0..5 {
            // The last become the first.
            server.vote(&polls[8], &format!("late {round} {voter}"), 1).await.expect(202);
            server.vote(&polls[4], &format!("late {round} {voter}"), 2).await.expect(202);
        }
        server.create(json!({})).await;
    })
    .await;
    let expected = [3, 7, 2, 6, 1, 5, 0, 4, 8].map(|index: usize| polls[index].id.clone());
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_ranking_passes_over_polls_that_were_deleted_meanwhile() {
    let server = Server::start();
    let polls = some_polls(&server, 5).await;
    let seen = walk(&server, "sort=votes&limit=2", async |server| {
        server.delete(&polls[2].path("")).bearer(&polls[2].owner).send().await;
        server.delete(&polls[3].path("")).bearer(&polls[3].owner).send().await;
    })
    .await;
    assert_eq!(seen, [0, 1, 4].map(|index: usize| polls[index].id.clone()));
}

#[tokio::test]
async fn polls_are_found_by_state_and_text() {
    let server = Server::start();
    let tea = server.create(json!({ "question": "Tea?", "closes_at": server.time_in(5) })).await;
    let later = server.create(json!({ "question": "Later tea", "opens_at": server.time_in(50) })).await;
    let other = server.create(json!({ "question": "100% \u{c9}T\u{c9}" })).await;
    server.advance(6);
    let check = async |query: &str, expected: &[&Created]| {
        let expected: Vec<&String> = expected.iter().map(|poll| &poll.id).collect();
        assert_eq!(walk(&server, query, async |_| ()).await.iter().collect::<Vec<_>>(), expected, "{query}");
    };
    check("state=closed", &[&tea]).await;
    check("state=scheduled", &[&later]).await;
    check("state=open", &[&other]).await;
    check("q=TEA", &[&later, &tea]).await;
    check("q=tea&state=closed&sort=votes", &[&tea]).await;
    check("q=%C3%A9t%C3%A9", &[&other]).await;
    check("q=0%25", &[&other]).await;
    check("q=nothing", &[]).await;
    check("q=&limit=1", &[&other, &later, &tea]).await;
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_query_is_named() {
    let server = Server::start();
    let bad = server.get("/polls?state=shut&sort=best&limit=101&q=%00").send().await;
    assert_eq!(bad.expect_errors(), ["state", "q", "sort", "limit"]);
    let long = "é".repeat(501).bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    assert_eq!(server.get(&format!("/polls?q={long}")).send().await.expect_errors(), ["q"]);
    for limit in ["0", "-1", "", "1e1", "9999999999999999999999"] {
        assert_eq!(server.get(&format!("/polls?limit={limit}")).send().await.expect_errors(), ["limit"]);
    }
}

#[tokio::test]
async fn a_cursor_is_worth_nothing_for_another_list() {
    let server = Server::start();
    some_polls(&server, 4).await;
    for sort in ["newest", "votes"] {
        let page: Value = server.get(&format!("/polls?limit=2&sort={sort}&state=open")).send().await.expect(200);
        let cursor = page["next_cursor"].as_str().expect("a cursor");
        for query in ["sort=oldest&state=open", "", &format!("sort={sort}"), &format!("sort={sort}&state=open&q=Q")] {
            let refused = server.get(&format!("/polls?limit=2&{query}&cursor={cursor}")).send().await;
            assert_eq!(refused.expect_errors(), ["cursor"], "{query}");
        }
        server.get(&format!("/polls?limit=1&sort={sort}&state=open&cursor={cursor}")).send().await.expect(200);
        // A ranking lives in the server that made it.
        let stranger = Server::start().get(&format!("/polls?sort={sort}&state=open&cursor={cursor}")).send().await;
        if sort == "votes" {
            let problem = stranger.expect_problem(422, "validation");
            assert!(problem["errors"][0]["detail"].as_str().is_some_and(|detail| detail.contains("expired")));
        } else {
            stranger.expect(200);
        }
    }
    for cursor in ["", "x", "AAAA", "%FF"] {
        assert_eq!(server.get(&format!("/polls?cursor={cursor}")).send().await.expect_errors(), ["cursor"], "{cursor}");
    }
}

#[tokio::test]
async fn a_page_ends_early_before_it_is_too_large_and_none_is_lost() {
    let server = Server::start();
    let options: Vec<String> = (0..100).map(|number| format!("{number:03}{}", "\u{1f5f3}".repeat(197))).collect();
    let mut polls = Vec::new();
    for _ in 0..9 {
        polls.push(server.create(json!({ "options": options })).await);
        server.advance(1);
    }
    let mut expected = ids(&polls);
    let page = server.get("/polls?limit=100").send().await;
    assert!(page.bytes.len() <= 260 * 1024, "{} bytes", page.bytes.len());
    let page = page.expect(200);
    assert_eq!((page["polls"].as_array().map(Vec::len), page["next_cursor"].is_string()), (Some(3), true));
    for sort in ["oldest", "votes"] {
        assert_eq!(walk(&server, &format!("sort={sort}&limit=100"), async |_| ()).await, expected);
    }
    expected.reverse();
    assert_eq!(walk(&server, "limit=100", async |_| ()).await, expected);
}

#[tokio::test]
async fn a_long_page_is_read_piece_by_piece() {
    let server = Server::start();
    let mut expected = ids(&some_polls(&server, 64).await);
    for limit in [20, 21, 22, 42, 63, 64, 100] {
        let page = server.get(&format!("/polls?sort=oldest&limit={limit}")).send().await.expect(200);
        let count = limit.min(64);
        assert_eq!((page["polls"].as_array().map(Vec::len), page.get("next_cursor").is_some()), (Some(count), limit < 64));
        assert_eq!(walk(&server, &format!("sort=oldest&limit={limit}"), async |_| ()).await, expected);
    }
    expected.reverse();
    assert_eq!(walk(&server, "limit=43", async |_| ()).await, expected);
}
