//! A connection's bytes, watched for three things that hyper leaves to its caller.
//!
//! A client that takes no bytes is given up after a time, or hardly any, and one that hangs up while it is sent a body without an end, at
//! once. And where hyper refuses what is not a request with a bare status, the bare status is kept back, so that a problem can be sent in its
//! place.

use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::StatusCode;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::flow::Flow;

/// How fast a client has to take its answer.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long it may take no byte.
    pub stall_timeout: Duration,
    /// How many bytes of an answer it has to take in a second, on the average and once the time above is over. Without it, a byte now
    /// and then would hold a connection and the whole rest of the answer as long as the client likes.
    pub bytes_per_second_min: NonZeroU64,
}

/// An answer that was not taken at once.
#[derive(Debug, Clone, Copy)]
struct Slow {
    since: Instant,
    /// Bytes of it that were taken since.
    taken: u64,
}

/// A TCP connection under hyper.
#[derive(Debug)]
pub struct Wire {
    io: TokioIo<TcpStream>,
    pace: Pace,
    stalled: Option<Pin<Box<Sleep>>>,
    slow: Option<Slow>,
    /// Everything written so far was flushed, so the next write begins something new.
    between_writes: bool,
    /// The status of the bare refusal that was kept back.
    refusal: Option<StatusCode>,
    flow: Flow,
}

impl Wire {
    /// Watches `stream`; a write that does not keep up `pace` fails. `flow` is told when everything was taken.
    #[must_use]
    pub fn new(stream: TcpStream, pace: Pace, flow: Flow) -> Self {
        Self { io: TokioIo::new(stream), pace, stalled: None, slow: None, between_writes: true, refusal: None, flow }
    }

    /// Whether something new can be written, and not the rest of a response.
    #[must_use]
    pub const fn is_between_writes(&self) -> bool {
        self.between_writes
    }

    /// The status of the bare refusal that was kept back and is to be sent as a problem.
    #[must_use]
    pub const fn refusal(&self) -> Option<StatusCode> {
        self.refusal
    }

    /// The connection itself.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        self.io.into_inner()
    }

    fn bounded(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = &outcome {
            self.stalled = None;
            self.between_writes = false;
            if let (Some(slow), Ok(bytes)) = (&mut self.slow, written) {
                slow.taken += *bytes as u64;
            }
            return outcome;
        }
        if self.stalled.is_none() {
            let deadline = self.deadline(Instant::now());
            self.stalled = Some(Box::pin(tokio::time::sleep_until(deadline)));
        }
        match self.stalled.as_mut().map(|stalled| stalled.as_mut().poll(context)) {
            Some(Poll::Ready(())) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes too little"))),
            _ => Poll::Pending,
        }
    }

    /// Until when to wait for a client that takes nothing `now`.
    fn deadline(&mut self, now: Instant) -> Instant {
        let Pace { stall_timeout, bytes_per_second_min } = self.pace;
        let stalled = now + stall_timeout;
        // What an upgraded connection and an answer without an end are sent has deadlines of its own, and may take all day.
        if !self.flow.has_place() {
            return stalled;
        }
        let slow = self.slow.get_or_insert(Slow { since: now, taken: 0 });
        let earned = Duration::from_millis(slow.taken.saturating_mul(1000) / bytes_per_second_min);
        stalled.min(slow.since + stall_timeout + earned)
    }

    /// Whether the client has ended its side. hyper does not look while it sends a body: the client may still want the rest. Of a body
    /// without an end there is no rest, and where nothing happens for a while it would have its place until something is sent. Asked
    /// whenever the connection is polled, and polled again when there is something to be read; costs no call of the system before.
    fn has_hung_up(&self, context: &mut Context<'_>) -> bool {
        let mut byte = [0];
        match self.io.inner().poll_peek(context, &mut ReadBuf::new(&mut byte)) {
            Poll::Ready(Ok(bytes)) => bytes == 0,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        }
    }

    fn keep_back(&mut self, bytes: &[u8]) -> bool {
        if self.between_writes
            && let Some(status) = bare_refusal(bytes)
        {
            self.refusal = Some(status);
        }
        self.refusal.is_some()
    }
}

