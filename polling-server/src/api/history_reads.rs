//! Reading histories from the store, which costs a look at every vote of a poll: one at a time, and none twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use polling_core::model::{History, PollId, Steps, Version};
use polling_core::store::StoreError;
use tokio::sync::Semaphore;

use super::problem::Problem;
use super::problem_kind::ProblemKind;
use super::store_calls;
use crate::service::Service;

/// Histories that are read at once. A store has two connections for walks like this one, and lists and the leaderboard need one.
const READS_MAX: usize = 1;
/// Bytes of histories that are kept: some hundred of the largest, and thousands of small ones.
const KEPT_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// A history that took long to read is shown for so many times as long, although votes have come since, and one in other steps is not
/// read before then. So however often somebody asks for histories of a poll of millions, and in whatever steps, the store spends at
/// most a fifth of its time on them: a tenth on the steps that are taken when none are asked for, which nobody else's can keep
/// waiting, and a tenth on all others.
const REST_FACTOR: u32 = 10;
/// Polls of which it is known that they are not to be read again soon, at most: more than can be read slowly within a rest.
const RESTS_MAX: u64 = 4096;
/// What is read faster than this is read again whenever there are new votes.
const QUICK: Duration = Duration::from_millis(100);

/// A history at a version.
#[derive(Debug, Clone)]
pub(crate) struct ReadHistory {
    pub(crate) steps: Steps,
    pub(crate) history: Arc<History>,
}

#[derive(Debug, Clone)]
struct Kept {
    read: ReadHistory,
    read_at: Instant,
    cost: Duration,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) poll: PollId,
    /// The newest that is known of the poll.
    pub(crate) version: Version,
    pub(crate) steps: Steps,
    /// Whether the client left it to the server to choose the steps.
    pub(crate) is_default: bool,
}

/// The histories that were read lately, by poll and length of a step.
pub(crate) struct HistoryReads {
    kept: Cache<(PollId, i64), Kept>,
    /// For polls whose last reading took long, with steps by default and with others: when the next may begin.
    rests: Cache<(PollId, bool), Instant>,
    turns: Arc<Semaphore>,
}

impl HistoryReads {
    pub(crate) fn new() -> Self {
        let weigher = |_: &(PollId, i64), kept: &Kept| {
            let options = kept.read.history.tally.totals.votes.len();
            u32::try_from((kept.read.history.points.len() + 1) * (options * size_of::<u64>() + 64)).unwrap_or(u32::MAX)
        };
        // By default a full cache takes in only what was asked for more often than what it has. What was just read is what is going to
        // be shown while its poll rests, and a rest that is not kept is none.
        let oldest_first = EvictionPolicy::lru;
        let kept = Cache::builder().eviction_policy(oldest_first()).max_capacity(KEPT_BYTES_MAX).weigher(weigher).build();
        let rests = Cache::builder().eviction_policy(oldest_first()).max_capacity(RESTS_MAX).build();
        Self { kept, rests, turns: Arc::new(Semaphore::new(READS_MAX)) }
    }

    /// A history. A client that gives up waiting does not cut the reading short: the next one finds what it came to.
    ///
    /// # Errors
    ///
    /// `poll-not-found`, `unavailable`.
    pub(crate) async fn read(&self, service: &Service, wanted: Wanted) -> Result<ReadHistory, Problem> {
        if let Some(read) = self.known(wanted)? {
            return Ok(read);
        }
        let turn = store_calls::within(service.limits.deadline, Arc::clone(&self.turns).acquire_owned()).await;
        // Nobody closes the semaphore: without a turn, the time is over.
        let Some(Ok(turn)) = turn else {
            return Err(Problem::with_detail(ProblemKind::Unavailable, "other histories are being read"));
        };
        // Whoever had the turn before may have read the same.
        if let Some(read) = self.known(wanted)? {
            return Ok(read);
        }
        let Wanted { poll, steps, is_default, .. } = wanted;
        let (kept, rests, tallies) = (self.kept.clone(), self.rests.clone(), Arc::clone(&service.tallies));
        let reading = async move {
            let _turn = turn;
            let read_at = Instant::now();
            let answer = tallies.history(poll, steps).await;
            let cost = read_at.elapsed();
            if cost > QUICK {
                // Also when the reading failed: another would most likely take as long, and fail as well.
                rests.insert((poll, is_default), read_at + cost * REST_FACTOR);
            }
            let Some(history) = answer? else { return Ok::<_, StoreError>(None) };
            let read = ReadHistory { steps, history: Arc::new(history) };
            kept.insert((poll, steps.width_micros()), Kept { read: read.clone(), read_at, cost });
            Ok(Some(read))
        };
        store_calls::read(service, reading).await?.ok_or_else(|| Problem::new(ProblemKind::PollNotFound))
    }

    /// What can be answered without reading; a problem when reading has to wait.
    fn known(&self, wanted: Wanted) -> Result<Option<ReadHistory>, Problem> {
        if let Some(read) = self.usable(wanted) {
            return Ok(Some(read));
        }
        let rest = self.rests.get(&(wanted.poll, wanted.is_default)).and_then(|end| end.checked_duration_since(Instant::now()));
        rest.filter(|rest| !rest.is_zero()).map_or(Ok(None), |rest| {
            Err(Problem::unavailable_for(rest, "the history of this poll takes long to read, and was read just now"))
        })
    }

    fn usable(&self, Wanted { poll, version, steps, .. }: Wanted) -> Option<ReadHistory> {
        let Kept { read, read_at, cost } = self.kept.get(&(poll, steps.width_micros()))?;
        if read.steps.start() != steps.start() {
            return None;
        }
        if read.history.tally.version >= version {
            return Some(lengthened(read, steps));
        }
        (cost > QUICK && read_at.elapsed() < cost * REST_FACTOR).then_some(read)
    }
}

/// The same history up to a later step: nothing was added since.
fn lengthened(read: ReadHistory, steps: Steps) -> ReadHistory {
    if read.steps.count() >= steps.count() {
        return read;
    }
    let mut history = History::clone(&read.history);
    history.points.resize(steps.count(), history.tally.totals.clone());
    ReadHistory { steps, history: Arc::new(history) }
}

#[cfg(test)]
mod tests {
    use polling_core::clock::{Clock, SystemClock};
    use polling_core::model::{Tally, Totals};

    use super::*;

    #[test]
    fn full_caches_take_in_what_was_read_last_and_how_long_it_rests() {
        let reads = HistoryReads::new();
        let now = SystemClock.now();
        let steps = Steps::new(now, Duration::from_secs(1), 1000).expect("steps");
        let cost = Duration::from_secs(60);
        // More than fit, by bytes and by number.
        for _ in 0..=RESTS_MAX {
            let poll = PollId::new(now);
            let totals = Totals::zero(100);
            let tally = Tally { poll, version: Version::default(), totals: totals.clone() };
            let history = Arc::new(History { tally, points: vec![totals; 10] });
            let kept = Kept { read: ReadHistory { steps, history }, read_at: Instant::now(), cost };
            let wanted = Wanted { poll, version: Version { epoch: 1, number: 1 }, steps, is_default: true };
            reads.kept.insert((poll, steps.width_micros()), kept);
            reads.rests.insert((poll, true), Instant::now() + cost);
            reads.kept.run_pending_tasks();
            reads.rests.run_pending_tasks();
            let shown = reads.known(wanted).expect("it is not refused");
            assert!(shown.is_some(), "it is shown while its poll rests");
            assert!(reads.rests.contains_key(&(poll, true)), "it rests");
        }
        assert!(reads.kept.entry_count() < RESTS_MAX);
    }
}
