//! Embedded files, sent with an entity tag and under a policy that lets a page load nothing from elsewhere.

use std::sync::Arc;

use bytes::Bytes;
use poem::endpoint::make_sync;
use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use poem::{Request, Response, Route, RouteMethod};

use super::problem_page;
use crate::api::negotiation::has_current;
use crate::api::openapi_document;
use crate::fingerprint::fingerprint;

/// The paths that are served here, for the `Allow` header.
pub(crate) const ASSET_PATHS: [&str; 12] = [
    "/",
    "/page.css",
    "/page.js",
    "/favicon.svg",
    "/openapi.json",
    "/asyncapi.json",
    "/docs",
    "/docs/init.js",
    "/docs/page.css",
    "/docs/swagger-ui.css",
    "/docs/swagger-ui-bundle.js",
    "/problems/{name}",
];

/// Nothing from elsewhere, and no script or style within the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Swagger UI draws its icons from data addresses and sets styles on its elements.
const POLICY_OF_DOCS: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                              connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The entity tag tells when a file has changed, so it may be kept but must be asked for.
const CACHING: &str = "no-cache";

/// A file that is ready to be sent.
struct Asset {
    bytes: Bytes,
    media_type: HeaderValue,
    etag: String,
    policy: HeaderValue,
}

impl Asset {
    fn new(bytes: Bytes, media_type: &'static str, policy: &'static str) -> Self {
        let etag = format!("\"{}\"", digest(&bytes));
        let (media_type, policy) = (HeaderValue::from_static(media_type), HeaderValue::from_static(policy));
        Self { bytes, media_type, etag, policy }
    }

    fn respond(&self, headers: &HeaderMap) -> Response {
        let is_current = has_current(headers, &self.etag);
        let mut response = if is_current {
            Response::builder().status(StatusCode::NOT_MODIFIED).finish()
        } else {
            Response::builder().status(StatusCode::OK).body(self.bytes.clone())
        };
        let to = response.headers_mut();
        if !is_current {
            to.insert(header::CONTENT_TYPE, self.media_type.clone());
        }
        if let Ok(etag) = HeaderValue::from_str(&self.etag) {
            to.insert(header::ETAG, etag);
        }
        to.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHING));
        to.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        to.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}

/// The page at `/`.
pub(crate) fn home() -> RouteMethod {
    served(own(include_bytes!("assets/index.html"), "index.html", POLICY))
}

/// Adds the pages to a route.
pub(crate) fn with_pages(route: Route) -> Route {
    let document = Asset::new(openapi_document().into(), "application/json", POLICY);
    let live_document = Asset::new(Bytes::from_static(include_bytes!("../../asyncapi.json")), "application/json", POLICY);
    route
        .at("/page.css", served(own(include_bytes!("assets/page.css"), "page.css", POLICY)))
        .at("/page.js", served(own(include_bytes!("assets/page.js"), "page.js", POLICY)))
        .at("/favicon.svg", served(own(include_bytes!("assets/favicon.svg"), "favicon.svg", POLICY)))
        .at("/openapi.json", served(document))
        .at("/asyncapi.json", served(live_document))
        .at("/docs", served(own(include_bytes!("assets/docs.html"), "docs.html", POLICY_OF_DOCS)))
        .at("/docs/init.js", served(own(include_bytes!("assets/docs.js"), "docs.js", POLICY_OF_DOCS)))
        .at("/docs/page.css", served(own(include_bytes!("assets/docs.css"), "docs.css", POLICY_OF_DOCS)))
        .at(
            "/docs/swagger-ui.css",
            served(own(include_bytes!("vendor/swagger-ui/swagger-ui.css"), "swagger-ui.css", POLICY_OF_DOCS)),
        )
        .at(
            "/docs/swagger-ui-bundle.js",
            served(own(include_bytes!("vendor/swagger-ui/swagger-ui-bundle.js"), "swagger-ui-bundle.js", POLICY_OF_DOCS)),
        )
        .at("/problems/:name", poem::get(make_sync(|request| problem(&request))))
}

fn served(asset: Asset) -> RouteMethod {
    let asset = Arc::new(asset);
    poem::get(make_sync(move |request: Request| asset.respond(request.headers())))
}

fn problem(request: &Request) -> poem::Result<Response> {
    let name = request.raw_path_param("name").unwrap_or_default();
    let page = problem_page::page(name).ok_or(poem::error::NotFoundError)?;
    Ok(Asset::new(page.into(), "text/html; charset=utf-8", POLICY).respond(request.headers()))
}

/// A file that is part of the program.
fn own(bytes: &'static [u8], name: &str, policy: &'static str) -> Asset {
    Asset::new(Bytes::from_static(bytes), media_type(name), policy)
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// A text that differs when the bytes differ: their fingerprints from both ends.
fn digest(bytes: &[u8]) -> String {
    format!("{:016x}{:016x}", fingerprint(bytes), fingerprint(bytes.iter().rev()))
}
