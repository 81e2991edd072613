//! The groups of operations in the document.

use poem_openapi::Tags;

/// A group of operations.
#[derive(Tags)]
pub(crate) enum ApiTag {
    /// Create, find and close polls, and read their results.
    Polls,
    /// Vote, and find out what became of a vote.
    Votes,
    /// The options with the most votes over all open polls.
    Leaderboard,
    /// Results that move by themselves.
    Live,
}
