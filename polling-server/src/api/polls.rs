//! The operations on polls.

use std::sync::Arc;

use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use poem::{Request, Response};
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path, Query};
use polling_core::model::{Poll, PollId, PollState, ResultsVisibility};

use super::answer::{Answer, JSON};
use super::cursor::ListQuery;
use super::export::{CSV, csv_response};
use super::identity::Caller;
use super::negotiation::{has_current, require_acceptable};
use super::parameter::{Given, PageLimit, QueryErrors, SearchText, Sort, Token};
use super::poll_answers::{ClosePoll, CreatePoll, DeletePoll, ExportPoll, GetPoll, ListPolls};
use super::poll_body::NewPoll;
use super::poll_changes;
use super::poll_list::{self, PageRequest};
use super::problem::Problem;
use super::problem_kind::ProblemKind;
use super::rankings::Rankings;
use super::request_body::{JsonBody, POLL_BYTES_MAX};
use super::security::{AnyViewer, Anybody, Documented, MayCreate, OwnerOnly};
use super::store_calls;
use super::tag::ApiTag;
use super::types::PollBody;
use super::visibility::{Sight, receipt_of, sight};
use crate::live::views::Sendable;
use crate::service::Service;

/// RFC 9211: says that a poll is shown as it was last known, because the store cannot be read; `ttl` is below zero.
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// Polls on a page when the client does not say.
const PAGE_LIMIT_DEFAULT: usize = 20;

/// Creates, lists, shows, closes and deletes polls.
pub(crate) struct Polls {
    service: Arc<Service>,
    rankings: Rankings,
}

impl Polls {
    /// The operations over these parts.
    pub(crate) fn new(service: Arc<Service>) -> Self {
        Self { service, rankings: Rankings::new() }
    }
}

#[OpenApi(tag = "ApiTag::Polls")]
impl Polls {
    /// Create a poll.
    ///
    /// The answer shows the owner token, this once and never again: keep it to close or delete the poll.
    #[oai(path = "/polls", method = "post", operation_id = "createPoll")]
    async fn create(
        &self,
        request: &Request,
        _credentials: Documented<MayCreate>,
        body: JsonBody<NewPoll, POLL_BYTES_MAX>,
    ) -> Answer<CreatePoll> {
        poll_changes::create(&self.service, Caller::of(request), &body.bytes).await.into()
    }

    /// List polls.
    ///
    /// Following `next_cursor` shows every poll that existed at the start exactly once, whatever happens meanwhile; states are
    /// those of the moment in which the first page was read.
    #[oai(path = "/polls", method = "get", operation_id = "listPolls")]
    #[expect(clippy::too_many_arguments, reason = "the document is made from the arguments")]
    async fn list(
        &self,
        request: &Request,
        _anybody: Documented<Anybody>,
        /// Only polls in this state.
        state: Query<Option<Given<PollState>>>,
        /// Only polls whose question contains this text, ignoring case.
        q: Query<Option<Given<SearchText>>>,
        /// In which order: `newest` (default), `oldest`, or `votes`, most voters first.
        sort: Query<Option<Given<Sort>>>,
        /// How many polls a page has, at most; 20 by default. A page of very large polls has fewer, and a `next_cursor`.
        limit: Query<Option<Given<PageLimit>>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<Given<Token>>>,
    ) -> Answer<ListPolls> {
        let mut errors = QueryErrors::default();
        let query = ListQuery {
            state: errors.take("state", state.0),
            text: errors.take("q", q.0).map(|text| text.0).filter(|text| !text.is_empty()),
            sort: errors.take("sort", sort.0).unwrap_or_default(),
        };
        let limit = errors.take("limit", limit.0).map_or(PAGE_LIMIT_DEFAULT, |limit| limit.0);
        let cursor = errors.take("cursor", cursor.0).map(|cursor| cursor.0);
        let page = PageRequest { query, limit, cursor };
        self.page(request, errors, page).await.into()
    }

    /// Get a poll with its results.
    ///
    /// Results that are hidden from this viewer have options without `votes` and `share`. More is shown to the holder of the owner
    /// token and, with `after_vote`, to a viewer whose cookie or token has a counted vote, or who passes the receipt of one.
    ///
    /// While the store cannot be read, a poll that is known is shown as it was last, and a `Cache-Status` with a `ttl` below zero
    /// says so.
    #[oai(path = "/polls/:poll_id", method = "get", operation_id = "getPoll")]
    async fn get(
        &self,
        request: &Request,
        _viewer: Documented<AnyViewer>,
        /// The poll.
        poll_id: Path<Given<PollId>>,
        /// The receipt of a counted vote in this poll.
        receipt: Query<Option<Given<Token>>>,
        /// Entity tags that the client has; 304 when one is current.
        #[oai(name = "If-None-Match")]
        _if_none_match: Header<Option<String>>,
    ) -> Answer<GetPoll> {
        show(&self.service, Caller::of(request), poll_id.0.0.ok(), receipt.0).await.into()
    }

