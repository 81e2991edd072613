//! What became of a vote.

use hyper::{Method, StatusCode};
use serde::Deserialize;

use crate::Failure;
use crate::client::Connection;
use crate::polls::{no_answer, unexpected};

#[derive(Deserialize)]
struct Body {
    status: String,
}

/// Asks for the status behind a receipt: `pending`, or the outcome.
///
/// # Errors
///
/// No answer came, or another one than a status.
pub async fn look_up(connection: &mut Connection, receipt: &str) -> Result<String, Failure> {
    let what = "GET /receipts/{receipt}";
    let uri = connection.target().path(&format!("/receipts/{receipt}"))?;
    let answer = connection.send(Method::GET, uri, None).await.map_err(|broken| no_answer(what, &broken))?;
    if answer.status != StatusCode::OK {
        return Err(unexpected(what, &answer));
    }
    let body: Body = serde_json::from_slice(&answer.body).map_err(|_| unexpected(what, &answer))?;
    Ok(body.status)
}
