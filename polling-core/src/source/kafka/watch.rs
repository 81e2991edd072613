//! The thread that looks after the reader from outside: whether the brokers still have what is to be read, and whether the topic is
//! still the one it was.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rdkafka::error::KafkaError;
use tokio::sync::mpsc::WeakSender;

use super::Shared;
use super::reader::{Command, Event};
use crate::checkpoint::{Offset, Partition};
use crate::kafka::{Extent, View};

/// How often it looks. A new topic under the old name must have outgrown our place in it within this time before a record of it is
/// read at all, and the alarm comes then, too.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// A request to look at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// At what the brokers have.
    Usual,
    /// At the next records themselves, too: one of them is damaged, and the client does not say which.
    Close,
}

/// What was seen of a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    /// The next record to read, before the brokers were asked.
    pub(super) position: Offset,
    pub(super) extent: Extent,
    /// Whether the record there, or the one before it, fails its checksum.
    pub(super) is_damaged: bool,
}

/// Looks until the reader ends, or was given up, which shows in that nobody takes its `events`.
pub(super) fn watch(
    view: &View,
    shared: &Arc<Shared>,
    looks: &mpsc::Receiver<Look>,
    reader: &mpsc::Sender<Command>,
    events: &WeakSender<Event>,
) {
    // Known as early as can be: what is read from now on is read from this topic.
    let mut is_another_topic = shared.is_another_topic(view.topic_id());
    loop {
        if is_another_topic && reader.send(Command::Replaced).is_err() {
            return;
        }
        let look = match looks.recv_timeout(WATCH_INTERVAL) {
            Ok(look) => look,
            Err(mpsc::RecvTimeoutError::Timeout) => Look::Usual,
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        };
        // One look answers all who have asked by now.
        let look = looks.try_iter().chain([look]).find(|look| *look == Look::Close).unwrap_or(Look::Usual);
        // One that hangs in the client obeys no command any more, and must not gather them.
        if events.upgrade().is_none_or(|events| events.is_closed()) {
            return;
        }
        let mut sights = BTreeMap::new();
        for partition in shared.partitions() {
            // Taken before the extent: by the time that it is compared, reading may have gone beyond the end that was seen.
            let position = shared.position(partition);
            match see(view, partition, position, look) {
                Ok(sight) => {
                    sights.insert(partition, sight);
                }
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        partition = partition.0,
                        "a partition cannot be looked at"
                    );
                }
            }
        }
        if reader.send(Command::Seen(sights)).is_err() {
            return;
        }
        is_another_topic = shared.is_another_topic(view.topic_id());
    }
}

fn see(view: &View, partition: Partition, position: Offset, look: Look) -> Result<Sight, KafkaError> {
    let extent = view.extent(partition)?;
    let mut is_damaged = false;
    if look == Look::Close && (extent.first..extent.end).contains(&position) {
        let before = Offset::new(position.get() - 1).filter(|before| *before >= extent.first);
        for offset in [Some(position), before].into_iter().flatten() {
            is_damaged = is_damaged || view.is_damaged(partition, offset)?;
        }
    }
    Ok(Sight { position, extent, is_damaged })
}