    /// Close a poll.
    ///
    /// For its owner. Closing a closed poll answers the same again.
    #[oai(path = "/polls/:poll_id/close", method = "post", operation_id = "closePoll")]
    async fn close(
        &self,
        request: &Request,
        _owner: Documented<OwnerOnly>,
        /// The poll.
        poll_id: Path<Given<PollId>>,
    ) -> Answer<ClosePoll> {
        poll_changes::close(&self.service, Caller::of(request), poll_id.0.0.ok()).await.into()
    }

    /// Delete a poll.
    ///
    /// For its owner. The poll is not found from then on, except that its receipts still resolve.
    #[oai(path = "/polls/:poll_id", method = "delete", operation_id = "deletePoll")]
    async fn delete(
        &self,
        request: &Request,
        _owner: Documented<OwnerOnly>,
        /// The poll.
        poll_id: Path<Given<PollId>>,
    ) -> Answer<DeletePoll> {
        poll_changes::archive(&self.service, Caller::of(request), poll_id.0.0.ok()).await.into()
    }

    /// Export the results of a poll as CSV.
    ///
    /// The columns are `option_id,text,votes,share`. A text that a spreadsheet would run as a formula is prefixed with `'`.
    #[oai(path = "/polls/:poll_id/export.csv", method = "get", operation_id = "exportPoll")]
    async fn export(
        &self,
        request: &Request,
        _viewer: Documented<AnyViewer>,
        /// The poll.
        poll_id: Path<Given<PollId>>,
        /// The receipt of a counted vote in this poll.
        receipt: Query<Option<Given<Token>>>,
    ) -> Answer<ExportPoll> {
        self.table(Caller::of(request), poll_id.0.0.ok(), receipt.0).await.into()
    }
}

impl Polls {
    async fn page(&self, request: &Request, errors: QueryErrors, page: PageRequest) -> Result<Response, Problem> {
        require_acceptable(request.headers(), JSON)?;
        errors.check()?;
        poll_list::list(&self.service, &self.rankings, page).await
    }

    async fn table(&self, caller: Caller<'_>, poll: Option<PollId>, receipt: Option<Given<Token>>) -> Result<Response, Problem> {
        require_acceptable(caller.headers, CSV)?;
        let view = store_calls::existing_poll(&self.service, poll).await?;
        let snapshot = view.snapshot();
        let mut errors = QueryErrors::default();
        let receipt = receipt_of(&self.service, Some(snapshot.poll.id), receipt, &mut errors);
        errors.check()?;
        let now = self.service.clock.now();
        if !sight(&self.service, caller, snapshot, receipt, now).await?.is_visible() {
            return Err(Problem::new(ProblemKind::ResultsHidden));
        }
        Ok(csv_response(&PollBody::new(snapshot, now, true)))
    }
}

/// `GET /polls/{id}` without parameters, and without the dispatch through the document.
pub(crate) async fn show_directly(service: &Service, headers: &HeaderMap, poll: Option<PollId>) -> Result<Response, Problem> {
    show(service, Caller { headers }, poll, None).await
}

async fn show(
    service: &Service,
    caller: Caller<'_>,
    poll: Option<PollId>,
    receipt: Option<Given<Token>>,
) -> Result<Response, Problem> {
    require_acceptable(caller.headers, JSON)?;
    let view = store_calls::existing_poll(service, poll).await?;
    let snapshot = view.snapshot();
    // Together with the view: the store may be there again before this is answered.
    let stale = service.views.stale_for(snapshot.poll.id);
    let mut errors = QueryErrors::default();
    let receipt = receipt_of(service, Some(snapshot.poll.id), receipt, &mut errors);
    errors.check()?;
    let now = service.clock.now();
    let sight = sight(service, caller, snapshot, receipt, now).await?;
    let sendable = view.sendable(now, sight.is_visible());
    let mut response = tagged_response(caller, &sendable);
    address_to(&mut response, sight, &snapshot.poll);
    if let Some(stale) = stale
        && let Ok(status) = HeaderValue::try_from(format!("polling-server; hit; ttl=-{}", stale.as_secs().max(1)))
    {
        response.headers_mut().insert(CACHE_STATUS, status);
    }
    Ok(response)
}

/// Says for whom an answer with results is, where that is not everybody.
pub(crate) fn address_to(response: &mut Response, sight: Sight, poll: &Poll) {
    let headers = response.headers_mut();
    if sight == Sight::ThisViewer {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    if poll.results != ResultsVisibility::Always {
        headers.insert(header::VARY, HeaderValue::from_static("authorization, cookie"));
    }
}

/// The body with its entity tag, or 304 when the client has it.
pub(crate) fn tagged_response(caller: Caller<'_>, sendable: &Sendable) -> Response {
    let mut response = if has_current(caller.headers, &sendable.etag) {
        Response::builder().status(StatusCode::NOT_MODIFIED).finish()
    } else {
        let mut response = Response::builder().status(StatusCode::OK).body(sendable.body.clone());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
        response
    };
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::try_from(&sendable.etag) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
