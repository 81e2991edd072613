//! The operations on votes and receipts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body;
use poem::http::{HeaderValue, StatusCode};
use poem::{Request, Response};
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::registry::{MetaResponse, Registry};
use poem_openapi::types::Type;
use poem_openapi::{Object, OpenApi};
use polling_core::model::{PollId, VoteId, VoteKind};
use serde::Serialize;
use uuid::Uuid;

use super::answer::{Answer, Described, JSON, described, json_response, with_header};
use super::identity::{Caller, Declared, problem_of_stranger};
use super::negotiation::{PREFERENCE_APPLIED, preferred_wait, require_acceptable};
use super::parameter::{Given, QueryErrors, Token, VoterId};
use super::problem::Problem;
use super::problem_kind::ProblemKind;
use super::request_body::{JsonBody, VOTE_BYTES_MAX, read_json_bytes};
use super::security::{AnyVoter, Anybody, Documented};
use super::store_calls;
use super::tag::ApiTag;
use super::vote_answer::{AcceptedVote, Extras, accepted_response};
use super::vote_body::{VoteBody, VoteRequest};
use super::vote_desk::{Submission, VoteDesk};
use crate::live::views::PollView;

/// Casts and retracts single votes, and tells what became of them.
pub(crate) struct Votes(pub(crate) Arc<VoteDesk>);

#[OpenApi(tag = "ApiTag::Votes")]
impl Votes {
    /// Cast a vote.
    ///
    /// 202 means that the vote is durable; its receipt tells what becomes of it. Send the same `vote_id` again whenever the
    /// answer is lost: it can never count twice. Where the poll allows changing, a vote with a new `vote_id` replaces the former.
    #[oai(path = "/polls/:poll_id/vote", method = "post", operation_id = "castVote")]
    async fn cast(
        &self,
        request: &Request,
        _voter: Documented<AnyVoter>,
        /// The poll.
        poll_id: Path<Given<PollId>>,
        /// `wait=SECONDS` (0 to 30) answers when the outcome is known or the time is over.
        #[oai(name = "Prefer")]
        _prefer: Header<Option<String>>,
        body: JsonBody<VoteRequest, VOTE_BYTES_MAX>,
    ) -> Answer<CastVote> {
        let answered = match read_ballot(&self.0, Caller::of(request), poll_id.0.0.ok(), &body.bytes).await {
            Ok(ballot) => cast(&self.0, &ballot).await,
            Err(problem) => Err(problem),
        };
        answered.into()
    }

    /// Retract a vote.
    ///
    /// Where the poll allows changing. Answers like a vote; the receipt of a retraction that took effect is `counted`.
    #[oai(path = "/polls/:poll_id/vote", method = "delete", operation_id = "retractVote")]
    async fn retract(
        &self,
        request: &Request,
        _voter: Documented<AnyVoter>,
        /// The poll.
        poll_id: Path<Given<PollId>>,
        /// Who retracts, said by a caller that knows its voters.
        voter_id: Query<Option<Given<VoterId>>>,
        /// The name of the retraction, made by the client: another one than the name of the vote.
        vote_id: Query<Option<Given<VoteId>>>,
        /// `wait=SECONDS` (0 to 30) answers when the outcome is known or the time is over.
        #[oai(name = "Prefer")]
        _prefer: Header<Option<String>>,
    ) -> Answer<RetractVote> {
        retract(&self.0, Caller::of(request), poll_id.0.0.ok(), voter_id.0, vote_id.0).await.into()
    }

    /// Ask what became of a vote.
    ///
    /// The receipts of a deleted poll still resolve. `Prefer: wait=SECONDS` (0 to 30) waits while it is pending.
    #[oai(path = "/receipts/:receipt", method = "get", operation_id = "getReceipt")]
    async fn receipt(
        &self,
        request: &Request,
        _anybody: Documented<Anybody>,
        /// The receipt that the vote was answered with.
        receipt: Path<Given<Token>>,
        /// `wait=SECONDS` (0 to 30) answers when the outcome is known or the time is over.
        #[oai(name = "Prefer")]
        _prefer: Header<Option<String>>,
    ) -> Answer<GetReceipt> {
        let token = receipt.0.0.map(|token| token.0).unwrap_or_default();
        find_receipt(&self.0, Caller::of(request), &token).await.into()
    }
}

