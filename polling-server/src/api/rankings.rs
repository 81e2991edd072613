//! Rankings that are being paged through. Votes change while a client pages, so the order is taken once and kept.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use polling_core::model::PollId;
use uuid::Uuid;

/// Polls of one ranking, at most: 16 MB; nobody pages further.
pub(crate) const RANKED_POLLS_MAX: usize = 1_000_000;
/// Polls of all rankings that are kept, at most: 64 MB.
const KEPT_POLLS_MAX: u64 = 4_000_000;
/// How long a ranking is kept after it was last used: a person who reads slowly.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// The rankings of this server.
pub(crate) struct Rankings(Cache<Uuid, Arc<[PollId]>>);

impl Rankings {
    /// None is kept yet.
    pub(crate) fn new() -> Self {
        let weigher = |_: &Uuid, ranking: &Arc<[PollId]>| u32::try_from(ranking.len()).unwrap_or(u32::MAX);
        Self(Cache::builder().weigher(weigher).max_capacity(KEPT_POLLS_MAX).time_to_idle(KEPT_FOR).build())
    }

    /// Keeps a ranking; answers its name, which nobody can guess.
    pub(crate) fn keep(&self, ranking: Arc<[PollId]>) -> Uuid {
        let name = Uuid::new_v4();
        self.0.insert(name, ranking);
        name
    }

    /// The ranking of this name; `None` when it is kept no longer, or another server has it.
    pub(crate) fn find(&self, name: Uuid) -> Option<Arc<[PollId]>> {
        self.0.get(&name)
    }
}
