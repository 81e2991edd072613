//! How the API document describes problem documents, and an example of each.

use poem_openapi::Object;
use serde_json::Value;

use super::problem::{FieldError, Problem};
use super::problem_kind::ProblemKind;

/// An error, as in RFC 9457. What `type` says is the page of the same address.
#[derive(Debug, Object)]
#[oai(rename = "Problem", read_only_all)]
pub struct ProblemDocument {
    /// Names the kind of problem and never changes: `/problems/` and a name.
    #[oai(rename = "type")]
    pub problem_type: String,
    /// What the kind of problem is, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is particular about this occurrence.
    #[oai(skip_serializing_if_is_none)]
    pub detail: Option<String>,
    /// Everything that is wrong with the request; only in `validation`.
    #[oai(skip_serializing_if_is_none)]
    pub errors: Option<Vec<FieldError>>,
    /// Whether the change was made: `no` in `not-recorded`, `unknown` in `outcome-unknown`.
    #[oai(skip_serializing_if_is_none)]
    pub recorded: Option<String>,
}

/// A problem of this kind as a client may see it.
pub(super) fn example(kind: ProblemKind) -> Value {
    let problem = match kind {
        ProblemKind::Validation => Problem::validation(vec![
            FieldError::at("/choices/0", "must be the id of an option of the poll, 1 to 3"),
            FieldError::of_parameter("limit", "must be a whole number from 1 to 100"),
        ]),
        ProblemKind::InvalidJson => Problem::with_detail(kind, "expected value at line 1 column 1"),
        _ => Problem::new(kind),
    };
    problem.to_json()
}
