//! The routes of the sockets and of the streams of events.

use std::sync::Arc;

use poem::endpoint::{make, make_sync};
use poem::{Error, Request, Route, RouteMethod};
use polling_core::model::PollId;

use super::endpoints::Live;

/// Adds the addresses of the sockets and of the streams.
pub fn with_sockets(route: Route, live: Arc<Live>) -> Route {
    let (leaderboard, multiplexed) = (Arc::clone(&live), Arc::clone(&live));
    let (poll_events, leaderboard_events) = (Arc::clone(&live), Arc::clone(&live));
    let poll = make(move |request| {
        let live = Arc::clone(&live);
        async move { live.poll(&request, poll_id(&request)).await.map_err(Error::from) }
    });
    let poll_events = make(move |request| {
        let live = Arc::clone(&poll_events);
        async move { live.poll_events(&request, poll_id(&request)).await.map_err(Error::from) }
    });
    let leaderboard_events = make(move |request| {
        let live = Arc::clone(&leaderboard_events);
        async move { live.leaderboard_events(&request).await.map_err(Error::from) }
    });
    let leaderboard = make(move |request| {
        let live = Arc::clone(&leaderboard);
        async move { live.leaderboard(&request).await.map_err(Error::from) }
    });
    let multiplexed = make_sync(move |request| multiplexed.multiplexed(&request).map_err(Error::from));
    route
        .at("/polls/:poll_id/live", RouteMethod::new().get(poll))
        .at("/leaderboard/live", RouteMethod::new().get(leaderboard))
        .at("/live", RouteMethod::new().get(multiplexed))
        .at("/polls/:poll_id/events", RouteMethod::new().get(poll_events))
        .at("/leaderboard/events", RouteMethod::new().get(leaderboard_events))
}

fn poll_id(request: &Request) -> Option<PollId> {
    request.raw_path_param("poll_id").and_then(PollId::parse)
}