/// The status when `bytes` are the whole of what hyper answers by itself. Nothing of ours looks like it: all our refusals
/// have a body.
fn bare_refusal(bytes: &[u8]) -> Option<StatusCode> {
    let rest = bytes.strip_prefix(b"HTTP/1.1 4")?;
    let text = std::str::from_utf8(rest).ok()?;
    let bare = text.contains("\r\ncontent-length: 0\r\n") && text.contains("\r\nconnection: close\r\n");
    let whole = text.find("\r\n\r\n") == Some(text.len().checked_sub(4)?);
    let status = [StatusCode::BAD_REQUEST, StatusCode::URI_TOO_LONG, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE]
        .into_iter()
        .find(|status| text.get(..2) == status.as_str().get(1..))?;
    (bare && whole).then_some(status)
}

impl Read for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.keep_back(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let outcome = Pin::new(&mut self.io).poll_write(context, bytes);
        self.bounded(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.first().is_some_and(|first| self.keep_back(first)) {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let outcome = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.bounded(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.flow.is_endless() && self.has_hung_up(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let outcome = Pin::new(&mut self.io).poll_flush(context);
        // hyper flushes only when it has nothing left to write.
        if outcome.is_ready() {
            self.between_writes = true;
            self.slow = None;
            self.flow.note_taken();
        }
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.refusal.is_some() {
            // The problem is still to be sent.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::TcpListener;
    use tokio::sync::Semaphore;

    use super::*;

    const STALL_TIMEOUT: Duration = Duration::from_secs(30);

    async fn wire() -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a place");
        let pace = Pace { stall_timeout: STALL_TIMEOUT, bytes_per_second_min: NonZeroU64::new(1000).expect("not zero") };
        Wire::new(stream, pace, Flow::over(place))
    }

    fn take(wire: &mut Wire, bytes: usize) {
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(wire.bounded(&mut context, Poll::Ready(Ok(bytes))).is_ready());
    }

    #[tokio::test]
    async fn who_takes_too_little_is_given_up_and_who_keeps_the_pace_is_not() {
        let (mut wire, start) = (wire().await, Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(wire.deadline(start), after(30), "who takes nothing");
        take(&mut wire, 10);
        assert_eq!(wire.deadline(after(29)), start + STALL_TIMEOUT + Duration::from_millis(10), "a few bytes earn little time");
        take(&mut wire, 1_000_000);
        assert_eq!(wire.deadline(after(100)), after(130), "a stall is not made longer by what was earned");
        assert_eq!(wire.deadline(after(1_010)), start + Duration::from_millis(1_030_010));
    }

    #[tokio::test]
    async fn every_answer_has_its_own_time() {
        let (mut wire, start) = (wire().await, Instant::now());
        wire.deadline(start);
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut wire).poll_flush(&mut context).is_ready());
        let later = start + STALL_TIMEOUT * 100;
        assert_eq!(wire.deadline(later), later + STALL_TIMEOUT);
    }

    #[tokio::test]
    async fn what_has_no_end_has_no_pace() {
        let (mut wire, start) = (wire().await, Instant::now());
        wire.flow.begin_endless();
        wire.deadline(start);
        let later = start + STALL_TIMEOUT * 100;
        assert_eq!(wire.deadline(later), later + STALL_TIMEOUT);
    }

    #[test]
    fn only_what_hyper_answers_by_itself_is_a_bare_refusal() {
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        assert_eq!(bare_refusal(bare.as_bytes()), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        assert_eq!(bare_refusal(b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"), None);
        assert_eq!(bare_refusal(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"), None);
        assert_eq!(bare_refusal(format!("{bare}more\r\n\r\n").as_bytes()), None);
        assert_eq!(bare_refusal(b"HTTP/1.1 4"), None);
    }
}
