//! Somebody who watches a live socket.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::client::Client;
use crate::wait::soon;

/// A socket, and the last frame that came through it; closed when dropped.
pub(crate) struct Watcher {
    latest: watch::Receiver<Seen>,
    reading: AbortHandle,
}

/// The last frame, or why there will be none.
type Seen = Result<Value, String>;

impl Watcher {
    /// Opens a socket and waits for its first frame.
    pub(crate) async fn open(server: &Client, path: &str) -> Self {
        let url = format!("ws://{}{path}", server.address());
        let (mut socket, _) = soon("a socket is opened", connect_async(url)).await.expect("the socket is opened");
        let first = frame(&mut socket).await.expect("the first frame");
        let (sender, latest) = watch::channel(Ok(first));
        let reading = tokio::spawn(read(socket, sender)).abort_handle();
        Self { latest, reading }
    }

    /// Waits for a frame like this.
    pub(crate) async fn sees(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let mut latest = self.latest.clone();
        let fits = |seen: &Seen| seen.as_ref().is_ok_and(&is_it) || seen.is_err();
        let waited = tokio::time::timeout(crate::wait::SOON, latest.wait_for(fits)).await;
        match waited {
            Ok(seen) => seen.expect("the watcher reads").clone().unwrap_or_else(|error| panic!("{what}: {error}")),
            Err(_) => panic!("{what} is not seen, but {:?}", self.latest.borrow()),
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn frame(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) -> Result<Value, String> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).map_err(|error| error.to_string()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            other => return Err(format!("the socket ended: {other:?}")),
        }
    }
}

/// Reads frames, each of which must be newer than the one before.
async fn read(mut socket: WebSocketStream<MaybeTlsStream<TcpStream>>, latest: watch::Sender<Seen>) {
    let mut versions = BTreeMap::new();
    loop {
        let seen = frame(&mut socket).await.and_then(|frame| {
            let version = (frame["epoch"].as_u64().unwrap_or(0), frame["version"].as_u64().unwrap_or(0));
            let before = versions.insert(frame["poll_id"].to_string(), version);
            if before < Some(version) { Ok(frame) } else { Err(format!("after {before:?} came {frame}")) }
        });
        let is_over = seen.is_err();
        let _former = latest.send_replace(seen);
        if is_over {
            return;
        }
    }
}
