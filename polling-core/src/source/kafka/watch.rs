//! The thread that looks after the reader from outside: whether the brokers still have what is to be read, and whether the topic is
//! still the one it was.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::mpsc::WeakSender;

use super::Shared;
use super::reader::{Command, Event};
use crate::checkpoint::Offset;
use crate::kafka::{Extent, View};

/// How often it looks. A new topic under the old name must have outgrown our place in it within this time before a record of it is
/// read at all, and the alarm comes then, too.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// A request to look at once.
#[derive(Debug)]
pub(super) struct Look;

/// What was seen of a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    /// The next record to read, before the brokers were asked.
    pub(super) position: Offset,
    pub(super) extent: Extent,
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
        match looks.recv_timeout(WATCH_INTERVAL) {
            Ok(Look) | Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
        // One that hangs in the client obeys no command any more, and must not gather them.
        if events.upgrade().is_none_or(|events| events.is_closed()) {
            return;
        }
        let mut sights = BTreeMap::new();
        for partition in shared.partitions() {
            // Taken before the extent: by the time that it is compared, reading may have gone beyond the end that was seen.
            let position = shared.position(partition);
            match view.extent(partition) {
                Ok(extent) => {
                    sights.insert(partition, Sight { position, extent });
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
