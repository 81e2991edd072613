//! Whether a client takes what it is sent: what a body that does not end must know, so that nothing piles up behind a slow reader.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;

/// Shared between a connection and the body that it is sending. Cloning gives another handle to the same.
///
/// A body without a connection has one that nobody answers: it must not wait for it before it has noted something.
#[derive(Debug, Clone, Default)]
pub struct Flow(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_sending: AtomicBool,
    waiting: AtomicWaker,
}

impl Flow {
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
