//! A proxy in front of the server that cuts a connection at a moment of the test's choice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What of the next transaction gets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The COMMIT reaches the server, and its answer does not reach the client.
    AfterCommit,
    /// The COMMIT does not reach the server.
    BeforeCommit,
}

/// Forwards to the server, until told to cut.
pub(crate) struct Proxy {
    address: SocketAddr,
    after_commit: Arc<AtomicBool>,
    before_commit: Arc<AtomicBool>,
    accepting: AbortHandle,
}

/// How the program asks to commit: the message that executes the prepared statement carries no text, so the one that prepares
/// it is looked for, which a new connection always sends.
const COMMIT: &[u8] = b"COMMIT\0";

impl Proxy {
    /// A proxy for the server at this address.
    pub(crate) async fn to(server: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("it has an address");
        let (after_commit, before_commit) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let cuts = (Arc::clone(&after_commit), Arc::clone(&before_commit));
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let upstream = TcpStream::connect(&server).await.expect("the server is there");
                tokio::spawn(forward(client, upstream, cuts.0.clone(), cuts.1.clone()));
            }
        });
        Self { address, after_commit, before_commit, accepting: accepting.abort_handle() }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts the next connection that commits for the first time.
    pub(crate) fn cut(&self, cut: Cut) {
        let flag = if cut == Cut::AfterCommit { &self.after_commit } else { &self.before_commit };
        flag.store(true, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn forward(client: TcpStream, server: TcpStream, after_commit: Arc<AtomicBool>, before_commit: Arc<AtomicBool>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let answers = tokio::spawn(copy(from_server, to_client));
    requests(from_client, to_server, answers.abort_handle(), &after_commit, &before_commit).await;
    drop(answers.await);
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    drop(tokio::io::copy(&mut from, &mut to).await);
}

/// Forwards what the client says. The driver prepares COMMIT in one exchange and executes it in the next.
async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    answers: AbortHandle,
    after_commit: &AtomicBool,
    before_commit: &AtomicBool,
) {
    let (mut bytes, mut is_prepared) = (vec![0; 64 * 1024], false);
    loop {
        let Ok(read @ 1..) = from.read(&mut bytes).await else { return };
        let said = &bytes[..read];
        if is_prepared && before_commit.swap(false, Ordering::SeqCst) {
            answers.abort();
            return;
        }
        if is_prepared && after_commit.swap(false, Ordering::SeqCst) {
            // First nobody passes answers on any more, then the server is asked to commit.
            answers.abort();
            drop(to.write_all(said).await);
            return;
        }
        is_prepared |= said.windows(COMMIT.len()).any(|window| window == COMMIT);
        if to.write_all(said).await.is_err() {
            return;
        }
    }
}
