//! Which other sites' pages may use the API.

use std::time::Duration;

use hyper::header::{
    AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Response};
use tower::util::MapResponseLayer;
use tower_http::cors::{AllowCredentials, AllowOrigin, CorsLayer};

/// How long a browser may remember what it was allowed: an hour, so that a changed list is in force soon.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// What stands before an endpoint whose answers have bodies of this type.
pub type Layer<B> = (MapResponseLayer<fn(Response<B>) -> Response<B>>, CorsLayer);

/// Lets pages of exactly these origins read answers and send credentials; `None` when there are none, so that nobody pays
/// for a layer that does nothing. No other origin is ever named in an answer.
#[must_use]
pub fn layer<B>(origins: &[HeaderValue]) -> Option<Layer<B>> {
    if origins.is_empty() {
        return None;
    }
    let listed = origins.to_vec();
    let credentials = AllowCredentials::predicate(move |origin, _| listed.contains(origin));
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_credentials(credentials)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            IF_NONE_MATCH,
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("prefer"),
            HeaderName::from_static("x-api-key"),
        ])
        .expose_headers([ETAG, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE, HeaderName::from_static("preference-applied")])
        .max_age(MAX_AGE);
    // No endpoint hears of a preflight, and so none gives it what every answer has.
    Some((MapResponseLayer::new(without_sniffing), layer))
}

fn without_sniffing<B>(mut response: Response<B>) -> Response<B> {
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
