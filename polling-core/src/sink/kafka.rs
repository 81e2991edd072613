//! The writing end of a vote log in Kafka.
//!
//! One idempotent producer, which one thread serves. A vote is one record, and its key is the key of its voter: the votes of one
//! voter stay in order in one partition, and a poll that everybody votes on spreads over all of them.
//!
//! A record has no headers: its first field is its version, and a header with its type would cost half as much as the whole record.
//!
//! What became of a record is read from its own delivery report, never from the error alone: an error after the request was sent
//! may still have written it. An error that a producer cannot go on from makes a new producer take its place; what the old one has
//! sent is waited for.

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::statistics::Statistics;
use tokio::sync::{oneshot, watch};

use super::{Recorded, SinkError, VoteSink};
use crate::checkpoint::{Offset, Partition, Position};
use crate::kafka::{Cluster, Persisted, Reachability, Telemetry, persisted};
use crate::model::{Vote, codec};
use crate::retry::Pauses;

/// The default for the votes that may wait for their acknowledgement: what a busy server takes while a leader moves, which is
/// about ten seconds; some 100 MB.
pub const WAITING_VOTES_DEFAULT: usize = 262_144;
/// How long the polling of a producer goes on before the thread looks at anything else, such as whether the producer is dead.
const TURN: Duration = Duration::from_millis(50);
/// How long a producer that is given up, or a sink that is closed, waits for what it has sent. What is without an answer then is
/// unknown to its caller.
const DRAIN_WAIT: Duration = Duration::from_secs(10);

const DEFAULTS: [(&str, &str); 4] = [
    // A caller waits for its answer meanwhile, but the votes of these milliseconds share a request, and requests are most of what a vote
    // costs on both sides. It is what librdkafka waits by itself, and Kafka's own clients since 4.0, for that reason (KIP-1030).
    ("linger.ms", "5"),
    // Above the worst change of leaders, so that most votes are recorded after all; see `socket.timeout.ms` beside it.
    ("message.timeout.ms", "30000"),
    ("request.timeout.ms", "8000"),
    ("compression.type", "none"),
];
const FIXED: [(&str, &str); 3] = [("enable.idempotence", "true"), ("acks", "all"), ("partitioner", "murmur2_random")];

type Answer = Result<Recorded, SinkError>;
/// Travels through librdkafka with its record.
type Waiting = Box<oneshot::Sender<Answer>>;

/// Answers the callers as the reports come in.
struct Reports {
    telemetry: Telemetry,
}

impl ClientContext for Reports {
    fn stats(&self, statistics: Statistics) {
        self.telemetry.show(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.telemetry.note_error(&error, reason);
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.telemetry.note_line(level, facility, line);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Waiting;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Waiting) {
        // A caller that went away needs no answer.
        let _gone = waiting.send(answer(result));
    }
}

/// Invariant: the answer follows the status of the record, not its error: an error may come after the record was written.
fn answer(result: &DeliveryResult<'_>) -> Answer {
    let (message, error) = match result {
        Ok(message) => (message, None),
        Err((error, message)) => (message, Some(error)),
    };
    let reason = || error.map_or_else(|| "the broker does not say".to_owned(), ToString::to_string);
    match persisted(message) {
        Persisted::Yes => {
            // A record that turned out to have been written by an earlier request has no offset in its report.
            let partition = u32::try_from(message.partition()).ok().map(Partition);
            let offset = Offset::new(message.offset());
            let position = partition.zip(offset).map(|(partition, offset)| Position { partition, offset });
            Ok(Recorded { position, outcome: None, is_conflict: false })
        }
        Persisted::No => Err(not_recorded(reason())),
        Persisted::Possibly => {
            metrics::counter!("polling_kafka_unknown_votes_total").increment(1);
            Err(SinkError::Unknown { reason: reason() })
        }
    }
}

fn not_recorded(reason: impl Into<String>) -> SinkError {
    SinkError::NotRecorded { reason: reason.into() }
}

/// Takes votes into Kafka. Dropping it closes it.
pub struct KafkaSink {
    shared: Arc<Shared>,
}

struct Shared {
    topic: String,
    config: ClientConfig,
    /// `None` when the sink is closed.
    producer: RwLock<Option<Arc<BaseProducer<Reports>>>>,
    reachability: Reachability,
    /// How many producer threads run. The sink is flushed when none does.
    threads: watch::Sender<usize>,
}

impl KafkaSink {
    /// Makes a producer for a topic, which must exist; [`ensure_topic`](crate::kafka::ensure_topic) sees to that. Brokers that
    /// cannot be reached are no error here: votes wait for them. At most `capacity` votes wait; more are refused.
    ///
    /// # Errors
    ///
    /// When the client cannot be made: a bad setting, or no thread.
    pub fn open(cluster: &Cluster, topic: impl Into<String>, capacity: usize) -> Result<Self, crate::store::Source> {
        let capacity = capacity.to_string();
        let mut fixed = FIXED.to_vec();
        fixed.push(("queue.buffering.max.messages", &capacity));
        let shared = Arc::new(Shared {
            topic: topic.into(),
            config: cluster.config(&DEFAULTS, &fixed),
            producer: RwLock::new(None),
            reachability: Reachability::default(),
            threads: watch::Sender::new(0),
        });
        shared.start_producer(None)?;
        Ok(Self { shared })
    }

