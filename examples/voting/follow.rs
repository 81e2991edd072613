//! A live socket that is followed, and opened again whenever it ends.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use polling_core::retry::Pauses;
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
            pauses.reset();
            while let Some(Ok(message)) = socket.next().await {
                if let Message::Text(text) = message {
                    take(Followed::Frame(&text));
                }
            }
        }
        tokio::time::sleep(pauses.next_pause().min(OPEN_AGAIN_MAX)).await;
    }
}
