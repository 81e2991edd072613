//! A live socket that is followed, and opened again whenever it ends.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use polling_core::retry::Pauses;
use serde::Deserialize;
use tokio_tungstenite::tungstenite::Message;

/// The longest pause before a socket is opened again: a server that comes back is watched at once.
const OPEN_AGAIN_MAX: Duration = Duration::from_secs(1);

/// What comes through a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed<'a> {
    /// It was opened, for the first time or again.
    Opened,
    /// A frame.
    Frame(&'a str),
}

/// Opens a socket, says what to watch, and hands on what comes; for ever.
///
/// # Cancellation
///
/// The socket is closed.
pub async fn follow(url: &str, subscription: &str, mut take: impl FnMut(Followed<'_>)) {
    let mut pauses = Pauses::default();
    loop {
        // Boxed, because the future of a handshake is large.
        if let Ok((mut socket, _)) = Box::pin(tokio_tungstenite::connect_async(url)).await
            && socket.send(Message::text(subscription)).await.is_ok()
        {
            take(Followed::Opened);
            while let Some(Ok(message)) = socket.next().await {
                if let Message::Text(text) = message {
                    take(Followed::Frame(&text));
                    // What it could not show it has forgotten.
                    if is_unavailable(&text) {
                        break;
                    }
                    pauses.reset();
                }
            }
        }
        tokio::time::sleep(pauses.next_pause().min(OPEN_AGAIN_MAX)).await;
    }
}

/// Whether the server says that it cannot show something now.
fn is_unavailable(frame: &str) -> bool {
    #[derive(Deserialize)]
    struct Trouble {
        status: u16,
    }
    // Frames begin with their type, and those of results are not read for this.
    frame.starts_with(r#"{"type":"error""#) && serde_json::from_str(frame).is_ok_and(|Trouble { status }| status == 503)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_shown_later_is_unavailable() {
        assert!(is_unavailable(r#"{"type":"error","problem":"/problems/unavailable","title":"Not now","status":503}"#));
        assert!(!is_unavailable(r#"{"type":"error","problem":"/problems/poll-not-found","title":"No such poll","status":404}"#));
        assert!(!is_unavailable(r#"{"type":"results","status":503}"#));
    }
}
