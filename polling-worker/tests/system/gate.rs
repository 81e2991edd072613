//! A way to a server that a test can hold or shut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::wait::{eventually, soon};

/// What gets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Connections stay, and what clients say waits.
    Held,
    /// Connections are cut, and new ones refused.
    Shut,
}

/// Between two attempts to have an address again.
const BIND_AGAIN: Duration = Duration::from_millis(20);

/// Forwards connections to a server.
pub(crate) struct Gate {
    address: SocketAddr,
    way: watch::Sender<Way>,
    held: watch::Sender<bool>,
    forwarding: AbortHandle,
}

impl Gate {
    /// An open gate to the server at this address.
    pub(crate) async fn to(server: &str) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), server, Way::Open).await
    }

    /// A gate that nobody can tell from a server that is not there.
    pub(crate) async fn shut(server: &str) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), server, Way::Shut).await
    }

    /// An open gate at an address that the server tells its clients.
    pub(crate) async fn advertised(address: &str, server: &str) -> Self {
        Self::at(address.parse().expect("an address"), server, Way::Open).await
    }

    async fn at(address: SocketAddr, server: &str, way: Way) -> Self {
        // Bound at least once, so that the address is known.
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("it has an address");
        let (way, held) = (watch::Sender::new(way), watch::Sender::new(false));
        let forwarding = tokio::spawn(forward(listener, server.into(), way.clone(), held.clone())).abort_handle();
        let gate = Self { address, way, held, forwarding };
        if *gate.way.borrow() == Way::Shut {
            gate.wait_until_refused().await;
        }
        gate
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn open(&self) {
        self.way.send_replace(Way::Open);
        self.held.send_replace(false);
    }

    pub(crate) fn hold(&self) {
        self.way.send_replace(Way::Held);
    }

    pub(crate) async fn cut(&self) {
        self.way.send_replace(Way::Shut);
        self.wait_until_refused().await;
    }

    /// Waits until something is held.
    pub(crate) async fn holds_something(&self) {
        let mut held = self.held.subscribe();
        soon("something is held", held.wait_for(|held| *held)).await.expect("the gate is there");
    }

    async fn wait_until_refused(&self) {
        eventually("connections are refused", async || TcpStream::connect(self.address).await.err()).await;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.forwarding.abort();
        self.way.send_replace(Way::Shut);
    }
}

async fn forward(listener: TcpListener, server: Arc<str>, way: watch::Sender<Way>, held: watch::Sender<bool>) {
    let mut ways = way.subscribe();
    let address = listener.local_addr().expect("it has an address");
    let mut listener = Some(listener);
    loop {
        if *ways.borrow_and_update() == Way::Shut {
            listener = None;
            let _opened = ways.wait_for(|way| *way != Way::Shut).await;
        }
        let accepting = match listener.take() {
            Some(listener) => listener,
            None => bind(address).await,
        };
        let accepting = listener.insert(accepting);
        tokio::select! {
            accepted = accepting.accept() => {
                let Ok((client, _)) = accepted else { continue };
                tokio::spawn(pass(client, Arc::clone(&server), way.subscribe(), held.clone()));
            }
            _ = ways.changed() => {}
        }
    }
}

/// Binds the address again, which somebody else may have borrowed for a connection.
async fn bind(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(BIND_AGAIN).await,
        }
    }
}

/// Forwards one connection until it is cut.
async fn pass(client: TcpStream, server: Arc<str>, mut ways: watch::Receiver<Way>, held: watch::Sender<bool>) {
    let Ok(server) = TcpStream::connect(&*server).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let requests = requests(from_client, to_server, ways.clone(), held);
    tokio::select! {
        _ = ways.wait_for(|way| *way == Way::Shut) => {}
        () = requests => {}
        () = answers(from_server, to_client) => {}
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    drop(tokio::io::copy(&mut from, &mut to).await);
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut ways: watch::Receiver<Way>, held: watch::Sender<bool>) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if *ways.borrow() == Way::Held {
            held.send_replace(true);
            if ways.wait_for(|way| *way != Way::Held).await.is_err() {
                return;
            }
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
