//! A request body that has to arrive within a time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

/// Tells the connection what became of a body, whatever was made of it.
#[derive(Debug, Clone, Default)]
pub struct Fate(Arc<Facts>);

#[derive(Debug, Default)]
struct Facts {
    is_late: AtomicBool,
    is_left: AtomicBool,
}

impl Fate {
    /// Whether the body of the request in hand was late. Forgets it, because the next request is another one.
    pub fn take_late(&self) -> bool {
        take(&self.0.is_late)
    }

    /// Whether some of the body of the request in hand was left unread. Forgets it, too.
    pub fn take_left(&self) -> bool {
        take(&self.0.is_left)
    }
}

fn take(fact: &AtomicBool) -> bool {
    fact.load(Ordering::Relaxed) && fact.swap(false, Ordering::Relaxed)
}

/// An incoming body that fails when not all of it has come within a time, counted from the first wait for it.
///
/// A body that came together with the head never waits, and never pays for a timer.
pub struct TimelyBody {
    incoming: Incoming,
    within: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    fate: Fate,
}

impl TimelyBody {
    /// The body, to be read within `within`.
    #[must_use]
    pub const fn new(incoming: Incoming, within: Duration, fate: Fate) -> Self {
        Self { incoming, within, deadline: None, fate }
    }
}

impl Drop for TimelyBody {
    fn drop(&mut self) {
        if !self.incoming.is_end_stream() {
            self.fate.0.is_left.store(true, Ordering::Relaxed);
        }
    }
}

impl Body for TimelyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)));
        }
        let within = self.within;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(within)));
        if deadline.as_mut().poll(context).is_ready() {
            self.fate.0.is_late.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, "the body did not arrive in time"))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