/// `POST /polls/{id}/vote` without the dispatch through the document.
pub(crate) async fn cast_directly<B>(
    desk: &VoteDesk,
    request: hyper::Request<B>,
    poll: Option<PollId>,
) -> Result<Response, Problem>
where
    B: Body<Data = Bytes>,
{
    let (head, body) = request.into_parts();
    let bytes = read_json_bytes(&head.headers, body, VOTE_BYTES_MAX).await?;
    let ballot = read_ballot(desk, Caller { headers: &head.headers }, poll, &bytes).await?;
    // The connection's buffer is used again only when nothing refers to the request in it: otherwise a new one is made for each
    // vote that waits for the log.
    drop((head, bytes));
    cast(desk, &ballot).await
}

/// A vote that was read, and what its answer depends on besides its fate.
struct Ballot {
    view: Arc<PollView>,
    submission: Submission,
    wait: Option<Duration>,
    set_cookie: Option<HeaderValue>,
}

async fn read_ballot(desk: &VoteDesk, caller: Caller<'_>, poll: Option<PollId>, bytes: &Bytes) -> Result<Ballot, Problem> {
    require_acceptable(caller.headers, JSON)?;
    let view = poll_of_vote(desk, poll).await?;
    let poll = &view.snapshot().poll;
    let vote = VoteBody::read(bytes, poll)?;
    let declared = Declared::InBody(vote.voter_id.as_ref().map(|name| &*name.0));
    let voter = caller.voter(desk.service(), poll.id, declared, vote.vote_id)?;
    let submission = Submission { voter: voter.key, vote_id: vote.vote_id, kind: VoteKind::Cast(vote.choices) };
    Ok(Ballot { wait: preferred_wait(caller.headers), view, submission, set_cookie: voter.set_cookie })
}

async fn cast(desk: &VoteDesk, ballot: &Ballot) -> Result<Response, Problem> {
    let Ballot { view, submission, wait, set_cookie } = ballot;
    match desk.submit(&view.snapshot().poll, *submission, *wait).await {
        Ok(accepted) => {
            let extras = Extras { set_cookie: set_cookie.clone(), wait_seconds: wait.map(|wait| wait.as_secs()) };
            Ok(accepted_response(&accepted, extras))
        }
        // The vote may have been recorded, or will be sent again: either way the browser must stay the same voter.
        Err(problem) if matches!(problem.kind(), ProblemKind::OutcomeUnknown | ProblemKind::NotRecorded) => {
            Err(problem.with_cookie(set_cookie.clone()))
        }
        Err(problem) => Err(problem),
    }
}

async fn retract(
    desk: &VoteDesk,
    caller: Caller<'_>,
    poll: Option<PollId>,
    voter_id: Option<Given<VoterId>>,
    vote_id: Option<Given<VoteId>>,
) -> Result<Response, Problem> {
    require_acceptable(caller.headers, JSON)?;
    let view = poll_of_vote(desk, poll).await?;
    let poll = &view.snapshot().poll;
    let mut errors = QueryErrors::default();
    let voter_id = errors.take("voter_id", voter_id);
    let vote_id = errors.take("vote_id", vote_id);
    errors.check()?;
    if !poll.allow_change {
        return Err(Problem::new(ProblemKind::ChangeNotAllowed));
    }
    let declared = Declared::InQuery(voter_id.as_ref().map(|name| name.0.as_str()));
    let Some(voter) = caller.known_voter(desk.service(), poll.id, declared)? else {
        return Err(problem_of_stranger(desk.service(), declared));
    };
    let wait = preferred_wait(caller.headers);
    let accepted = desk.submit(poll, Submission { voter, vote_id, kind: VoteKind::Retract }, wait).await?;
    Ok(accepted_response(&accepted, Extras { set_cookie: None, wait_seconds: wait.map(|wait| wait.as_secs()) }))
}

