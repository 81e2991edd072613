//! What a client says about the answer it wants: `Accept`, `Prefer`, `If-None-Match`.

use std::time::Duration;

use poem::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::problem::Problem;
use super::problem_kind::ProblemKind;

/// The longest wait that a client can ask for: shorter than the patience of common proxies.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(30);
/// `Prefer` of RFC 7240.
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
/// `Preference-Applied` of RFC 7240.
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Refuses a request that takes no answer of this media type.
pub(crate) fn require_acceptable(headers: &HeaderMap, media_type: &str) -> Result<(), Problem> {
    // What most clients send is told apart without reading it in full.
    let is_usual = |value: &HeaderValue| value.as_bytes() == b"*/*" || value.as_bytes() == media_type.as_bytes();
    let mut values = headers.get_all(header::ACCEPT).iter();
    if values.next().is_none_or(is_usual) && values.next().is_none() {
        return Ok(());
    }
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = values.flat_map(|value| value.split(',')).map(str::trim).filter(|range| !range.is_empty()).peekable();
    if ranges.peek().is_none() {
        return Ok(());
    }
    // The most specific range that matches decides, whatever the order.
    let mut decided: Option<(u8, bool)> = None;
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let pattern = parts.next().unwrap_or_default();
        let Some(specificity) = specificity(pattern, media_type) else { continue };
        let refused = parts.any(|parameter| {
            let quality = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
            quality.is_some_and(|quality| quality.trim().parse::<f32>().is_ok_and(|quality| quality <= 0.0))
        });
        if decided.is_none_or(|(best, _)| specificity > best) {
            decided = Some((specificity, !refused));
        }
    }
    if decided.is_some_and(|(_, accepted)| accepted) { Ok(()) } else { Err(Problem::new(ProblemKind::NotAcceptable)) }
}

/// How closely a media range fits; `None` when it does not.
fn specificity(pattern: &str, media_type: &str) -> Option<u8> {
    if pattern.eq_ignore_ascii_case(media_type) {
        Some(2)
    } else if pattern == "*/*" {
        Some(0)
    } else {
        let (kind, subtype) = pattern.split_once('/')?;
        let (wanted_kind, _) = media_type.split_once('/')?;
        (subtype == "*" && kind.eq_ignore_ascii_case(wanted_kind)).then_some(1)
    }
}

/// For how long the client prefers to wait for an outcome, at most [`WAIT_MAX`]. What cannot be read is no preference.
pub(crate) fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let wait = values.flat_map(|value| value.split(',')).find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
    })?;
    // A number beyond any integer is still more than the maximum.
    let is_number = !wait.is_empty() && wait.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| wait.parse::<u64>().map_or(WAIT_MAX, Duration::from_secs).min(WAIT_MAX))
}

/// Whether the client has what carries this strong entity tag, so that 304 is enough.
pub(crate) fn has_current(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).any(|tag| {
        // If-None-Match compares weakly (RFC 9110, section 13.1.2).
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_most_specific_range_decides() {
        for accept in
            ["*/*", "application/*", "application/json", "text/html, application/json;q=0.1", "text/html;q=1, */*;q=0.5"]
        {
            assert!(require_acceptable(&headers(&header::ACCEPT, &[accept]), "application/json").is_ok(), "{accept}");
        }
        for accept in ["text/html", "application/json;q=0", "*/*, application/json; q=0.0", "application/xml, text/*"] {
            assert!(require_acceptable(&headers(&header::ACCEPT, &[accept]), "application/json").is_err(), "{accept}");
        }
        let both = headers(&header::ACCEPT, &["*/*", "application/json;q=0"]);
        assert!(require_acceptable(&both, "application/json").is_err());
        assert!(require_acceptable(&headers(&header::ACCEPT, &[""]), "application/json").is_ok());
        assert!(require_acceptable(&HeaderMap::new(), "application/json").is_ok());
    }

    #[test]
    fn a_preferred_wait_is_read_and_bounded() {
        let wait = |values: &[&'static str]| preferred_wait(&headers(&PREFER, values)).map(|wait| wait.as_secs());
        assert_eq!(wait(&["wait=5"]), Some(5));
        assert_eq!(wait(&["respond-async, wait=0"]), Some(0));
        assert_eq!(wait(&["respond-async", "Wait = \"7\""]), Some(7));
        assert_eq!(wait(&["wait=31"]), Some(30));
        assert_eq!(wait(&["wait=99999999999999999999999"]), Some(30));
        for nonsense in ["wait", "wait=", "wait=-1", "wait=soon", "waiting=4"] {
            assert_eq!(wait(&[nonsense]), None, "{nonsense}");
        }
    }

    #[test]
    fn a_known_tag_is_found_in_a_list() {
        let has = |value| has_current(&headers(&header::IF_NONE_MATCH, &[value]), "\"1.2\"");
        assert!(has("\"1.2\"") && has("W/\"1.2\"") && has("\"0\", \"1.2\"") && has("*"));
        assert!(!has("\"1.1\"") && !has("1.2") && !has(""));
    }
}
