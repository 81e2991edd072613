//! The socket: opened, read, and opened again.

use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use polling_core::retry::Pauses;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::TIMEOUT;
use crate::comeback::Comeback;
use crate::draw::Screen;
use crate::frame::Frame;
use crate::state::State;

/// How long a server may be silent, which pings every 25 s: after that the socket leads nowhere, although nobody said that it ended.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Shows what comes, for ever. A socket that ended is opened again.
pub(crate) async fn follow(url: &str, mut state: State, mut screen: Screen) {
    let mut comeback = Comeback::default();
    loop {
        let (mut open_for, mut reason) = (Duration::ZERO, None);
        match timeout(TIMEOUT, open(url, &state)).await {
            Ok(Ok(socket)) => {
                let opened = Instant::now();
                state.trouble = None;
                reason = read(socket, &mut state, &mut screen).await;
                open_for = opened.elapsed();
                state.trouble = Some("the connection was lost, and is made again".to_owned());
            }
            Ok(Err(error)) => state.trouble = Some(error.to_string()),
            Err(_) => state.trouble = Some("the server does not answer".to_owned()),
        }
        screen.draw(&state);
        tokio::time::sleep(comeback.pause(open_for, reason.as_deref())).await;
    }
}

/// Opens the socket and says what to watch. It begins with a snapshot of each, and what is not newer than what is shown is left out.
async fn open(url: &str, state: &State) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, tungstenite::Error> {
    // Boxed, because the future of a handshake is large.
    let (mut socket, _) = Box::pin(connect_async(url)).await?;
    ask(&mut socket, state).await?;
    Ok(socket)
}

/// Says what to watch. Of what is watched already nothing comes again.
async fn ask<S>(socket: &mut WebSocketStream<S>, state: &State) -> Result<(), tungstenite::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let polls: Vec<String> = state.polls.iter().map(|poll| poll.id.to_string()).collect();
    // A message has at most 4096 bytes, and a poll takes 39.
    for (polls, is_first) in polls.chunks(90).zip(std::iter::once(true).chain(std::iter::repeat(false))) {
        let wish = json!({ "subscribe": polls, "leaderboard": is_first.then_some(state.board.is_some()) });
        socket.send(Message::text(wish.to_string())).await?;
    }
    if polls.is_empty() {
        socket.send(Message::text(json!({ "leaderboard": true }).to_string())).await?;
    }
    Ok(())
}

/// Shows what comes until the socket ends; answers the reason, if one was given. What the server cannot show now is asked for again
/// after a pause.
async fn read<S>(mut socket: WebSocketStream<S>, state: &mut State, screen: &mut Screen) -> Option<Utf8Bytes>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut refusals = Pauses::default();
    let mut asks_again: Option<Instant> = None;
    loop {
        let heard = tokio::select! {
            heard = hear(&mut socket) => heard,
            () = sleep_until(asks_again.unwrap_or_else(Instant::now)), if asks_again.is_some() => {
                asks_again = None;
                if ask(&mut socket, state).await.is_err() {
                    return None;
                }
                continue;
            }
        };
        let mut next = Some(heard);
        // What has come together is drawn once.
        while let Some(heard) = next {
            let message = match heard {
                Ok(message) => message,
                Err(reason) => return reason,
            };
            if let Message::Text(text) = message
                && let Ok(frame) = serde_json::from_str::<Frame>(&text)
            {
                if frame.is_refusal() {
                    asks_again = asks_again.or_else(|| Some(Instant::now() + refusals.next_pause()));
                } else {
                    refusals.reset();
                }
                state.take(frame);
            }
            next = hear(&mut socket).now_or_never();
        }
        screen.draw(state);
    }
}

/// What comes next, pings included, which tell that the server is there; the reason, if one was given, when nothing will.
async fn hear<S>(socket: &mut WebSocketStream<S>) -> Result<Message, Option<Utf8Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match timeout(SILENCE_MAX, socket.next()).await {
        Ok(Some(Ok(Message::Close(close)))) => Err(close.map(|close| close.reason)),
        Ok(Some(Ok(message))) => Ok(message),
        Ok(Some(Err(_)) | None) | Err(_) => Err(None),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
    use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

    use super::*;

    /// Longer than any client waits.
    const FOR_EVER: Duration = Duration::from_secs(3600);

    /// A server, and the client that reads from it; it tells how long that took, and the reason for the end.
    async fn pair() -> (WebSocketStream<DuplexStream>, impl Future<Output = (Duration, Option<Utf8Bytes>)>) {
        let (near, far) = duplex(4096);
        let server = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
        let client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        let reading = async {
            let (began, mut state) = (Instant::now(), crate::state::tests::state());
            let reason = timeout(FOR_EVER, read(client, &mut state, &mut Screen::new())).await.expect("it ends");
            (began.elapsed(), reason)
        };
        (server, reading)
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_ping_any_more_is_given_up() {
        let (mut server, reading) = pair().await;
        let pinging = async {
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_secs(25)).await;
                server.send(Message::Ping(Vec::new().into())).await.expect("taken");
            }
        };
        let ((), (lasted, reason)) = tokio::join!(pinging, reading);
        assert_eq!((lasted.as_secs(), reason), (160, None));
    }

    #[tokio::test(start_paused = true)]
    async fn the_reason_is_heard_that_comes_right_behind_a_frame() {
        let (mut server, reading) = pair().await;
        let reason = Utf8Bytes::from("the server is stopping; retry: 1234");
        server.feed(Message::text(crate::state::tests::results(1, [1, 0]).to_string())).await.expect("taken");
        let close = CloseFrame { code: CloseCode::Restart, reason: reason.clone() };
        server.send(Message::Close(Some(close))).await.expect("taken");
        assert_eq!(reading.await.1, Some(reason));
    }
}
