//! How the API document describes problem documents, and an example of each.

use poem_openapi::Object;
use serde_json::Value;

use super::problem::{FieldError, Problem};
use super::problem_kind::ProblemKind;

/// An error, as in RFC 9457. What `type` says, unless it is `about:blank`, is the page of the same address.
#[derive(Debug, Object)]
#[oai(rename = "Problem", read_only_all)]
pub(crate) struct ProblemDocument {
    /// Names the kind of problem and never changes: `/problems/` and a name; `about:blank` where the status says it all.
    #[oai(rename = "type")]
    pub(crate) problem_type: String,
    /// What the kind of problem is, in a few words.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// What is particular about this occurrence.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) detail: Option<String>,
    /// Everything that is wrong with the request; only in `validation`.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) errors: Option<Vec<FieldErrorDocument>>,
    /// Whether the change was made: `no` in `not-recorded`, `unknown` in `outcome-unknown`.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) recorded: Option<String>,
}

/// One thing that is wrong with a request: where, and what.
#[derive(Debug, Object)]
#[oai(rename = "FieldError", read_only_all)]
pub(crate) struct FieldErrorDocument {
    /// Where in the body, as a JSON pointer (RFC 6901).
    #[oai(skip_serializing_if_is_none)]
    pub(crate) pointer: Option<String>,
    /// Which query parameter.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) parameter: Option<String>,
    /// What is wrong, completing "the value …".
    pub(crate) detail: String,
}

/// A problem of this kind as a client may see it.
pub(crate) fn example(kind: ProblemKind) -> Value {
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
