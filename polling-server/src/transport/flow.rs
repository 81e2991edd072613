//! What a body without an end has to do with its connection: it must know whether the client takes what it is sent, so that nothing
//! piles up behind a slow reader; it must not have a place that others wait for; and it must end when the client hangs up.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use tokio::sync::OwnedSemaphorePermit;

/// Shared between a connection and the body that it is sending. Cloning gives another handle to the same.
#[derive(Debug, Clone, Default)]
pub struct Flow(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_sending: AtomicBool,
    is_endless: AtomicBool,
    waiting: AtomicWaker,
    /// Among the connections at a time.
    place: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Flow {
    /// That of a connection with this place.
    #[must_use]
    pub fn over(place: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(State { place: Mutex::new(Some(place)), ..State::default() }))
    }

    /// For a body without an end, whose connection must not take another request after it: makes room for another connection, and
    /// has the connection end when the client hangs up.
    pub fn begin_endless(&self) {
        self.0.is_endless.store(true, Ordering::Relaxed);
        self.give_up_place();
    }

    /// For a connection: whether its body has no end, so that nobody but the client can end it.
    #[must_use]
    pub fn is_endless(&self) -> bool {
        self.0.is_endless.load(Ordering::Relaxed)
    }

    /// Makes room for another connection.
    pub fn give_up_place(&self) {
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Whether the connection has a place that others wait for.
    #[must_use]
    pub fn has_place(&self) -> bool {
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// For a body: it gives the connection something to send.
    pub fn note_sending(&self) {
        self.0.is_sending.store(true, Ordering::Release);
    }

    /// For a body: waits until the system has taken everything that the body gave.
    pub async fn taken(&self) {
        poll_fn(|context| {
            self.0.waiting.register(context.waker());
            if self.0.is_sending.load(Ordering::Acquire) { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// For a connection: nothing is left to be sent.
    pub fn note_taken(&self) {
        if self.0.is_sending.load(Ordering::Relaxed) && self.0.is_sending.swap(false, Ordering::AcqRel) {
            self.0.waiting.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_waits_for_what_it_gave_and_for_nothing_else() {
        let flow = Flow::default();
        let mut first = polled(&flow);
        assert!(first.is_ready());
        flow.note_sending();
        first = polled(&flow);
        assert!(first.is_pending());
        flow.note_taken();
        assert!(polled(&flow).is_ready());
    }

    fn polled(flow: &Flow) -> Poll<()> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(flow.taken()).as_mut().poll(&mut context)
    }
}
