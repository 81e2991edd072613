//! The list of polls, page by page.

use std::sync::Arc;

use poem::Response;
use poem::http::StatusCode;
use poem_openapi::Object;
use polling_core::clock::Timestamp;
use polling_core::model::PollId;
use polling_core::store::{CreationOrder, PollFilter};

use super::answer::json_bytes_response;
use super::cursor::{Cursor, ListQuery, Place};
use super::page_writer::PageWriter;
use super::parameter::{QueryErrors, Sort};
use super::problem::Problem;
use super::problem_kind::ProblemKind;
use super::rankings::{RANKED_POLLS_MAX, Rankings};
use super::store_calls;
use super::types::PollBody;
use crate::service::Service;

/// Polls that are read from the store at once, at most. The largest polls take some 80 KB each, so a page of a hundred would be read as
/// 8 MB of which most is left for the pages behind it; a page of usual length is still read at once, with the poll that tells whether
/// there is another.
const POLLS_READ_AT_ONCE: usize = 21;

/// A page of polls.
#[derive(Debug, Object)]
#[oai(rename = "PollPage", read_only_all)]
pub(crate) struct PollPage {
    /// The polls, with the results that everybody may see.
    pub(crate) polls: Vec<PollBody>,
    /// Pass it as `cursor`, with the same filters, to get the next page; absent on the last.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) next_cursor: Option<String>,
}

/// Which page.
#[derive(Debug)]
pub(crate) struct PageRequest {
    /// Of which list.
    pub(crate) query: ListQuery,
    /// How many polls, at most.
    pub(crate) limit: usize,
    /// What the page before said; `None`: the first page.
    pub(crate) cursor: Option<String>,
}

/// The page that was asked for.
pub(crate) async fn list(service: &Service, rankings: &Rankings, request: PageRequest) -> Result<Response, Problem> {
    let now = service.clock.now();
    let cursor =
        match &request.cursor {
            None => None,
            Some(text) => Some(Cursor::open(text, &request.query).ok_or_else(|| {
                refused_cursor("must be the next_cursor of a page that was read with the same state, q and sort")
            })?),
        };
    let listed_at = cursor.map_or(now, |cursor| cursor.listed_at);
    let mut page = PageWriter::new(request.limit, now);
    let next = match request.query.sort {
        Sort::Votes => ranked_page(service, rankings, &request, cursor, listed_at, &mut page).await?,
        Sort::Newest => created_page(service, &request, CreationOrder::NewestFirst, cursor, listed_at, &mut page).await?,
        Sort::Oldest => created_page(service, &request, CreationOrder::OldestFirst, cursor, listed_at, &mut page).await?,
    };
    let next_cursor = next.map(|place| Cursor { listed_at, place }.seal(&request.query));
    Ok(json_bytes_response(StatusCode::OK, page.finish(next_cursor.as_deref())?))
}

fn filter(query: &ListQuery) -> PollFilter {
    PollFilter { state: query.state, text: query.text.clone(), ..PollFilter::default() }
}

fn refused_cursor(detail: &'static str) -> Problem {
    let mut errors = QueryErrors::default();
    errors.refuse("cursor", detail);
    errors.check().err().unwrap_or_else(|| Problem::new(ProblemKind::Validation))
}

/// Fills a page in the order of creation, which never changes, so the last poll of a page says where the next one begins.
async fn created_page(
    service: &Service,
    request: &PageRequest,
    order: CreationOrder,
    cursor: Option<Cursor>,
    listed_at: Timestamp,
    page: &mut PageWriter,
) -> Result<Option<Place>, Problem> {
    let mut last = cursor.and_then(|cursor| match cursor.place {
        Place::After(poll) => Some(poll),
        Place::Rank { .. } => None,
    });
    loop {
        // One more than there is room for tells whether there is a next page.
        let count = (page.room() + 1).min(POLLS_READ_AT_ONCE);
        let (polls, after, now) = (Arc::clone(&service.polls), last, service.clock.now());
        // What opens or closes from one call to the next stays where it was when the list began.
        let filter = PollFilter { state_at: request.query.state.map(|_| listed_at), ..filter(&request.query) };
        let snapshots = store_calls::read(service, async move { polls.list(&filter, order, after, count, now).await }).await?;
        for snapshot in &snapshots {
            if !page.add(snapshot)? {
                return Ok(last.map(Place::After));
            }
            last = Some(snapshot.poll.id);
        }
        if snapshots.len() < count {
            return Ok(None);
        }
    }
}

/// Fills a page in the order of votes as it was when the first page was read.
async fn ranked_page(
    service: &Service,
    rankings: &Rankings,
    request: &PageRequest,
    cursor: Option<Cursor>,
    listed_at: Timestamp,
    page: &mut PageWriter,
) -> Result<Option<Place>, Problem> {
    let (kept, ranking, start) = match cursor.map(|cursor| cursor.place) {
        Some(Place::Rank { ranking: name, shown }) => {
            let expired = "has expired: begin again without a cursor";
            let ranking = rankings.find(name).ok_or_else(|| refused_cursor(expired))?;
            (Some(name), ranking, shown as usize)
        }
        _ => {
            let (polls, filter) = (Arc::clone(&service.polls), filter(&request.query));
            let call = async move { polls.rank(&filter, RANKED_POLLS_MAX, listed_at).await };
            (None, store_calls::read(service, call).await?.into(), 0)
        }
    };
    let shown = read_ranked(service, &ranking, start, page).await?;
    if shown >= ranking.len() {
        return Ok(None);
    }
    let name = kept.unwrap_or_else(|| rankings.keep(ranking));
    Ok(Some(Place::Rank { ranking: name, shown: u32::try_from(shown).unwrap_or(u32::MAX) }))
}

/// Fills a page with polls of a ranking; passes over those that were archived since. Answers how far it came.
async fn read_ranked(service: &Service, ranking: &[PollId], start: usize, page: &mut PageWriter) -> Result<usize, Problem> {
    let mut shown = start;
    for &poll in ranking.get(start..).unwrap_or_default() {
        if page.room() == 0 {
            break;
        }
        match store_calls::existing_poll(service, Some(poll)).await {
            Ok(view) if page.add(view.snapshot())? => {}
            Ok(_) => break,
            Err(problem) if problem.kind() == ProblemKind::PollNotFound => {}
            Err(problem) => return Err(problem),
        }
        shown += 1;
    }
    Ok(shown)
}
