//! How much of its time a record has left that waits to be counted: what the brokers drop before then is lost.
//!
//! Every partition is looked at, whoever reads it: one that nobody reads, or that has stopped, loses its records in the same way.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError;
use tokio::sync::watch;

use crate::checkpoint::{Checkpoint, Partition};
use crate::clock::{Clock, Timestamp};
use crate::kafka::{Head, Inspection, Retention, View};
use crate::shutdown::Shutdown;
use crate::store::TallyStore;

/// How often it is looked at: topics that may be used keep their records for a day at least, a quarter of which is hours.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// The share of the retention from which on an operator is warned: of a week, there are five days left.
const WARNING_SHARE: f64 = 0.25;
/// The share from which on something must be done.
const ALARM_SHARE: f64 = 0.5;

/// What waits in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    records: u64,
    /// The one that waits longest; `None` when it could not be looked at, or nothing waits.
    oldest: Option<Head>,
}

impl Waiting {
    fn age(&self, now: Timestamp) -> Option<Duration> {
        let millis = self.oldest?.appended_at_ms?;
        Some(now.saturating_since(Timestamp::from_micros(millis.checked_mul(1000)?)?))
    }

    /// Bytes in the log, about, and rather too many: the others are taken to be as long as the oldest.
    fn bytes(&self) -> Option<u64> {
        Some(self.records.saturating_mul(self.oldest?.bytes))
    }

    /// What it has used of the retention, by time or by bytes, whichever is more; zero of one that has no end.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more precision than a float has")]
    fn share(&self, now: Timestamp, retention: Retention) -> f64 {
        let by_time = self.age(now).zip(retention.time).map(|(age, kept)| age.as_secs_f64() / kept.as_secs_f64().max(1.0));
        let by_bytes = self.bytes().zip(retention.bytes).map(|(used, kept)| used as f64 / (kept as f64).max(1.0));
        by_time.unwrap_or(0.0).max(by_bytes.unwrap_or(0.0))
    }
}

/// How urgent it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Fine,
    Warning,
    Alarm,
}

impl Level {
    fn of(share: f64) -> Self {
        if share >= ALARM_SHARE {
            Self::Alarm
        } else if share >= WARNING_SHARE {
            Self::Warning
        } else {
            Self::Fine
        }
    }
}

/// What an operator is told about a partition.
struct Notice {
    partition: Partition,
    waiting: Waiting,
    age: Duration,
    share: f64,
}

impl fmt::Display for Notice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, waiting, age, share } = self;
        let percent = share * 100.0;
        write!(
            formatter,
            "partition {partition}: {} records wait to be counted, the oldest for {} s: {percent:.0} % of what the topic keeps, and what \
             is beyond is lost",
            waiting.records,
            age.as_secs(),
        )
    }
}

/// Looks at what waits in a topic of votes.
pub(crate) struct Backlog {
    inspection: Arc<Inspection>,
    warning: watch::Sender<Option<String>>,
}

impl Backlog {
    /// Of the topic that is inspected. Nothing is looked at before [`watch`](Self::watch).
    pub(crate) fn new(inspection: Arc<Inspection>) -> Self {
        Self { inspection, warning: watch::Sender::default() }
    }

    /// Which partitions have used much of their retention, if any have.
    pub(crate) fn warning(&self) -> Option<String> {
        self.warning.borrow().clone()
    }

