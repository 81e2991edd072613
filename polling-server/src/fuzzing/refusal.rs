//! What a refusal may say, whatever was sent.

use serde_json::Value;

use crate::api::problem::{FIELD_ERRORS_MAX, Problem};
use crate::api::problem_kind::ProblemKind;

/// Bytes of one error in a document, at most, besides what it repeats of the input.
const ERROR_BYTES_MAX: usize = 256;
/// Bytes of JSON for one byte of input that is repeated, at most: `\u0000`.
const ESCAPED_BYTES_MAX: usize = 6;

/// A body that is no JSON is refused as such, and JSON for everything that is wrong with it; the document is no amplifier.
///
/// # Panics
///
/// When that does not hold.
pub(super) fn assert_refused(problem: &Problem, bytes: &[u8]) {
    match problem.kind() {
        ProblemKind::InvalidJson => {
            assert!(serde_json::from_slice::<Value>(bytes).is_err(), "it is JSON");
            assert!(problem.errors().is_empty());
        }
        ProblemKind::Validation => {
            assert!(serde_json::from_slice::<Value>(bytes).is_ok(), "it is no JSON");
            assert!((1..=FIELD_ERRORS_MAX).contains(&problem.errors().len()), "{} errors", problem.errors().len());
        }
        kind => panic!("{kind:?} is no refusal of a body"),
    }
    let written = problem.to_json().to_string().len();
    let bytes_max = (1 + problem.errors().len()) * ERROR_BYTES_MAX + ESCAPED_BYTES_MAX * bytes.len();
    assert!(written <= bytes_max, "{written} bytes for {}", bytes.len());
}
