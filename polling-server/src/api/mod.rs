//! The HTTP API.

pub mod problem;
pub mod problem_kind;
pub mod types;
