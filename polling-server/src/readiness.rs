//! Whether the server is ready for requests, and why not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use polling_core::ingest::Health;
use polling_core::operate::health::Check;
use tokio::sync::watch;

use crate::clock_watch::ClockTrouble;
use crate::store_watch::StoreTrouble;

const STARTING: u8 = 0;
const SERVING: u8 = 1;
const DRAINING: u8 = 2;

/// A log that is shared with other processes.
#[derive(Clone)]
pub struct SharedLog {
    /// Tells why it cannot be written, if that is so.
    pub trouble: Arc<dyn Fn() -> Option<String> + Send + Sync>,
    /// Tells what endangers votes in it, if anything does.
    pub warning: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

/// Whether the server is ready. Cloning gives another handle to the same.
///
/// Alone, a server is ready when its store is: whatever it takes or shows goes through it. In a cluster all servers have the same log
/// and the same store, so one that was not ready without either of them would take all of them away from whoever asks, and with them
/// what still works: without the store votes are taken and known polls are shown, without the log, or parts of it, everything is
/// shown. There it is degraded, and not ready only when both are in trouble.
#[derive(Clone)]
pub struct Readiness {
    phase: Arc<AtomicU8>,
    counting: Option<watch::Receiver<Health>>,
    store: StoreTrouble,
    log: Option<SharedLog>,
    clock: ClockTrouble,
}

impl Readiness {
    /// Starting. `counting` tells how the counting in this process goes, if it is done here, `store` whether it is well, and `clock`
    /// whether it is right; `log` is the log, unless it is in this process.
    #[must_use]
    pub fn new(
        counting: Option<watch::Receiver<Health>>,
        store: StoreTrouble,
        log: Option<SharedLog>,
        clock: ClockTrouble,
    ) -> Self {
        Self { phase: Arc::new(AtomicU8::new(STARTING)), counting, store, log, clock }
    }

    /// Requests are taken from now on.
    pub fn note_serving(&self) {
        self.phase.store(SERVING, Ordering::Relaxed);
    }

    /// No new requests are wanted from now on.
    pub fn note_draining(&self) {
        self.phase.store(DRAINING, Ordering::Relaxed);
    }

    /// Everything that is looked at, as it is now.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        let serving = match self.phase.load(Ordering::Relaxed) {
            STARTING => Some("the server is starting".to_owned()),
            DRAINING => Some("the server is stopping".to_owned()),
            _ => None,
        };
        let mut checks = vec![Check::of("serving", serving)];
        let counting = self.counting.as_ref().map(|counting| counting.borrow().clone());
        let counting_trouble = counting.as_ref().and_then(|health| health.trouble.clone());
        let store = counting_trouble.or_else(|| self.store.current());
        match &self.log {
            None => checks.push(Check::of("store", store)),
            Some(log) => {
                let trouble = (log.trouble)();
                let check = if store.is_some() && trouble.is_some() { Check::of } else { Check::lenient };
                checks.extend([check("store", store), check("log", trouble), Check::lenient("topic", (log.warning)())]);
            }
        }
        if let Some(health) = counting {
            checks.push(Check::of_partitions(&health));
        }
        checks.push(Check::lenient("clock", self.clock.current()));
        checks
    }
}
