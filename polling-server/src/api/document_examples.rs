//! Examples for the schemas of the document, and the words that some fields may have.

use serde_json::{Value, json};

/// An identifier as polls have it.
const POLL_ID: &str = "019aa5c2-7a10-7c3e-9d1f-3b1a5f0c8e21";
/// A vote id as clients make it.
const VOTE_ID: &str = "6f1c1f6e-5d0b-4a5e-9b43-0c2f4f0f9a77";
/// What a receipt looks like, cut short.
const RECEIPT: &str = "AQGapcJ6EHw-nR87Gl8MjiE";

/// An example of the schema with this name.
pub(crate) fn example_of(schema: &str) -> Option<Value> {
    let accepted = json!({ "receipt": RECEIPT, "status": "counted", "vote_id": VOTE_ID });
    Some(match schema {
        "NewPoll" => json!({
            "question": "Tea or coffee?",
            "options": ["Tea", "Coffee", "Neither"],
            "max_choices": 1,
            "closes_at": "2030-01-31T12:00:00Z",
        }),
        "Poll" => poll(),
        "CreatedPoll" => {
            let mut created = poll();
            created["owner_token"] = json!("owner_Zm9yIHlvdXIgZXllcyBvbmx5LCBzaG93biBqdXN0IG9uY2U");
            created
        }
        "PollPage" => json!({ "polls": [poll()], "next_cursor": "AVLe0m1Dk2sABkR" }),
        "Vote" => json!({ "choices": [2], "voter_id": "ann@example.org", "vote_id": VOTE_ID }),
        "AcceptedVote" => accepted,
        "VoteBatch" => json!({ "votes": [
            { "choices": [2], "voter_id": "ann@example.org", "vote_id": VOTE_ID },
            { "choices": [1], "voter_id": "bob@example.org" },
        ] }),
        "BatchResult" => json!({ "results": [
            accepted,
            { "status": "refused", "problem": super::problem_schema::example(super::problem_kind::ProblemKind::AlreadyVoted) },
        ] }),
        "Receipt" => json!({ "status": "counted", "poll_id": POLL_ID }),
        "History" => json!({ "poll_id": POLL_ID, "step": 60, "points": [
            { "at": "2026-11-24T05:36:00Z", "voters": 1, "options": [{ "id": 1, "votes": 1 }, { "id": 2, "votes": 0 }] },
            { "at": "2026-11-24T05:37:00Z", "voters": 4, "options": [{ "id": 1, "votes": 1 }, { "id": 2, "votes": 3 }] },
        ] }),
        "Leaderboard" => json!({ "version": 7, "entries": [{
            "rank": 1,
            "poll_id": POLL_ID,
            "question": "Tea or coffee?",
            "option_id": 2,
            "text": "Coffee",
            "votes": 3,
        }] }),
        _ => return None,
    })
}

/// The words that a field may have, when it does not take any text.
pub(crate) fn word_lists(schema: &str, field: &str) -> Option<&'static [&'static str]> {
    match (schema, field) {
        ("Poll" | "CreatedPoll", "state") => Some(&["scheduled", "open", "closed"]),
        ("Poll" | "CreatedPoll", "results_visibility") | ("NewPoll", "results") => Some(&["always", "after_vote", "after_close"]),
        ("AcceptedVote", "status") => Some(&["pending", "counted"]),
        ("BatchVoteResult", "status") => Some(&["pending", "counted", "refused"]),
        ("Receipt", "status") => Some(&["pending", "counted", "duplicate", "superseded", "late", "invalid"]),
        ("Problem", "recorded") => Some(&["no", "unknown"]),
        _ => None,
    }
}

fn poll() -> Value {
    json!({
        "id": POLL_ID,
        "question": "Tea or coffee?",
        "state": "open",
        "max_choices": 1,
        "allow_change": false,
        "results_visibility": "always",
        "created_at": "2026-11-24T05:35:28.144Z",
        "opens_at": null,
        "closes_at": "2030-01-31T12:00:00Z",
        "results": { "epoch": 1, "version": 5, "voters": 4, "options": [
            { "id": 1, "text": "Tea", "votes": 1, "share": 0.25 },
            { "id": 2, "text": "Coffee", "votes": 3, "share": 0.75 },
            { "id": 3, "text": "Neither", "votes": 0, "share": 0.0 },
        ] },
    })
}
