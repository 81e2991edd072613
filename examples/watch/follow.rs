//! The socket: opened, read, and opened again.

use futures_util::{FutureExt, SinkExt, StreamExt};
use polling_core::retry::Pauses;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::draw::Screen;
use crate::frame::Frame;
use crate::state::State;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Shows what comes, for ever. After the socket ended it is opened again, each time after a longer pause, and not after the same as
/// everybody else's: all clients of a server that stops lose it at once.
pub(crate) async fn follow(url: &str, mut state: State, mut screen: Screen) {
    let mut pauses = Pauses::default();
    loop {
        match open(url, &state).await {
            Ok(socket) => {
                state.trouble = None;
                read(socket, &mut state, &mut screen, &mut pauses).await;
                state.trouble = Some("the connection was lost, and is made again".to_owned());
            }
            Err(error) => state.trouble = Some(error.to_string()),
        }
        screen.draw(&state);
        tokio::time::sleep(pauses.next_pause()).await;
    }
}

/// Opens the socket and says what to watch. It begins with a snapshot of each, and what is not newer than what is shown is left out.
async fn open(url: &str, state: &State) -> Result<Socket, tungstenite::Error> {
    // Boxed, because the future of a handshake is large.
    let (mut socket, _) = Box::pin(connect_async(url)).await?;
    ask(&mut socket, state).await?;
    Ok(socket)
}

/// Says what to watch. Of what is watched already nothing comes again.
async fn ask(socket: &mut Socket, state: &State) -> Result<(), tungstenite::Error> {
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

/// Shows what comes until the socket ends. What the server cannot show now is asked for again after a pause.
async fn read(mut socket: Socket, state: &mut State, screen: &mut Screen, pauses: &mut Pauses) {
    let mut refusals = Pauses::default();
    let mut asks_again: Option<Instant> = None;
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            () = sleep_until(asks_again.unwrap_or_else(Instant::now)), if asks_again.is_some() => {
                asks_again = None;
                if ask(&mut socket, state).await.is_err() {
                    return;
                }
                continue;
            }
        };
        let Some(Ok(message)) = message else { return };
        let mut next = Some(message);
        // What has come together is drawn once.
        while let Some(message) = next {
            if let Message::Text(text) = message
                && let Ok(frame) = serde_json::from_str::<Frame>(&text)
            {
                if frame.is_refusal() {
                    asks_again = asks_again.or_else(|| Some(Instant::now() + refusals.next_pause()));
                } else {
                    refusals.reset();
                }
                state.take(frame);
                pauses.reset();
            }
            next = socket.next().now_or_never().flatten().and_then(Result::ok);
        }
        screen.draw(state);
    }
}
