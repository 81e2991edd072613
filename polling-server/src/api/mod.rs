//! The HTTP API.

pub mod access;
mod answer;
mod batch;
mod cursor;
mod document;
mod document_examples;
pub(crate) mod edge;
mod export;
pub(crate) mod fields;
pub(crate) mod identity;
mod leaderboard;
mod live_document;
pub(crate) mod negotiation;
pub(crate) mod operations;
pub(crate) mod parameter;
mod poll_answers;
mod poll_body;
mod poll_changes;
mod poll_list;
mod polls;
pub mod problem;
pub mod problem_kind;
mod problem_schema;
mod rankings;
mod recent_voters;
mod request_body;
mod security;
pub(crate) mod store_calls;
mod tag;
pub mod types;
pub(crate) mod visibility;
mod vote_answer;
mod vote_body;
pub(crate) mod vote_desk;
mod votes;

pub use document::openapi_document;
