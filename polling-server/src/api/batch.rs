//! The operation that casts many votes at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use poem::http::{HeaderValue, StatusCode};
use poem::{Request, Response};
use poem_openapi::param::{Header, Path};
use poem_openapi::registry::{MetaResponse, Registry};
use poem_openapi::types::Type;
use poem_openapi::{Object, OpenApi};
use polling_core::model::{Poll, PollId, VoteKind, VoterIdentity};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::access::IdentitySource;
use super::answer::{Answer, Described, JSON, described, json_response, with_header};
use super::fields::{FieldErrors, Fields, any_json};
use super::identity::Caller;
use super::negotiation::{PREFERENCE_APPLIED, preferred_wait, require_acceptable};
use super::parameter::Given;
use super::problem::{Problem, ProblemBody};
use super::problem_kind::ProblemKind;
use super::problem_schema::ProblemDocument;
use super::request_body::{BATCH_BYTES_MAX, JsonBody};
use super::security::{Anybody, Documented};
use super::tag::ApiTag;
use super::vote_body::{VoteBody, explain_vote, fits};
use super::vote_desk::{Accepted, Submission, VoteDesk};
use super::votes::poll_of_vote;

/// Votes of one batch, at most: they are recorded together, so they share the deadline of one request.
pub(crate) const BATCH_VOTES_MAX: usize = 1000;

/// Casts many votes at once.
pub(crate) struct Batches(pub(crate) Arc<VoteDesk>);

#[OpenApi(tag = "ApiTag::Votes")]
impl Batches {
    /// Cast many votes.
    ///
    /// For a caller that knows its voters. Each vote stands alone: it is answered as if it had come by itself, and one that is
    /// refused does not keep the others from being taken. 503 only when none was taken.
    #[oai(path = "/polls/:poll_id/votes", method = "post", operation_id = "castVotes")]
    async fn cast(
        &self,
        request: &Request,
        _anybody: Documented<Anybody>,
        /// The poll.
        poll_id: Path<Given<PollId>>,
        /// `wait=SECONDS` (0 to 30) answers when all outcomes are known or the time is over.
        #[oai(name = "Prefer")]
        _prefer: Header<Option<String>>,
        body: JsonBody<VoteBatch, BATCH_BYTES_MAX>,
    ) -> Answer<CastVotes> {
        cast(&self.0, Caller::of(request), poll_id.0.0.ok(), &body.bytes).await.into()
    }
}

async fn cast(desk: &VoteDesk, caller: Caller<'_>, poll: Option<PollId>, bytes: &Bytes) -> Result<Response, Problem> {
    require_acceptable(caller.headers, JSON)?;
    if !desk.service().access.recognises(IdentitySource::Declared) {
        let detail = "This server takes no votes for voters that the caller declares.";
        return Err(Problem::with_detail(ProblemKind::Forbidden, detail));
    }
    let view = poll_of_vote(desk, poll).await?;
    let poll = &view.snapshot().poll;
    let value;
    let votes = match read(bytes, poll) {
        Some(votes) => votes,
        None => {
            value = any_json(bytes)?;
            explain(&value, poll)?
        }
    };
    let wait = preferred_wait(caller.headers);
    // In the order of the batch, so that the votes of one voter are recorded in that order.
    let results = join_all(votes.into_iter().map(|vote| take(desk, poll, vote, wait))).await;
    answer(&results, wait)
}

async fn take(
    desk: &VoteDesk,
    poll: &Poll,
    vote: Result<VoteBody<'_>, Problem>,
    wait: Option<Duration>,
) -> Result<Accepted, Problem> {
    let vote = vote?;
    let name = vote.voter_id.as_ref().map_or("", |name| &name.0);
    let voter = desk.service().secret.voter_key(poll.id, VoterIdentity::Declared(name));
    desk.submit(poll, Submission { voter, vote_id: vote.vote_id, kind: VoteKind::Cast(vote.choices) }, wait).await
}

fn answer(results: &[Result<Accepted, Problem>], wait: Option<Duration>) -> Result<Response, Problem> {
    let none_taken = results.iter().all(Result::is_err);
    let has_failed = |kind| results.iter().any(|result| matches!(result, Err(problem) if problem.kind() == kind));
    for failure in [ProblemKind::OutcomeUnknown, ProblemKind::NotRecorded] {
        if none_taken && has_failed(failure) {
            return Err(Problem::new(failure));
        }
    }
    let results = results.iter().map(BatchItem::from).collect();
    let mut response = json_response(StatusCode::ACCEPTED, &BatchItems { results })?;
    if let Some(wait) = wait
        && let Ok(applied) = HeaderValue::try_from(format!("wait={}", wait.as_secs()))
    {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

/// Reads a batch in which every vote keeps the rules; `None` for any other body.
fn read<'a>(bytes: &'a Bytes, poll: &Poll) -> Option<Vec<Result<VoteBody<'a>, Problem>>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct BatchBody<'a> {
        #[serde(borrow)]
        votes: Vec<VoteBody<'a>>,
    }

    let BatchBody { votes } = serde_json::from_slice(bytes).ok()?;
    let is_sound = |vote: &VoteBody<'_>| fits(vote.choices, poll) && vote.voter_id.is_some();
    let all_sound = (1..=BATCH_VOTES_MAX).contains(&votes.len()) && votes.iter().all(is_sound);
    all_sound.then(|| votes.into_iter().map(Ok).collect())
}

