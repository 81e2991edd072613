//! Bodies of requests: read up to a bound, and only under the media type of JSON.

use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Body;
use mime::Mime;
use poem::http::{HeaderMap, header};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::answer::JSON;
use super::problem::Problem;
use super::problem_kind::ProblemKind;

/// Bytes of a vote, at most: a hundred choices, a voter id of 128 characters and a vote id need less than 1 KiB unless escaped.
pub(crate) const VOTE_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a poll, at most: a hundred options of two hundred characters, each of up to four bytes, and some room.
pub(crate) const POLL_BYTES_MAX: usize = 128 * 1024;
/// Bytes of a batch of votes, at most: a thousand votes of a kilobyte.
pub(crate) const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// The bytes of a body that is to be JSON like `T`, of at most `BYTES_MAX` bytes. Whether they are is for the handler to find
/// out, because it names everything that is wrong at once.
pub(crate) struct JsonBody<T, const BYTES_MAX: usize> {
    /// What came.
    pub(crate) bytes: Bytes,
    described: PhantomData<fn() -> T>,
}

impl<'a, T: Type, const BYTES_MAX: usize> ApiExtractor<'a> for JsonBody<T, BYTES_MAX> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![MetaMediaType { content_type: JSON, schema: T::schema_ref() }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        let body: BoxBody<Bytes, std::io::Error> = body.take()?.into();
        let bytes = read_json_bytes(request.headers(), body, BYTES_MAX).await?;
        Ok(Self { bytes, described: PhantomData })
    }
}

/// Reads a body that is declared to be JSON and has at most `bytes_max` bytes; beyond the bound it stops reading.
pub(crate) async fn read_json_bytes<B>(headers: &HeaderMap, body: B, bytes_max: usize) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes>,
{
    if !is_json(headers) {
        return Err(Problem::new(ProblemKind::UnsupportedMediaType));
    }
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    let mut body = std::pin::pin!(body);
    let mut gathered = BytesMut::new();
    let mut first = Bytes::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::with_detail(ProblemKind::InvalidJson, "the body ended before its end"))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + gathered.len() + data.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        // A small body comes in one frame, which needs no copy.
        if first.is_empty() && gathered.is_empty() {
            first = data;
        } else {
            gathered.extend_from_slice(&std::mem::take(&mut first));
            gathered.extend_from_slice(&data);
        }
    }
    Ok(if gathered.is_empty() { first } else { gathered.freeze() })
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::with_detail(ProblemKind::TooLarge, format!("The body may have at most {bytes_max} bytes."))
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else { return false };
    if content_type.as_bytes() == JSON.as_bytes() {
        return true;
    }
    let Some(media_type) = content_type.to_str().ok().and_then(|text| text.parse::<Mime>().ok()) else { return false };
    let charset_fits = media_type.get_param(mime::CHARSET).is_none_or(|charset| charset == mime::UTF_8);
    media_type.essence_str() == JSON && charset_fits
}
