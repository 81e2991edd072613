//! Who watches, and what is shown to them.

use std::sync::Arc;
use std::time::Duration;

use poem::Request;
use poem::http::{HeaderMap, header};
use polling_core::model::{PollId, Receipt};
use tokio::sync::watch;

use super::frame::BoardFrame;
use super::hub::{Hub, Watched};
use crate::api::identity::Caller;
use crate::api::parameter::{Given, Parameter as _, QueryErrors, Token, query_parameter};
use crate::api::problem::Problem;
use crate::api::problem_kind::ProblemKind;
use crate::api::store_calls;
use crate::api::visibility::{receipt_of, sight};
use crate::service::Service;

/// A client that watches, with what it can prove to have voted or to own a poll by.
pub struct Viewer {
    service: Arc<Service>,
    hub: Arc<Hub>,
    /// Only those that say who it is, because a socket may be open for long.
    headers: HeaderMap,
    receipt: Option<Receipt>,
    /// Whether it wants to know how many watch.
    counts: bool,
}

/// A poll as this viewer watches it.
#[derive(Debug)]
pub struct WatchedPoll {
    /// The poll.
    pub watched: Watched,
    /// Whether the viewer sees results that not everybody sees. Decided once, when it begins to watch.
    pub is_insider: bool,
}

impl Viewer {
    /// Whoever sent `request`; `of` is the poll that a receipt must be of, or `None` for any.
    ///
    /// # Errors
    ///
    /// `validation`.
    pub fn new(service: Arc<Service>, hub: Arc<Hub>, request: &Request, of: Option<PollId>) -> Result<Self, Problem> {
        let mut errors = QueryErrors::default();
        let token = query_parameter(request, "receipt").map(|token| Given(Token::parse(&token)));
        let receipt = receipt_of(&service, of, token, &mut errors);
        let counts = match query_parameter(request, "viewers").as_deref() {
            None | Some("0") => false,
            Some("1") => true,
            Some(_) => {
                errors.refuse("viewers", "must be 0 or 1");
                false
            }
        };
        errors.check()?;
        let Caller { headers: all } = Caller::of(request);
        let mut headers = HeaderMap::new();
        for name in [header::AUTHORIZATION, header::COOKIE] {
            for value in all.get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        Ok(Self { service, hub, headers, receipt, counts })
    }

    /// How long the store may take for what this viewer asks.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.service.limits.deadline
    }

    /// Watches a poll.
    ///
    /// # Errors
    ///
    /// `poll-not-found`, and those of a store that cannot be read, or not in time.
    pub async fn watch_poll(&self, poll: PollId) -> Result<WatchedPoll, Problem> {
        let view = store_calls::existing_poll(&self.service, Some(poll)).await?;
        let caller = Caller { headers: &self.headers };
        let receipt = self.receipt.filter(|receipt| receipt.poll == poll);
        let sight = sight(&self.service, caller, view.snapshot(), receipt, self.service.clock.now()).await?;
        let (hub, counts) = (Arc::clone(&self.hub), self.counts);
        let watching = async move { if counts { hub.watch_counted_poll(poll).await } else { hub.watch_poll(poll).await } };
        let watched = store_calls::read(&self.service, watching).await?;
        let watched = watched.ok_or_else(|| Problem::new(ProblemKind::PollNotFound))?;
        Ok(WatchedPoll { watched, is_insider: sight.is_insider() })
    }

    /// Watches the leaderboard: the newest frame, and what comes.
    ///
    /// # Errors
    ///
    /// Those of a store that cannot be read, or not in time.
    pub async fn watch_leaderboard(&self) -> Result<(BoardFrame, watch::Receiver<Option<BoardFrame>>), Problem> {
        let hub = Arc::clone(&self.hub);
        store_calls::read(&self.service, async move { hub.watch_leaderboard().await }).await
    }
}