/// Reads what can be read of a batch; each vote that breaks a rule is refused by itself.
fn explain<'a>(value: &'a Value, poll: &Poll) -> Result<Vec<Result<VoteBody<'a>, Problem>>, Problem> {
    let mut errors = FieldErrors::default();
    let Some(mut fields) = Fields::new(value, "", &mut errors) else { return Err(errors.into_problem()) };
    let items = match fields.required("votes", &mut errors) {
        Some(Value::Array(items)) if (1..=BATCH_VOTES_MAX).contains(&items.len()) => items.as_slice(),
        Some(Value::Array(_)) => {
            errors.push("/votes", format!("must have 1 to {BATCH_VOTES_MAX} items"));
            &[]
        }
        Some(_) => {
            errors.push("/votes", "must be an array");
            &[]
        }
        None => &[],
    };
    fields.refuse_others(&mut errors);
    if !errors.is_empty() {
        return Err(errors.into_problem());
    }
    let explained = items.iter().enumerate().map(|(index, item)| {
        let pointer = format!("/votes/{index}");
        let mut errors = FieldErrors::default();
        let vote = explain_vote(item, &pointer, poll, &mut errors);
        if item.is_object() && item.get("voter_id").is_none_or(Value::is_null) {
            errors.push(format!("{pointer}/voter_id"), "is required");
        }
        vote.filter(|_| errors.is_empty()).ok_or_else(|| errors.into_problem())
    });
    Ok(explained.collect())
}

/// Many votes.
#[derive(Debug, Object)]
#[oai(write_only_all, deny_unknown_fields)]
#[expect(dead_code, reason = "it describes the body in the document and is never made")]
pub(crate) struct VoteBatch {
    /// The votes, 1 to 1000.
    #[oai(validator(min_items = 1, max_items = 1000))]
    pub(crate) votes: Vec<BatchVote>,
}

/// A vote of a batch.
#[derive(Debug, Object)]
#[oai(write_only_all, deny_unknown_fields)]
#[expect(dead_code, reason = "it describes the body in the document and is never made")]
pub(crate) struct BatchVote {
    /// The chosen options by `id`: distinct, from 1 to the poll's `max_choices` of them.
    #[oai(validator(min_items = 1, max_items = 100, unique_items))]
    pub(crate) choices: Vec<u8>,
    /// Who votes.
    #[oai(validator(min_length = 1, max_length = 128))]
    pub(crate) voter_id: String,
    /// The name of this vote, made by the client before it sends it.
    pub(crate) vote_id: Option<Uuid>,
}

/// What became of the votes of a batch.
#[derive(Debug, Object)]
#[oai(read_only_all)]
pub(crate) struct BatchResult {
    /// One for each vote, in the order of the batch.
    pub(crate) results: Vec<BatchVoteResult>,
}

/// What became of a vote of a batch.
#[derive(Debug, Object)]
#[oai(read_only_all)]
pub(crate) struct BatchVoteResult {
    /// `pending`, `counted` or `refused`.
    pub(crate) status: String,
    /// Of a vote that was taken: ask `/receipts/{receipt}` with it what became of it.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) receipt: Option<String>,
    /// Of a vote that was taken: its name.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) vote_id: Option<Uuid>,
    /// Of a vote that was refused: why.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) problem: Option<ProblemDocument>,
}

#[derive(Serialize)]
struct BatchItems<'a> {
    results: Vec<BatchItem<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum BatchItem<'a> {
    Taken { receipt: &'a str, status: &'static str, vote_id: Uuid },
    Refused { status: &'static str, problem: ProblemBody<'a> },
}

impl<'a> From<&'a Result<Accepted, Problem>> for BatchItem<'a> {
    fn from(result: &'a Result<Accepted, Problem>) -> Self {
        match result {
            Ok(accepted) => Self::Taken { receipt: &accepted.receipt, status: accepted.status(), vote_id: accepted.vote_id.0 },
            Err(problem) => Self::Refused { status: "refused", problem: problem.body() },
        }
    }
}

/// What `castVotes` answers.
struct CastVotes;

impl Described for CastVotes {
    const PROBLEMS: &'static [ProblemKind] = &[
        ProblemKind::InvalidJson,
        ProblemKind::Forbidden,
        ProblemKind::PollNotFound,
        ProblemKind::NotAcceptable,
        ProblemKind::TooLarge,
        ProblemKind::UnsupportedMediaType,
        ProblemKind::Validation,
        ProblemKind::NotRecorded,
        ProblemKind::OutcomeUnknown,
    ];

    fn answers() -> Vec<MetaResponse> {
        let taken = described::<BatchResult>(StatusCode::ACCEPTED, "What became of each vote.");
        vec![with_header(taken, "Preference-Applied", "`wait=SECONDS`, when a wait was asked for")]
    }

    fn register(registry: &mut Registry) {
        BatchResult::register(registry);
    }
}
