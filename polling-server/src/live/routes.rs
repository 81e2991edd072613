//! The routes of the sockets.

use std::sync::Arc;

use poem::endpoint::{make, make_sync};
use poem::{Error, Route, RouteMethod};
use polling_core::model::PollId;

use super::endpoints::Live;

/// Adds the addresses of the sockets.
pub fn with_sockets(route: Route, live: Arc<Live>) -> Route {
    let (leaderboard, multiplexed) = (Arc::clone(&live), Arc::clone(&live));
    let poll = make(move |request| {
        let live = Arc::clone(&live);
        async move {
            let poll = request.raw_path_param("poll_id").and_then(PollId::parse);
            live.poll(&request, poll).await.map_err(Error::from)
        }
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
}
