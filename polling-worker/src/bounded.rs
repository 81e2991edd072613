//! A listener that takes a bounded number of connections at once, none of which may stay for ever.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// How long a connection may bring nothing: longer than from one scrape to the next. Without it, clients that have gone away without a
/// word would take all the room there is.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// Accepts the next connection only when there is room for it; until then it waits in the backlog of the system.
pub(crate) struct BoundedListener {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

impl BoundedListener {
    pub(crate) fn new(listener: TcpListener, connections_max: usize) -> Self {
        Self { listener, room: Arc::new(Semaphore::new(connections_max)) }
    }
}

impl Listener for BoundedListener {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoundedStream, SocketAddr) {
        // Nobody closes the semaphore; were it closed, connections would not be bounded, and still be served.
        let room = Arc::clone(&self.room).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let silence = Box::pin(tokio::time::sleep(SILENCE_MAX));
        (BoundedStream { stream, silence, _room: room }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that gives its room back when it is dropped, and is broken off when it stands still.
pub(crate) struct BoundedStream {
    stream: TcpStream,
    /// Ends when nothing has come or gone for too long.
    silence: Pin<Box<Sleep>>,
    _room: Option<OwnedSemaphorePermit>,
}

impl BoundedStream {
    /// What the stream says, or that it has said nothing for too long.
    fn bounded<T>(&mut self, context: &mut Context<'_>, said: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if said.is_ready() {
            self.silence.as_mut().reset(Instant::now() + SILENCE_MAX);
            return said;
        }
        self.silence.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let said = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.bounded(context, said)
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let said = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.bounded(context, said)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// With paused time, which goes on when everybody waits.
    #[tokio::test(start_paused = true)]
    async fn whoever_says_nothing_makes_room() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut listener = BoundedListener::new(listener, 1);
        let mut silent = TcpStream::connect(address).await.expect("connected");
        silent.write_all(b"GET /livez HT").await.expect("sent");
        let (mut stream, _) = listener.accept().await;
        let began = Instant::now();
        let mut received = Vec::new();
        let end = stream.read_to_end(&mut received).await.expect_err("it is broken off");
        assert_eq!((end.kind(), &*received), (io::ErrorKind::TimedOut, &b"GET /livez HT"[..]));
        assert!(began.elapsed() >= SILENCE_MAX);
        drop(stream);
        let next = TcpStream::connect(address).await.expect("connected");
        let (_stream, peer) = listener.accept().await;
        assert_eq!(peer, next.local_addr().expect("an address"));
    }
}
