//! The operation that casts many votes at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
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
use polling_core::model::{Poll, PollId, VoteKind, VoterIdentity, VoterKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::access::IdentitySource;
use super::answer::{Answer, Described, JSON, described, json_response, with_header};
use super::fields::{FieldErrors, Fields, NAMED_TWICE, NamesTwice, ObjectOf, any_json};
use super::identity::Caller;
use super::negotiation::{PREFERENCE_APPLIED, preferred_wait, require_acceptable};
use super::parameter::Given;
use super::problem::{FIELD_ERRORS_MAX, Problem, ProblemBody};
use super::problem_kind::ProblemKind;
use super::problem_schema::ProblemDocument;
use super::request_body::{BATCH_BYTES_MAX, JsonBody};
use super::security::{Anybody, Documented};
use super::tag::ApiTag;
use super::vote_body::{VoteBody, explain_vote};
use super::vote_desk::{Accepted, Submission, Taken, VoteDesk};
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
            explain(bytes, &value, poll)?
        }
    };
    let wait = preferred_wait(caller.headers);
    let taken = take_all(desk, poll, votes).await;
    let settled = taken.into_iter().map(async |taken| desk.settle(&taken?, wait).await);
    answer(&join_all(settled).await, wait)
}

/// Takes the votes: those of one voter one after the other, so that they are recorded in the order of the batch, and those of
/// different voters at the same time. Answers in the order of the batch.
async fn take_all(desk: &VoteDesk, poll: &Poll, votes: Vec<Result<VoteBody<'_>, Problem>>) -> Vec<Result<Taken, Problem>> {
    // What no voter's turn has filled by then is what the deadline left out.
    let mut results: Vec<_> = votes.iter().map(|_| Err(Problem::new(ProblemKind::NotRecorded))).collect();
    let mut turns: Vec<Vec<(usize, Submission)>> = Vec::with_capacity(votes.len());
    let mut turn_of: HashMap<VoterKey, usize> = HashMap::with_capacity(votes.len());
    for (index, vote) in votes.into_iter().enumerate() {
        let vote = match vote {
            Ok(vote) => vote,
            Err(problem) => {
                results[index] = Err(problem);
                continue;
            }
        };
        let name = vote.voter_id.as_ref().map_or("", |name| &name.0);
        let voter = desk.service().secret.voter_key(poll.id, VoterIdentity::Declared(name));
        let submission = (index, Submission { voter, vote_id: vote.vote_id, kind: VoteKind::Cast(vote.choices) });
        match turn_of.entry(voter) {
            Entry::Occupied(turn) => turns[*turn.get()].push(submission),
            Entry::Vacant(turn) => {
                turn.insert(turns.len());
                turns.push(vec![submission]);
            }
        }
    }
    let deadline = Instant::now() + desk.service().limits.deadline;
    let taken = join_all(turns.into_iter().map(|turn| take_in_turn(desk, poll, turn, deadline))).await;
    for (index, taken) in taken.into_iter().flatten() {
        results[index] = taken;
    }
    results
}

/// Takes the votes of one voter. One whose turn comes after the deadline is not recorded.
async fn take_in_turn(
    desk: &VoteDesk,
    poll: &Poll,
    turn: Vec<(usize, Submission)>,
    deadline: Instant,
) -> Vec<(usize, Result<Taken, Problem>)> {
    let mut results = Vec::with_capacity(turn.len());
    for (index, submission) in turn {
        if !results.is_empty() && Instant::now() >= deadline {
            break;
        }
        results.push((index, desk.take(poll, submission).await));
    }
    results
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
        votes: Vec<ObjectOf<VoteBody<'a>>>,
    }

    let ObjectOf(BatchBody { votes }) = serde_json::from_slice(bytes).ok()?;
    let is_sound =
        |ObjectOf(vote): &ObjectOf<VoteBody<'_>>| poll.can_take(VoteKind::Cast(vote.choices)) && vote.voter_id.is_some();
    let all_sound = (1..=BATCH_VOTES_MAX).contains(&votes.len()) && votes.iter().all(is_sound);
    all_sound.then(|| votes.into_iter().map(|vote| Ok(vote.0)).collect())
}

/// Reads what can be read of a batch; each vote that breaks a rule is refused by itself, with what is wrong with it, or, where that
/// would be too much for one answer, the first of it.
fn explain<'a>(bytes: &Bytes, value: &'a Value, poll: &Poll) -> Result<Vec<Result<VoteBody<'a>, Problem>>, Problem> {
    #[derive(Deserialize)]
    struct Twice {
        votes: Vec<NamesTwice>,
    }

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
    // Only a body that names `votes` twice cannot be read now.
    let Ok(Twice { votes: twice }) = serde_json::from_slice(bytes) else { return Err(errors.into_problem()) };
    // For all of them together: a name of one letter in a body becomes a sentence in the answer.
    let mut room = FIELD_ERRORS_MAX;
    let explained = items.iter().zip(twice).enumerate().map(|(index, (item, twice))| {
        let pointer = format!("/votes/{index}");
        let mut errors = FieldErrors::at_most(room);
        let vote = explain_vote(item, &pointer, poll, &mut errors);
        if item.is_object() && item.get("voter_id").is_none_or(Value::is_null) {
            errors.push(format!("{pointer}/voter_id"), "is required");
        }
        if twice.0 && errors.is_empty() {
            errors.push(&*pointer, NAMED_TWICE);
        }
        room = room.saturating_sub(errors.len());
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
            Ok(accepted) => {
                Self::Taken { receipt: accepted.receipt.as_str(), status: accepted.status(), vote_id: accepted.vote_id.0 }
            }
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
