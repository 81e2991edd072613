//! The counting loop: next batch, apply, publish, acknowledge.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::bus::{Update, UpdateBus};
use crate::checkpoint::{Batch, Entry, Partition};
use crate::retry::Pauses;
use crate::shutdown::Shutdown;
use crate::source::{Refused, SourceError, SourceEvent, VoteSource};
use crate::starts::{StartError, Starts};
use crate::store::{Applied, StoreError, TallyStore};

/// How long a loop with nothing to do waits before it asks a store that was in trouble whether it can commit again.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Whether votes are being counted, for a readiness check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// What keeps the store from committing; `None` when the last attempt went well.
    pub trouble: Option<String>,
    /// Partitions that stopped until a person decides, with the alarm of each.
    pub stopped: Vec<(Partition, String)>,
}

impl Health {
    /// Whether everything is being counted.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.trouble.is_none() && self.stopped.is_empty()
    }
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Partitions came or went.
    Assignment,
    /// So many records were applied, published and acknowledged.
    Applied(usize),
    /// The store had applied the batch before; it was acknowledged.
    Landed,
    /// Somebody else counts this partition; the batch was dropped and reading starts anew from the checkpoint.
    Fenced,
    /// The store is in trouble and the batch is kept for the next step.
    Kept,
    /// The store is in trouble and the batch went back to its senders.
    Returned,
    /// The log cannot be read just now.
    SourceTrouble,
    /// A partition stopped with an alarm.
    PartitionStopped,
    /// The log is closed and all of it is counted.
    Closed,
}

impl Step {
    /// Whether another step should wait a little.
    const fn is_trouble(self) -> bool {
        matches!(self, Self::Kept | Self::Returned | Self::SourceTrouble | Self::Fenced)
    }
}

/// Counts votes: reads batches, applies each in one transaction, publishes what changed, and acknowledges.
///
/// Several may run against the same store and the same log: the checkpoint lets exactly one of them apply each record. A memory
/// log is nobody else's, so a store must have only one at a time. Dropping the loop at any point, or killing the process, loses
/// nothing that was acknowledged and counts nothing twice.
pub struct Ingest {
    source: Arc<dyn VoteSource>,
    store: Arc<dyn TallyStore>,
    bus: Arc<dyn UpdateBus>,
    health: watch::Sender<Health>,
    /// The batch in hand, until it is acknowledged or given back.
    kept: Option<Kept>,
    /// Partitions that are ours and are not read yet.
    starts: Starts,
}

/// A batch that is not done with.
#[derive(Debug, Clone)]
struct Kept {
    batch: Arc<Batch>,
    /// An attempt at it may have landed. Until the store says which, its senders must not be told that it is not recorded.
    doubtful: bool,
}

impl Ingest {
    /// A loop over these; [`run`](Self::run) or [`step`](Self::step) moves it.
    #[must_use]
    pub fn new(source: Arc<dyn VoteSource>, store: Arc<dyn TallyStore>, bus: Arc<dyn UpdateBus>) -> Self {
        let starts = Starts::new(Arc::clone(&source), Arc::clone(&store));
        Self { source, store, bus, health: watch::Sender::default(), kept: None, starts }
    }

