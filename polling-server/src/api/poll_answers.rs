//! What the operations on polls answer, for the document.

use poem::http::StatusCode;
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::Type;

use super::answer::{Described, described, described_empty, with_header};
use super::export::CSV;
use super::poll_changes::CreatedPoll;
use super::poll_list::PollPage;
use super::problem_kind::ProblemKind;
use super::types::PollBody;

/// `createPoll`.
pub(crate) struct CreatePoll;

impl Described for CreatePoll {
    const PROBLEMS: &'static [ProblemKind] = &[
        ProblemKind::InvalidJson,
        ProblemKind::Unauthorized,
        ProblemKind::Forbidden,
        ProblemKind::NotAcceptable,
        ProblemKind::TooLarge,
        ProblemKind::UnsupportedMediaType,
        ProblemKind::Validation,
        ProblemKind::NotRecorded,
        ProblemKind::OutcomeUnknown,
    ];

    fn answers() -> Vec<MetaResponse> {
        let created = described::<CreatedPoll>(StatusCode::CREATED, "The poll, and the token of its owner.");
        vec![with_header(created, "Location", "Where the poll is")]
    }

    fn register(registry: &mut Registry) {
        CreatedPoll::register(registry);
    }
}

/// `listPolls`.
pub(crate) struct ListPolls;

impl Described for ListPolls {
    const PROBLEMS: &'static [ProblemKind] = &[ProblemKind::NotAcceptable, ProblemKind::Validation, ProblemKind::Unavailable];

    fn answers() -> Vec<MetaResponse> {
        vec![described::<PollPage>(StatusCode::OK, "A page of polls.")]
    }

    fn register(registry: &mut Registry) {
        PollPage::register(registry);
    }
}

/// `getPoll`.
pub(crate) struct GetPoll;

impl Described for GetPoll {
    const PROBLEMS: &'static [ProblemKind] =
        &[ProblemKind::PollNotFound, ProblemKind::NotAcceptable, ProblemKind::Validation, ProblemKind::Unavailable];

    fn answers() -> Vec<MetaResponse> {
        let tag = "Changes with anything in the poll";
        vec![
            with_header(described::<PollBody>(StatusCode::OK, "The poll."), "ETag", tag),
            with_header(described_empty(StatusCode::NOT_MODIFIED, "What the client has is current."), "ETag", tag),
        ]
    }

    fn register(registry: &mut Registry) {
        PollBody::register(registry);
    }
}

/// `closePoll`.
pub(crate) struct ClosePoll;

impl Described for ClosePoll {
    const PROBLEMS: &'static [ProblemKind] = &[
        ProblemKind::Unauthorized,
        ProblemKind::Forbidden,
        ProblemKind::PollNotFound,
        ProblemKind::NotAcceptable,
        ProblemKind::Unavailable,
        ProblemKind::NotRecorded,
        ProblemKind::OutcomeUnknown,
    ];

    fn answers() -> Vec<MetaResponse> {
        vec![described::<PollBody>(StatusCode::OK, "The closed poll.")]
    }

    fn register(registry: &mut Registry) {
        PollBody::register(registry);
    }
}

/// `deletePoll`.
pub(crate) struct DeletePoll;

impl Described for DeletePoll {
    const PROBLEMS: &'static [ProblemKind] = &[
        ProblemKind::Unauthorized,
        ProblemKind::Forbidden,
        ProblemKind::PollNotFound,
        ProblemKind::Unavailable,
        ProblemKind::NotRecorded,
        ProblemKind::OutcomeUnknown,
    ];

    fn answers() -> Vec<MetaResponse> {
        vec![described_empty(StatusCode::NO_CONTENT, "The poll is deleted.")]
    }

    fn register(_registry: &mut Registry) {}
}

/// `exportPoll`.
pub(crate) struct ExportPoll;

impl Described for ExportPoll {
    const PROBLEMS: &'static [ProblemKind] = &[
        ProblemKind::ResultsHidden,
        ProblemKind::PollNotFound,
        ProblemKind::NotAcceptable,
        ProblemKind::Validation,
        ProblemKind::Unavailable,
    ];

    fn answers() -> Vec<MetaResponse> {
        let schema = MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
        let content = vec![MetaMediaType { content_type: CSV, schema }];
        vec![MetaResponse { content, ..described_empty(StatusCode::OK, "The table.") }]
    }

    fn register(_registry: &mut Registry) {}
}
