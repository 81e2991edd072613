//! One connection through a proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::way::{Cut, Rules, Way};
use super::wire::Messages;

/// How much is read at once.
const PIECE_BYTES: usize = 64 * 1024;
/// How long the server is heard out after a request whose answer is lost, so that it has done what it was asked.
const HEARD_OUT: Duration = Duration::from_millis(100);

/// Forwards one connection until it ends or is cut.
pub(super) async fn pass(client: TcpStream, server: Arc<str>, rules: Arc<Rules>) {
    let Ok(server) = TcpStream::connect(&*server).await else { return };
    // Small packets that somebody waits for.
    let _best_effort = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let mut ways = rules.way.subscribe();
    let is_lost = AtomicBool::new(false);
    let is_refused = async { drop(ways.wait_for(|way| *way == Way::Refused).await) };
    tokio::select! {
        () = is_refused => {}
        () = requests(from_client, to_server, &rules, &is_lost) => {}
        () = answers(from_server, to_client, rules.way.subscribe(), &is_lost) => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, rules: &Rules, is_lost: &AtomicBool) {
    let mut piece = vec![0; PIECE_BYTES];
    let mut messages = Messages::new(rules.protocol);
    let mut ways = rules.way.subscribe();
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        if !passes(&mut ways, |way| way != Way::Silent).await {
            return;
        }
        let cut = if messages.take(&piece[..read]) { rules.decide() } else { None };
        if cut == Some(Cut::Request) {
            return;
        }
        if cut.is_some() {
            // Before the request is on its way, so that no answer can overtake it.
            is_lost.store(true, Ordering::Release);
        }
        if to.write_all(&piece[..read]).await.is_err() {
            return;
        }
        if cut.is_some() {
            tokio::time::sleep(HEARD_OUT).await;
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut ways: watch::Receiver<Way>, is_lost: &AtomicBool) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        if !passes(&mut ways, |way| !matches!(way, Way::Silent | Way::AnswersHeld)).await {
            return;
        }
        if !is_lost.load(Ordering::Acquire) && to.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
}

/// Waits until the way is passable; false when the proxy is gone.
async fn passes(ways: &mut watch::Receiver<Way>, is_passable: impl Fn(Way) -> bool) -> bool {
    let Ok(way) = ways.wait_for(|way| is_passable(*way)).await.map(|way| *way) else { return false };
    if let Way::Slow(delay) = way {
        tokio::time::sleep(delay).await;
    }
    true
}