    /// Follows the health of the loop.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Counts until the log is closed, or until `shutdown` is requested; a transaction that has begun is finished first.
    ///
    /// An embedder that must count everything its callers wait for closes the log and does not request the shutdown.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut pauses = Pauses::default();
        loop {
            let step = if let Some(kept) = self.kept.clone() {
                self.apply(kept).await
            } else {
                let in_trouble = self.health.borrow().trouble.is_some();
                let event = tokio::select! {
                    biased;
                    () = shutdown.requested() => return,
                    // Before any event: a partition that is started anew yields nothing any more of what was read before.
                    (partition, ended) = self.starts.next() => {
                        self.note_start(partition, ended);
                        continue;
                    }
                    event = self.source.next() => event,
                    () = tokio::time::sleep(PROBE_INTERVAL), if in_trouble => {
                        self.probe().await;
                        continue;
                    }
                };
                self.handle(event).await
            };
            if step == Step::Closed {
                return;
            }
            if step.is_trouble() {
                tokio::select! {
                    () = shutdown.requested() => return,
                    () = tokio::time::sleep(pauses.next_pause()) => {}
                }
            } else {
                pauses.reset();
            }
        }
    }

    /// Takes one step: waits for the next event and handles it, or tries again what the last step could not finish.
    ///
    /// Dropping the future is safe at any point: the next step, of this loop or of another one, finds out from the store.
    pub async fn step(&mut self) -> Step {
        if let Some(kept) = self.kept.clone() {
            return self.apply(kept).await;
        }
        if self.starts.is_empty() {
            let event = self.source.next().await;
            let step = self.handle(event).await;
            if step != Step::Assignment {
                return step;
            }
        }
        self.start_partitions().await
    }

    async fn handle(&mut self, event: Result<SourceEvent, SourceError>) -> Step {
        match event {
            Ok(SourceEvent::Assigned(partitions)) => {
                self.starts.add(partitions);
                Step::Assignment
            }
            Ok(SourceEvent::Revoked(partitions)) => {
                self.starts.remove(&partitions);
                self.health.send_modify(|health| health.stopped.retain(|(stopped, _)| !partitions.contains(stopped)));
                Step::Assignment
            }
            Ok(SourceEvent::Batch(batch)) => self.apply(Kept { batch: Arc::new(batch), doubtful: false }).await,
            Ok(SourceEvent::Stopped { partition, alarm }) => {
                tracing::error!(partition = partition.0, alarm, "partition stopped");
                metrics::counter!("polling_partitions_stopped_total").increment(1);
                self.health.send_modify(|health| {
                    health.stopped.retain(|(stopped, _)| *stopped != partition);
                    health.stopped.push((partition, alarm));
                });
                Step::PartitionStopped
            }
            Ok(SourceEvent::Closed) => Step::Closed,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the vote log cannot be read");
                Step::SourceTrouble
            }
        }
    }

    /// Tries once to start each partition that is not read yet.
    async fn start_partitions(&mut self) -> Step {
        self.starts.hurry();
        let mut step = Step::Assignment;
        for _ in 0..self.starts.len() {
            let (partition, ended) = self.starts.next().await;
            match &ended {
                Ok(()) => {}
                Err(StartError::Store(_)) => step = Step::Kept,
                Err(StartError::Log(_)) => step = Step::SourceTrouble,
            }
            self.note_start(partition, ended);
        }
        step
    }

    fn note_start(&self, partition: Partition, ended: Result<(), StartError>) {
        match ended {
            // If it stops again, it says so again.
            Ok(()) => {
                self.health.send_if_modified(|health| {
                    let before = health.stopped.len();
                    health.stopped.retain(|(stopped, _)| *stopped != partition);
                    health.stopped.len() < before
                });
            }
            Err(StartError::Store(error)) => self.note_trouble(&error),
            Err(StartError::Log(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, partition = partition.0, "cannot start");
            }
        }
    }

    async fn apply(&mut self, Kept { batch, doubtful }: Kept) -> Step {
        // Kept, and in doubt, until everything is done: a future dropped anywhere below must not forget it.
        self.kept = Some(Kept { batch: Arc::clone(&batch), doubtful: true });
        let started = Instant::now();
        let answer = self.store.apply(&batch).await;
        metrics::histogram!("polling_apply_seconds").record(started.elapsed().as_secs_f64());
        let step = match answer {
            Ok(applied) => {
                self.note_sound();
                self.finish(&batch, applied).await;
                Step::Applied(batch.len())
            }
            Err(StoreError::Fenced { .. }) => self.after_fence(&batch, doubtful).await,
            Err(error) => {
                self.note_trouble(&error);
                // Applying the same batch again tells what became of an attempt in doubt: it is fenced when it had landed.
                let in_doubt = doubtful || matches!(error, StoreError::Unknown(_));
                if !in_doubt && self.source.refuse(&batch, &error).await == Refused::Returned {
                    Step::Returned
                } else {
                    self.kept = Some(Kept { batch, doubtful: in_doubt });
                    return Step::Kept;
                }
            }
        };
        if step != Step::Kept {
            self.kept = None;
        }
        step
    }

    /// Publishes, then acknowledges: whoever is told that a vote is counted can see it counted.
    async fn finish(&mut self, batch: &Batch, mut applied: Applied) {
        metrics::counter!("polling_records_applied_total").increment(batch.len() as u64);
        metrics::histogram!("polling_batch_records").record(f64::from(u32::try_from(batch.len()).unwrap_or(u32::MAX)));
        let unreadable = batch.positioned().filter(|(_, entry)| matches!(entry, Entry::DeadLetter(_))).count();
        metrics::counter!("polling_dead_letters_total").increment(unreadable as u64);
        let mut updates: Vec<Update> = std::mem::take(&mut applied.tallies).into_iter().map(Update::Tally).collect();
        updates.extend(progress(batch));
        self.publish(updates).await;
        self.source.acknowledge(batch, Some(&applied)).await;
    }

    /// Either an attempt of ours had landed after all, or somebody else has taken over. Only an attempt in doubt can have landed, and only
    /// where the checkpoint is as it left it is that certain: beyond, another log may have given its own offsets to other votes.
    async fn after_fence(&mut self, batch: &Batch, doubtful: bool) -> Step {
        let checkpoint = match self.store.checkpoint().await {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                self.note_trouble(&error);
                return Step::Kept;
            }
        };
        self.note_sound();
        if doubtful && batch.parts().iter().all(|part| checkpoint.next(part.partition) >= part.next()) {
            // What it changed was never published: have everybody read again.
            let mut polls: Vec<_> = batch
                .positioned()
                .filter_map(|(_, entry)| match entry {
                    Entry::Vote(vote) => Some(vote.poll),
                    Entry::DeadLetter(_) => None,
                })
                .collect();
            polls.sort_unstable();
            polls.dedup();
            let mut updates: Vec<Update> = polls.into_iter().map(Update::Changed).collect();
            updates.extend(progress(batch));
            self.publish(updates).await;
            if batch.parts().iter().all(|part| checkpoint.is_behind(part)) {
                self.source.acknowledge(batch, None).await;
                return Step::Landed;
            }
        }
        metrics::counter!("polling_batches_fenced_total").increment(1);
        tracing::warn!(records = batch.len(), "a batch was fenced: another loop counts these partitions");
        // From what was just read: so the starts are the next thing that happens, before the log yields more that is fenced.
        self.starts.start_anew(batch.parts().iter().map(|part| part.partition), checkpoint);
        Step::Fenced
    }

    async fn publish(&mut self, updates: Vec<Update>) {
        if let Err(error) = self.bus.publish(updates).await {
            metrics::counter!("polling_publications_failed_total").increment(1);
            tracing::warn!(error = &error as &dyn std::error::Error, "updates were not published");
        }
    }

    async fn probe(&mut self) {
        match self.store.apply(&Batch::default()).await {
            Ok(_) => self.note_sound(),
            Err(error) => self.note_trouble(&error),
        }
    }

    fn note_sound(&self) {
        self.health.send_if_modified(|health| health.trouble.take().is_some());
    }

    fn note_trouble(&self, error: &StoreError) {
        metrics::counter!("polling_store_troubles_total").increment(1);
        // A store with too much to do is well.
        if error.is_overload() {
            return;
        }
        let cause = std::error::Error::source(error);
        let trouble = cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
        self.health.send_if_modified(|health| {
            let news = health.trouble.as_ref() != Some(&trouble);
            if news {
                tracing::error!(trouble, "the store cannot commit");
                health.trouble = Some(trouble);
            }
            news
        });
    }
}

fn progress(batch: &Batch) -> impl Iterator<Item = Update> {
    batch.parts().iter().map(|part| Update::Progress { partition: part.partition, next: part.next() })
}
