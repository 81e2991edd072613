//! Whether the server is ready for requests, and why not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use polling_core::ingest::Health;
use polling_core::operate::health::Check;
use tokio::sync::watch;

use crate::store_watch::StoreTrouble;

const STARTING: u8 = 0;
const SERVING: u8 = 1;
const DRAINING: u8 = 2;

/// Tells why a shared log cannot be written, if that is so.
pub type LogTrouble = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// Whether the server is ready. Cloning gives another handle to the same.
#[derive(Clone)]
pub struct Readiness {
    phase: Arc<AtomicU8>,
    counting: Option<watch::Receiver<Health>>,
    store: StoreTrouble,
    log: Option<LogTrouble>,
}

impl Readiness {
    /// Starting. `counting` tells how the counting in this process goes, if it is done here, and `store` whether it is
    /// well; `log` does for the log, unless it is in this process.
    #[must_use]
    pub fn new(counting: Option<watch::Receiver<Health>>, store: StoreTrouble, log: Option<LogTrouble>) -> Self {
        Self { phase: Arc::new(AtomicU8::new(STARTING)), counting, store, log }
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
        let mut checks = vec![Check { name: "serving", trouble: serving }];
        let counting = self.counting.as_ref().map(|counting| counting.borrow().clone());
        let counting_trouble = counting.as_ref().and_then(|health| health.trouble.clone());
        checks.push(Check { name: "store", trouble: counting_trouble.or_else(|| self.store.current()) });
        checks.extend(self.log.as_ref().map(|log| Check { name: "log", trouble: log() }));
        if let Some(health) = counting {
            checks.push(Check::of_partitions(&health));
        }
        checks
    }
}
