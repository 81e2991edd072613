//! All routes of the public listener.

use std::sync::Arc;

use poem::{Endpoint, PathPattern, Request, Response, Route, RouteMethod};

use crate::api::edge::Edge;
use crate::api::operations::{MethodTable, operations};
use crate::api::vote_desk::VoteDesk;
use crate::page::{home, page_paths, with_pages};
use crate::service::Service;
use crate::transport::served::Served;

/// Everything that the server answers in public.
///
/// `live` adds the routes that move by themselves (`/polls/:poll_id/live`, `/leaderboard/live`, `/live`) beside the operations of
/// the API. Whatever they fail with becomes a problem document, as everywhere: they may return
/// [`Problem`](crate::api::problem::Problem) as their error.
pub fn routes<L>(service: &Arc<Service>, live: L) -> impl Served + use<L>
where
    L: FnOnce(Route) -> Route + 'static,
{
    let desk = Arc::new(VoteDesk::new(Arc::clone(service)));
    let route = live(with_pages(Route::new())).nest("/", operations(service, &desk));
    Edge::new(Root { home: home(), route }, desk, MethodTable::new(&page_paths()))
}

/// `inner` in the place of all routes but those of votes and single polls, which the edge takes itself: what holds for every request
/// and answer of the server holds for it, too.
pub fn behind_edge<E>(service: &Arc<Service>, inner: E) -> impl Served + use<E>
where
    E: Endpoint<Output = Response> + 'static,
{
    let desk = Arc::new(VoteDesk::new(Arc::clone(service)));
    Edge::new(inner, desk, MethodTable::new(&page_paths()))
}

/// The home page and everything below it: the router gives `/` itself to what is nested there.
struct Root {
    home: RouteMethod,
    route: Route,
}

impl Endpoint for Root {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        if request.uri().path() != "/" {
            return self.route.call(request).await;
        }
        let pattern = PathPattern("/".into());
        match self.home.call(request).await {
            Ok(mut response) => {
                response.set_data(pattern);
                Ok(response)
            }
            Err(mut error) => {
                error.set_data(pattern);
                Err(error)
            }
        }
    }
}