    /// Refuses every vote from now on, and waits until those before have their answer, at most ten seconds. Whoever has none then
    /// gets [`SinkError::Unknown`], or [`SinkError::NotRecorded`] when the record was not sent. Doing it again does nothing.
    ///
    /// Dropping the future does not stop the closing.
    pub async fn close(&self) {
        self.shared.refuse();
        let mut threads = self.shared.threads.subscribe();
        // The sender is in `shared`, so this ends only when the number is zero.
        let _ended = threads.wait_for(|running| *running == 0).await;
    }

    /// Why votes cannot be written just now, as far as the producer knows: no broker, or a partition without a leader.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared.reachability.trouble()
    }

    /// How many votes wait for their acknowledgement; a few events of the client may be among them.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let producer = self.shared.producer.read().unwrap_or_else(PoisonError::into_inner);
        producer.as_ref().and_then(|producer| usize::try_from(producer.in_flight_count()).ok()).unwrap_or(0)
    }
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        self.shared.refuse();
    }
}

impl Shared {
    fn refuse(&self) {
        *self.producer.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Makes a producer with its thread, and puts it in the place of another one, or of none. Does nothing when something else is in
    /// that place by now.
    fn start_producer(self: &Arc<Self>, former: Option<&Arc<BaseProducer<Reports>>>) -> Result<(), crate::store::Source> {
        let context = Reports { telemetry: Telemetry::telling("sink", self.reachability.clone()) };
        let producer: Arc<BaseProducer<Reports>> = Arc::new(self.config.create_with_context(context)?);
        // Held until the producer is in its place: its thread ends as soon as it sees that it is not.
        let mut place = self.producer.write().unwrap_or_else(PoisonError::into_inner);
        if !is_same(place.as_ref(), former) {
            return Ok(());
        }
        let (served, sink) = (Arc::clone(&producer), Arc::downgrade(self));
        thread::Builder::new().name("kafka-sink".to_owned()).spawn(move || serve(served, &sink))?;
        self.threads.send_modify(|running| *running += 1);
        *place = Some(producer);
        Ok(())
    }

    fn is_current(&self, producer: &Arc<BaseProducer<Reports>>) -> bool {
        is_same(self.producer.read().unwrap_or_else(PoisonError::into_inner).as_ref(), Some(producer))
    }

    /// Puts a new producer in the place of a dead one, for as long as that takes and the sink is open.
    fn replace(self: &Arc<Self>, dead: &Arc<BaseProducer<Reports>>) {
        let mut pauses = Pauses::default();
        while self.is_current(dead) {
            if let Err(error) = self.start_producer(Some(dead)) {
                tracing::error!(error = &*error, "a dead Kafka producer cannot be replaced yet");
                dead.poll(pauses.next_pause());
            }
        }
    }
}

fn is_same(one: Option<&Arc<BaseProducer<Reports>>>, other: Option<&Arc<BaseProducer<Reports>>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// Serves a producer until the sink is closed or the producer is dead, and then until what it has sent is answered.
fn serve(producer: Arc<BaseProducer<Reports>>, sink: &Weak<Shared>) {
    let started = Instant::now();
    loop {
        producer.poll(TURN);
        let Some(sink) = sink.upgrade() else { break };
        if let Some((code, reason)) = producer.client().fatal_error() {
            metrics::counter!("polling_kafka_producers_replaced_total").increment(1);
            tracing::error!(%code, reason, lived_seconds = started.elapsed().as_secs(), "a Kafka producer is dead and is replaced");
            sink.replace(&producer);
            break;
        }
        if !sink.is_current(&producer) {
            break;
        }
    }
    if let Err(error) = producer.flush(DRAIN_WAIT) {
        tracing::warn!(
            waiting = producer.in_flight_count(),
            error = &error as &dyn std::error::Error,
            "votes are left without an answer"
        );
    }
    // Its end gives an answer to what is left: unsent is not recorded, sent is unknown.
    drop(producer);
    if let Some(sink) = sink.upgrade() {
        sink.threads.send_modify(|running| *running -= 1);
    }
}

#[async_trait]
impl VoteSink for KafkaSink {
    async fn record(&self, vote: Vote) -> Result<Recorded, SinkError> {
        let (answer, answered) = oneshot::channel();
        let bytes = codec::encode(&vote);
        {
            let producer = self.shared.producer.read().unwrap_or_else(PoisonError::into_inner);
            let Some(producer) = producer.as_ref() else { return Err(not_recorded("the log is closed")) };
            let record = BaseRecord::with_opaque_to(&self.shared.topic, Box::new(answer)).key(&vote.voter.0).payload(&bytes);
            if let Err((error, _record)) = producer.send(record) {
                return Err(match error {
                    KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => not_recorded("the queue is full"),
                    // Refused before it was taken over, so it is certainly not in the log, whatever the reason.
                    error => not_recorded(error.to_string()),
                });
            }
        }
        answered.await.unwrap_or_else(|_| Err(SinkError::Unknown { reason: "the Kafka producer is gone".to_owned() }))
    }
}
