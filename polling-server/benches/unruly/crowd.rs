//! Those who misbehave, on a thread of their own.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

use super::support::watchers::{Watchers, connect};

/// Readers that are slow.
const SLOW: usize = 50;
/// Those who come at once.
const MANY: usize = 1_000;
/// Bytes that the system takes for a slow reader, so that it is the server that has to keep the rest.
const RECEIVE_BUFFER_BYTES: u32 = 4096;
/// How long a reader that has stopped stays: longer than the server waits for it. Then another takes its place.
const STOPPED_FOR: Duration = Duration::from_secs(8);

/// How they misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// There are none.
    Nobody,
    /// They stop reading.
    Stopped,
    /// They read a byte a second.
    Dripping,
    /// They connect and vanish, all at once.
    Vanishing,
    /// They come at once and go when they have seen the poll.
    Returning,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Nobody, Self::Stopped, Self::Dripping, Self::Vanishing, Self::Returning];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Stopped => "50 that stop reading",
            Self::Dripping => "50 that read a byte a second",
            Self::Vanishing => "1000 that connect at once and vanish",
            Self::Returning => "1000 that come back at once",
        }
    }

    /// Whether they come at a signal.
    pub(crate) const fn comes_at_once(self) -> bool {
        matches!(self, Self::Vanishing | Self::Returning)
    }
}

/// Dropping it sends them home.
pub(crate) struct Crowd {
    signals: Option<UnboundedSender<()>>,
    answers: UnboundedReceiver<()>,
    is_coming: bool,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Those of this kind; they say `hello` to the server.
    pub(crate) fn start(kind: Kind, server: SocketAddr, hello: String) -> Self {
        let ((signals, mut bursts), (done, answers)) = (unbounded_channel(), unbounded_channel());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            LocalSet::new().block_on(&runtime, async move {
                if matches!(kind, Kind::Stopped | Kind::Dripping) {
                    for _ in 0..SLOW {
                        tokio::task::spawn_local(be_slow(kind, server, hello.clone()));
                    }
                }
                while bursts.recv().await.is_some() {
                    come_at_once(kind, server, &hello).await;
                    // Nobody waits for those who come by themselves.
                    let _unheard = done.send(());
                }
            });
        });
        Self { signals: Some(signals), answers, is_coming: false, thread: Some(thread) }
    }

    /// Gives the signal, unless those who were called last are still coming.
    pub(crate) fn burst(&mut self) {
        if !self.is_coming() {
            self.signals.as_ref().expect("not dropped").send(()).expect("the crowd is there");
            self.is_coming = true;
        }
    }

    /// Whether some have not come yet who were called.
    pub(crate) fn is_coming(&mut self) -> bool {
        self.is_coming &= self.answers.try_recv().is_err();
        self.is_coming
    }

    /// Waits until all have come who were called.
    pub(crate) async fn wait(&mut self) {
        if self.is_coming {
            self.answers.recv().await.expect("the crowd is there");
            self.is_coming = false;
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.signals.take());
        self.thread.take().expect("not dropped").join().expect("no reader fails");
    }
}

async fn come_at_once(kind: Kind, server: SocketAddr, hello: &str) {
    match kind {
        Kind::Vanishing => {
            for _ in 0..MANY {
                // Gone before it has an answer.
                let mut stream = connect(server).await;
                stream.write_all(hello.as_bytes()).await.expect("the server takes it");
            }
        }
        Kind::Returning => {
            let mut watchers = Watchers::new();
            watchers.add(server, MANY, hello.as_bytes()).await;
            watchers.seen.wait_for(MANY as u64).await;
        }
        Kind::Nobody | Kind::Stopped | Kind::Dripping => {}
    }
}

async fn be_slow(kind: Kind, server: SocketAddr, hello: String) {
    loop {
        let mut stream = connect_with_little_room(server).await;
        stream.write_all(hello.as_bytes()).await.expect("the server takes it");
        if kind == Kind::Stopped {
            tokio::time::sleep(STOPPED_FOR).await;
            continue;
        }
        // Until the server has had enough.
        while stream.read_u8().await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn connect_with_little_room(server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).expect("taken");
    socket.connect(server).await.expect("the server listens")
}