    /// Looks from time to time until `shutdown` is requested. While store or log do not answer, it goes by what it saw last: records
    /// grow old meanwhile.
    pub(crate) async fn watch(&self, store: Arc<dyn TallyStore>, clock: Arc<dyn Clock>, shutdown: Shutdown) {
        let (mut checkpoint, mut seen, mut levels) = (None, BTreeMap::new(), BTreeMap::new());
        loop {
            if let Ok(known) = store.checkpoint().await {
                checkpoint = Some(known);
            }
            if let Some(checkpoint) = checkpoint.clone() {
                let view = self.inspection.view();
                match tokio::task::spawn_blocking(move || look(&view, &checkpoint)).await {
                    Ok(Ok(Some(Seen { partitions, waiting }))) => {
                        // A topic that was made anew may have fewer.
                        seen.retain(|partition, _| keep_within(partitions, *partition));
                        seen.extend(waiting);
                    }
                    Ok(Ok(None)) => {}
                    Ok(Err(error)) => {
                        tracing::debug!(error = &error as &dyn std::error::Error, "the backlog cannot be looked at");
                    }
                    // The runtime is ending.
                    Err(_) => return,
                }
            }
            let retention = self.inspection.retention();
            self.note(&seen, retention, &mut levels, clock.now());
            tokio::select! {
                () = shutdown.requested() => return,
                () = self.inspection.retention_changed(retention) => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    fn note(
        &self,
        seen: &BTreeMap<Partition, Waiting>,
        retention: Retention,
        levels: &mut BTreeMap<Partition, Level>,
        now: Timestamp,
    ) {
        let mut notices = Vec::new();
        for (&partition, &waiting) in seen {
            let (age, share) = (waiting.age(now).unwrap_or_default(), waiting.share(now, retention));
            show(partition, age, share);
            let level = Level::of(share);
            let before = levels.insert(partition, level).unwrap_or(Level::Fine);
            let notice = Notice { partition, waiting, age, share };
            match level {
                Level::Fine if before > level => tracing::info!(partition = partition.0, "the backlog is small again"),
                Level::Warning if before != level => tracing::warn!("{notice}"),
                Level::Alarm if before != level => tracing::error!("{notice}"),
                _ => {}
            }
            if level > Level::Fine {
                notices.push(notice.to_string());
            }
        }
        self.warning.send_replace((!notices.is_empty()).then(|| notices.join("; ")));
    }
}

/// What one look saw.
struct Seen {
    /// How many partitions the topic has.
    partitions: usize,
    /// What waits in those that could be looked at.
    waiting: BTreeMap<Partition, Waiting>,
}

/// Looks once; `None` while there is no topic. Blocks.
fn look(view: &View, checkpoint: &Checkpoint) -> Result<Option<Seen>, KafkaError> {
    let Some(layout) = view.layout()? else { return Ok(None) };
    let (mut waiting, mut places) = (BTreeMap::new(), BTreeMap::new());
    for partition in (0..).map(Partition).take(layout.partitions) {
        // One without a leader says nothing, and keeps nobody from the others.
        let Ok(extent) = view.extent(partition) else { continue };
        let next = checkpoint.next(partition).max(extent.first);
        let records = extent.end.since(next).unwrap_or(0);
        waiting.insert(partition, Waiting { records, oldest: None });
        if records > 0 {
            places.insert(partition, next);
        }
    }
    for (partition, head) in view.heads(&places)? {
        if let Some(waiting) = waiting.get_mut(&partition) {
            waiting.oldest = Some(head);
        }
    }
    // What has records and did not show one is as it was.
    waiting.retain(|_, waiting| waiting.records == 0 || waiting.oldest.is_some());
    Ok(Some(Seen { partitions: layout.partitions, waiting }))
}

/// Whether the topic has the partition; nothing waits in one that it does not have.
fn keep_within(partitions: usize, partition: Partition) -> bool {
    let is_there = usize::try_from(partition.0).is_ok_and(|number| number < partitions);
    if !is_there {
        show(partition, Duration::ZERO, 0.0);
    }
    is_there
}

fn show(partition: Partition, age: Duration, share: f64) {
    let partition = partition.0.to_string();
    metrics::gauge!("polling_partition_backlog_age_seconds", "partition" => partition.clone()).set(age.as_secs_f64());
    metrics::gauge!("polling_partition_retention_used_ratio", "partition" => partition).set(share);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn waiting(records: u64) -> Waiting {
        Waiting { records, oldest: Some(Head { appended_at_ms: Some(0), bytes: 100 }) }
    }

    fn share(records: u64, hours: u64, retention: Retention) -> f64 {
        waiting(records).share(Timestamp::MIN.saturating_add(Duration::from_secs(hours * HOUR)), retention)
    }

    #[test]
    fn what_waits_uses_its_retention_by_time_or_by_bytes() {
        let day = Some(Duration::from_secs(24 * HOUR));
        assert_eq!(Level::of(share(5, 5, Retention { time: day, bytes: None })), Level::Fine);
        assert_eq!(Level::of(share(5, 6, Retention { time: day, bytes: None })), Level::Warning);
        assert_eq!(Level::of(share(5, 12, Retention { time: day, bytes: None })), Level::Alarm);
        assert_eq!(Level::of(share(5, 1, Retention { time: day, bytes: Some(1000) })), Level::Alarm);
        assert_eq!(Level::of(share(5, 1, Retention { time: day, bytes: Some(2000) })), Level::Warning);
    }

    #[cfg(feature = "operate")]
    #[test]
    fn nothing_waits_in_a_partition_that_the_topic_does_not_have_any_more() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            (0..3).for_each(|number| show(Partition(number), Duration::from_secs(HOUR), 0.5));
            assert!(keep_within(2, Partition(1)) && !keep_within(2, Partition(2)));
        });
        let page = recorder.handle().render();
        for line in ["{partition=\"1\"} 0.5\n", "{partition=\"2\"} 0\n"] {
            assert!(page.contains(&format!("polling_partition_retention_used_ratio{line}")), "{page}");
        }
    }

    #[test]
    fn nothing_is_urgent_where_records_are_kept_for_ever_or_none_wait() {
        assert_eq!(Level::of(share(5, 1_000_000, Retention::default())), Level::Fine);
        let nothing = Waiting { records: 0, oldest: None };
        let retention = Retention { time: Some(Duration::from_secs(1)), bytes: Some(1) };
        assert_eq!(Level::of(nothing.share(Timestamp::MAX, retention)), Level::Fine);
    }
}
