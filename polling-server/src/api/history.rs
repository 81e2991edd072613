//! The operation on the history of a poll.

use std::sync::Arc;

use poem::http::StatusCode;
use poem::{Request, Response};
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::registry::{MetaResponse, Registry};
use poem_openapi::types::Type;
use poem_openapi::{Object, OpenApi};
use polling_core::model::PollId;
use serde::Serialize;
use uuid::Uuid;

use super::answer::{Answer, Described, JSON, described, described_empty, with_header};
use super::history_reads::{HistoryReads, ReadHistory, Wanted};
use super::history_steps::{StepSeconds, default_step, steps_of};
use super::identity::Caller;
use super::negotiation::require_acceptable;
use super::parameter::{Given, QueryErrors, Token};
use super::polls::{address_to, tagged_response};
use super::problem::Problem;
use super::problem_kind::ProblemKind;
use super::security::{AnyViewer, Documented};
use super::store_calls;
use super::tag::ApiTag;
use super::visibility::{receipt_of, sight};
use crate::live::views::Sendable;
use crate::service::Service;

/// Shows how results came about.
pub(crate) struct Histories {
    service: Arc<Service>,
    reads: HistoryReads,
}

impl Histories {
    /// The operation over these parts.
    pub(crate) fn new(service: Arc<Service>) -> Self {
        Self { service, reads: HistoryReads::new() }
    }
}

#[OpenApi(tag = "ApiTag::Polls")]
impl Histories {
    /// Get the history of a poll.
    ///
    /// The totals at the end of each step, by the acceptance times of the votes that count now: a vote that was changed counts from
    /// its change on, and one that was taken back not at all. The steps reach from the opening of the poll to the present or to its
    /// close; the last may still be running, and its point equals the tally. At most 1,000 points; a `step` that makes more is
    /// refused. Without one, the shortest round step is taken that makes at most 200.
    ///
    /// The history of a poll with very many votes may be some seconds old. With a `step` of one's own it may have to be asked for again:
    /// 503 then says when.
    #[oai(path = "/polls/:poll_id/history", method = "get", operation_id = "getPollHistory")]
    async fn get(
        &self,
        request: &Request,
        _viewer: Documented<AnyViewer>,
        /// The poll.
        poll_id: Path<Given<PollId>>,
        /// The length of a step in seconds.
        step: Query<Option<Given<StepSeconds>>>,
        /// The receipt of a counted vote in this poll.
        receipt: Query<Option<Given<Token>>>,
        /// Entity tags that the client has; 304 when one is current.
        #[oai(name = "If-None-Match")]
        _if_none_match: Header<Option<String>>,
    ) -> Answer<GetPollHistory> {
        self.show(Caller::of(request), poll_id.0.0.ok(), step.0, receipt.0).await.into()
    }
}

impl Histories {
    async fn show(
        &self,
        caller: Caller<'_>,
        poll: Option<PollId>,
        step: Option<Given<StepSeconds>>,
        receipt: Option<Given<Token>>,
    ) -> Result<Response, Problem> {
        require_acceptable(caller.headers, JSON)?;
        let view = store_calls::existing_poll(&self.service, poll).await?;
        let (poll, now) = (&view.snapshot().poll, self.service.clock.now());
        let mut errors = QueryErrors::default();
        let receipt = receipt_of(&self.service, Some(poll.id), receipt, &mut errors);
        let is_given = step.is_some();
        let step = errors.take("step", step).or_else(|| (!is_given).then(|| default_step(poll, now)));
        let steps = step.and_then(|step| match steps_of(poll, step, now) {
            Ok(steps) => Some((step, steps)),
            Err(detail) => {
                errors.refuse("step", detail);
                None
            }
        });
        errors.check()?;
        let sight = sight(&self.service, caller, view.snapshot(), receipt, now).await?;
        if !sight.is_visible() {
            return Err(Problem::new(ProblemKind::ResultsHidden));
        }
        // Without steps there was an error.
        let Some((step, steps)) = steps else { return Err(Problem::new(ProblemKind::Internal)) };
        let wanted = Wanted { poll: poll.id, version: view.snapshot().tally.version, steps, is_default: !is_given };
        let read = self.reads.read(&self.service, wanted).await?;
        let mut response = tagged_response(caller, &sendable(poll.id, step, &read));
        address_to(&mut response, sight, poll);
        Ok(response)
    }
}

fn sendable(poll: PollId, step: StepSeconds, read: &ReadHistory) -> Sendable {
    let version = read.history.tally.version;
    let (start, count) = (read.steps.start().as_micros() / 1_000_000, read.steps.count());
    let etag = format!("\"{}.{}.{}.{start}.{count}\"", version.epoch, version.number, step.0);
    // The body is made of numbers and times, which always serialise.
    let body = serde_json::to_vec(&HistoryBody::new(poll, step, read)).unwrap_or_default();
    Sendable { body: body.into(), etag }
}

/// How the results of a poll came about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Object)]
#[oai(rename = "History", read_only_all)]
struct HistoryBody {
    /// The poll.
    poll_id: Uuid,
    /// The length of a step in seconds.
    step: u32,
    /// The totals at the end of each step, the earliest first.
    points: Vec<HistoryPoint>,
}

/// Totals at a point in time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Object)]
#[oai(read_only_all)]
struct HistoryPoint {
    /// The end of the step, RFC 3339 in UTC: what was accepted before it is counted here.
    at: String,
    /// Voters with a counted vote.
    voters: u64,
    /// The options in the poll's order.
    options: Vec<HistoryOption>,
}

/// The votes of an option at a point in time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Object)]
#[oai(read_only_all)]
struct HistoryOption {
    /// The number of the option, from 1.
    id: u8,
    /// Counted votes that choose it.
    votes: u64,
}

impl HistoryBody {
    fn new(poll: PollId, step: StepSeconds, read: &ReadHistory) -> Self {
        let points = read.steps.ends().zip(&read.history.points).map(|(at, totals)| HistoryPoint {
            at: at.to_string(),
            voters: totals.voters,
            options: (1..).zip(&totals.votes).map(|(id, &votes)| HistoryOption { id, votes }).collect(),
        });
        Self { poll_id: poll.as_uuid(), step: step.0, points: points.collect() }
    }
}

/// What `getPollHistory` answers.
struct GetPollHistory;

impl Described for GetPollHistory {
    const PROBLEMS: &'static [ProblemKind] = &[
        ProblemKind::ResultsHidden,
        ProblemKind::PollNotFound,
        ProblemKind::NotAcceptable,
        ProblemKind::Validation,
        ProblemKind::Unavailable,
    ];

    fn answers() -> Vec<MetaResponse> {
        let tag = "Changes with anything in the history";
        vec![
            with_header(described::<HistoryBody>(StatusCode::OK, "The history."), "ETag", tag),
            with_header(described_empty(StatusCode::NOT_MODIFIED, "What the client has is current."), "ETag", tag),
        ]
    }

    fn register(registry: &mut Registry) {
        HistoryBody::register(registry);
    }
}
