//! Rankings that are being paged through. Votes change while a client pages, so the order is taken once and kept.

use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
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
        // By default a cache that is full takes in what was asked for often before. A name was never asked for before it is kept, so
        // nobody could turn a page any more; somebody whose ranking is old begins again.
        let oldest_first = EvictionPolicy::lru();
        let cache = Cache::builder().eviction_policy(oldest_first).weigher(weigher).max_capacity(KEPT_POLLS_MAX);
        Self(cache.time_to_idle(KEPT_FOR).build())
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

#[cfg(test)]
mod tests {
    use polling_core::clock::{Clock, SystemClock};

    use super::*;

    #[test]
    fn a_full_cache_keeps_the_newest_ranking_and_lets_the_oldest_go() {
        let rankings = Rankings::new();
        let largest: Arc<[PollId]> = vec![PollId::new(SystemClock.now()); RANKED_POLLS_MAX].into();
        let names: Vec<Uuid> = (0..20)
            .map(|_| {
                let name = rankings.keep(Arc::clone(&largest));
                rankings.0.run_pending_tasks();
                assert!(rankings.find(name).is_some(), "its second page can be read");
                name
            })
            .collect();
        let kept = names.iter().filter(|&&name| rankings.find(name).is_some()).count();
        assert_eq!((kept, rankings.find(names[0])), (4, None));
    }
}