async fn find_receipt(desk: &VoteDesk, caller: Caller<'_>, token: &str) -> Result<Response, Problem> {
    require_acceptable(caller.headers, JSON)?;
    let service = desk.service();
    let receipt = service.secret.open_receipt(token).ok_or_else(|| Problem::new(ProblemKind::ReceiptNotFound))?;
    let mut known = store_calls::outcome(service, receipt).await?;
    let wait = preferred_wait(caller.headers);
    if let (None, Some(wait)) = (known, wait) {
        known = desk.await_outcome(receipt, wait).await;
    }
    let status = known.map_or("pending", |resolution| resolution.outcome.as_str());
    let mut response = json_response(StatusCode::OK, &ReceiptBody { status, poll_id: receipt.poll.as_uuid() })?;
    if let Some(wait) = wait
        && let Ok(applied) = HeaderValue::try_from(format!("wait={}", wait.as_secs()))
    {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

/// The poll that a vote is for. When it cannot be read, the vote was certainly not recorded.
pub(crate) async fn poll_of_vote(desk: &VoteDesk, poll: Option<PollId>) -> Result<Arc<PollView>, Problem> {
    store_calls::existing_poll(desk.service(), poll).await.map_err(|problem| match problem.kind() {
        ProblemKind::Unavailable => Problem::new(ProblemKind::NotRecorded),
        _ => problem,
    })
}

/// What became of a vote.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Receipt", read_only_all)]
pub(crate) struct ReceiptBody {
    /// `pending`, `counted`, `duplicate`, `superseded`, `late` or `invalid`.
    pub(crate) status: &'static str,
    /// The poll that the vote is for.
    pub(crate) poll_id: Uuid,
}

/// What `castVote` answers.
struct CastVote;

impl Described for CastVote {
    const PROBLEMS: &'static [ProblemKind] = &[
        ProblemKind::InvalidJson,
        ProblemKind::Unauthorized,
        ProblemKind::PollNotFound,
        ProblemKind::NotAcceptable,
        ProblemKind::PollNotOpen,
        ProblemKind::PollClosed,
        ProblemKind::AlreadyVoted,
        ProblemKind::TooLarge,
        ProblemKind::UnsupportedMediaType,
        ProblemKind::Validation,
        ProblemKind::NotRecorded,
        ProblemKind::OutcomeUnknown,
    ];

    fn answers() -> Vec<MetaResponse> {
        vec![accepted_vote("The vote is durable. `Set-Cookie` comes with the first vote of a browser.")]
    }

    fn register(registry: &mut Registry) {
        AcceptedVote::register(registry);
    }
}

/// What `retractVote` answers.
struct RetractVote;

impl Described for RetractVote {
    const PROBLEMS: &'static [ProblemKind] = &[
        ProblemKind::Unauthorized,
        ProblemKind::PollNotFound,
        ProblemKind::NotAcceptable,
        ProblemKind::PollNotOpen,
        ProblemKind::PollClosed,
        ProblemKind::AlreadyVoted,
        ProblemKind::ChangeNotAllowed,
        ProblemKind::NoVote,
        ProblemKind::Validation,
        ProblemKind::NotRecorded,
        ProblemKind::OutcomeUnknown,
    ];

    fn answers() -> Vec<MetaResponse> {
        vec![accepted_vote("The retraction is durable.")]
    }

    fn register(registry: &mut Registry) {
        AcceptedVote::register(registry);
    }
}

/// What `getReceipt` answers.
struct GetReceipt;

impl Described for GetReceipt {
    const PROBLEMS: &'static [ProblemKind] =
        &[ProblemKind::ReceiptNotFound, ProblemKind::NotAcceptable, ProblemKind::Unavailable];

    fn answers() -> Vec<MetaResponse> {
        vec![described::<ReceiptBody>(StatusCode::OK, "What became of the vote.")]
    }

    fn register(registry: &mut Registry) {
        ReceiptBody::register(registry);
    }
}

fn accepted_vote(description: &'static str) -> MetaResponse {
    let response = described::<AcceptedVote>(StatusCode::ACCEPTED, description);
    let response = with_header(response, "Location", "Where the receipt tells what becomes of it");
    with_header(response, "Preference-Applied", "`wait=SECONDS`, when a wait was asked for")
}
