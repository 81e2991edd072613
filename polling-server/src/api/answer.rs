//! Answers, and how each operation describes the ones it gives.

use std::marker::PhantomData;

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use serde::Serialize;
use serde_json::json;

use super::problem::{PROBLEM_MEDIA_TYPE, Problem};
use super::problem_kind::ProblemKind;
use super::problem_schema::ProblemDocument;

/// The media type of bodies, without the charset that JSON does not have and that breaks client generators.
pub(crate) const JSON: &str = "application/json";

/// What an operation answers, for the API document: a type without values for each operation.
pub(crate) trait Described: Send + Sync + 'static {
    /// The problems it may answer with, beside those that every operation has.
    const PROBLEMS: &'static [ProblemKind];

    /// The answers that are not problems.
    fn answers() -> Vec<MetaResponse>;

    /// Registers the schemas that the answers refer to.
    fn register(registry: &mut Registry);
}

/// The answer of the operation that `D` describes.
pub(crate) struct Answer<D>(Response, PhantomData<fn() -> D>);

impl<D> From<Result<Response, Problem>> for Answer<D> {
    fn from(result: Result<Response, Problem>) -> Self {
        Self(result.unwrap_or_else(Problem::into_response), PhantomData)
    }
}

impl<D: Send> IntoResponse for Answer<D> {
    fn into_response(self) -> Response {
        self.0
    }
}

impl<D: Described> ApiResponse for Answer<D> {
    fn meta() -> MetaResponses {
        let mut responses = D::answers();
        // Problems of one status are one response of the document, because a status is a key in it.
        let mut kinds: Vec<ProblemKind> =
            D::PROBLEMS.iter().copied().chain([ProblemKind::RateLimited, ProblemKind::Internal]).collect();
        kinds.sort_by_key(|kind| kind.facts().status);
        kinds.dedup();
        responses.extend(
            kinds
                .chunk_by(|left, right| left.facts().status == right.facts().status)
                .map(|same_status| problem_response(same_status[0].facts().status, same_status)),
        );
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        D::register(registry);
        ProblemDocument::register(registry);
    }
}

fn problem_response(status: StatusCode, kinds: &[ProblemKind]) -> MetaResponse {
    // The document's last step reads this list back and adds an example for each.
    let types = kinds.iter().map(|kind| json!(format!("/problems/{}", kind.facts().name))).collect();
    let problem_type = MetaSchema { enum_items: types, ..MetaSchema::new("string") };
    let schema = MetaSchema {
        all_of: vec![ProblemDocument::schema_ref()],
        properties: vec![("type", MetaSchemaRef::Inline(Box::new(problem_type)))],
        ..MetaSchema::new("object")
    };
    let response = MetaResponse {
        description: status.canonical_reason().unwrap_or_default(),
        status: Some(status.as_u16()),
        status_range: None,
        content: vec![MetaMediaType { content_type: PROBLEM_MEDIA_TYPE, schema: MetaSchemaRef::Inline(Box::new(schema)) }],
        headers: Vec::new(),
    };
    match status {
        StatusCode::UNAUTHORIZED => with_header(response, "WWW-Authenticate", "`Bearer`"),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            with_header(response, "Retry-After", "Seconds to wait before the next attempt")
        }
        _ => response,
    }
}

/// An answer without a body.
pub(crate) const fn described_empty(status: StatusCode, description: &'static str) -> MetaResponse {
    MetaResponse { description, status: Some(status.as_u16()), status_range: None, content: Vec::new(), headers: Vec::new() }
}

/// An answer with a body of JSON.
pub(crate) fn described<T: Type>(status: StatusCode, description: &'static str) -> MetaResponse {
    let content = vec![MetaMediaType { content_type: JSON, schema: T::schema_ref() }];
    MetaResponse { content, ..described_empty(status, description) }
}

/// The same answer with a header that a client may rely on.
pub(crate) fn with_header(mut response: MetaResponse, name: &str, description: &str) -> MetaResponse {
    response.headers.push(MetaHeader {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        required: false,
        deprecated: false,
        schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new("string"))),
    });
    response
}

/// A body of JSON that nobody may use again without asking.
pub(crate) fn json_response(status: StatusCode, body: &impl Serialize) -> Result<Response, Problem> {
    let mut bytes = Vec::new();
    append_json(&mut bytes, body)?;
    Ok(json_bytes_response(status, bytes))
}

/// The same of a body that is JSON already.
pub(crate) fn json_bytes_response(status: StatusCode, bytes: Vec<u8>) -> Response {
    let mut response = Response::builder().status(status).body(bytes);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Writes a value behind what was written before.
pub(crate) fn append_json(bytes: &mut Vec<u8>, value: &impl Serialize) -> Result<(), Problem> {
    serde_json::to_writer(bytes, value).map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "an answer could not be written");
        Problem::new(ProblemKind::Internal)
    })
}
