//! Embedded files, sent with an entity tag and under a policy that lets a page load nothing from elsewhere.

use std::sync::Arc;

use bytes::Bytes;
use poem::endpoint::make_sync;
use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use poem::{Request, Response, Route, RouteMethod};

use super::files::{File, PAGE, files};
use super::problem_page;
use crate::api::negotiation::has_current;
use crate::api::openapi_document;
use crate::fingerprint::fingerprint;

/// Where the page begins.
const HOME: &str = "/";
/// What is made when the server starts, or asked.
const MADE_PATHS: [&str; 3] = ["/openapi.json", "/asyncapi.json", "/problems/{name}"];
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

    fn of(file: &File) -> Self {
        Self::new(Bytes::from_static(file.bytes), media_type(file.source), file.policy)
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

/// The paths that are served here, for the `Allow` header.
pub(crate) fn page_paths() -> Vec<&'static str> {
    files().map(|file| file.path).chain(MADE_PATHS).collect()
}

/// The page at `/`, which the router does not find beside what is nested there.
pub(crate) fn home() -> RouteMethod {
    files().find(|file| file.path == HOME).map_or_else(RouteMethod::new, |file| served(Asset::of(file)))
}

/// Adds the pages to a route.
pub(crate) fn with_pages(route: Route) -> Route {
    let [document, live_document, problems] = MADE_PATHS;
    let made = route
        .at(document, served(Asset::new(openapi_document().into(), "application/json", PAGE)))
        .at(
            live_document,
            served(Asset::new(Bytes::from_static(include_bytes!("../../asyncapi.json")), "application/json", PAGE)),
        )
        .at(pattern(problems), poem::get(make_sync(|request| problem(&request))));
    files().filter(|file| file.path != HOME).fold(made, |route, file| route.at(pattern(file.path), served(Asset::of(file))))
}

/// A path as the router writes it.
fn pattern(path: &str) -> String {
    path.replace('{', ":").replace('}', "")
}

fn served(asset: Asset) -> RouteMethod {
    let asset = Arc::new(asset);
    poem::get(make_sync(move |request: Request| asset.respond(request.headers())))
}

fn problem(request: &Request) -> poem::Result<Response> {
    let name = request.raw_path_param("name").unwrap_or_default();
    let page = problem_page::page(name).ok_or(poem::error::NotFoundError)?;
    Ok(Asset::new(page.into(), "text/html; charset=utf-8", PAGE).respond(request.headers()))
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// A text that differs when the bytes differ: their fingerprints from both ends.
fn digest(bytes: &[u8]) -> String {
    format!("{:016x}{:016x}", fingerprint(bytes), fingerprint(bytes.iter().rev()))
}
