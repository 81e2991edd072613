//! The results of a poll as a table for spreadsheets.

use std::fmt::Write as _;

use poem::Response;
use poem::http::{HeaderValue, StatusCode, header};

use super::types::PollBody;

/// The media type of an export.
pub(crate) const CSV: &str = "text/csv";

/// The table of a poll whose results are visible: a line for each option.
pub(crate) fn csv_response(poll: &PollBody) -> Response {
    let mut table = String::from("option_id,text,votes,share\r\n");
    for option in &poll.results.options {
        let (votes, share) = (option.votes.unwrap_or_default(), option.share.unwrap_or_default());
        // Writing to a string cannot fail.
        let _written = write!(table, "{},{},{votes},{share}\r\n", option.id, cell(&option.text));
    }
    let mut response = Response::builder().status(StatusCode::OK).body(table);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(disposition) = HeaderValue::try_from(format!("attachment; filename=\"poll-{}.csv\"", poll.id)) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}

/// A text as a cell of RFC 4180 that no spreadsheet runs as a formula.
fn cell(text: &str) -> String {
    // Spreadsheets also run what begins with a full-width form of these characters.
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let prefix = if is_formula { "'" } else { "" };
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{prefix}{}\"", text.replace('"', "\"\""))
    } else {
        format!("{prefix}{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn a_text_that_would_run_is_defused() {
        assert_eq!(cell("=1+1"), "'=1+1");
        assert_eq!(cell("@SUM(A1)"), "'@SUM(A1)");
        assert_eq!(cell("-2"), "'-2");
        assert_eq!(cell("＝1"), "'＝1");
        assert_eq!(cell("tea = good"), "tea = good");
    }

    #[test]
    fn separators_and_quotes_are_kept_together() {
        assert_eq!(cell("a,b"), "\"a,b\"");
        assert_eq!(cell("say \"hi\""), "\"say \"\"hi\"\"\"");
        assert_eq!(cell("=a,\"b\""), "\"'=a,\"\"b\"\"\"");
    }
}
