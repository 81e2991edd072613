//! From `kafka:` URLs to what they open.

use std::sync::Arc;

use async_trait::async_trait;
use percent_encoding::percent_decode_str;

use crate::bus::kafka::KafkaBus;
use crate::kafka::{Cluster, Inspection, KafkaOpenError, TopicRules, ensure_topic};
use crate::model::Vote;
use crate::open::OpenError;
use crate::open_url::Parts;
use crate::sink::kafka::{KafkaSink, WAITING_VOTES_DEFAULT};
use crate::sink::{Recorded, SinkError, VoteSink};
use crate::source::kafka::{Backlog, GROUP_DEFAULT, KafkaRetainedLog, KafkaSource};

/// What stands before the name of a setting that goes to librdkafka as it is.
const PASSED_THROUGH: &str = "librdkafka.";
/// Parameters of every topic.
const OF_A_TOPIC: [&str; 3] = ["partitions", "replication", PASSED_THROUGH];
/// Those of a topic of votes besides.
const OF_A_LOG: [&str; 5] = ["min-in-sync", "accept-weak-topic", "accept-unreadable", "capacity", "group"];
/// More partitions than brokers move in a reasonable time.
const PARTITIONS_MAX: usize = 10_000;
/// More replicas than any cluster has racks.
const REPLICATION_MAX: usize = 100;
/// Votes that may wait, at most: beyond that, memory is the bottleneck.
const CAPACITY_MAX: usize = 10_000_000;
/// Fewer brokers than this do not survive the loss of one.
const MIN_IN_SYNC_LEAST: usize = 2;

/// What the URL of a log says.
#[derive(Debug)]
pub(crate) struct LogOptions {
    cluster: Cluster,
    rules: TopicRules,
    capacity: usize,
    group: String,
    accept_unreadable: bool,
}

/// What the URL of a bus says.
#[derive(Debug)]
pub(crate) struct BusOptions {
    cluster: Cluster,
    rules: TopicRules,
}

/// A log that is open.
#[derive(Clone)]
pub(crate) struct OpenLog {
    sink: Arc<KafkaSink>,
    pub(crate) source: Arc<KafkaSource>,
    inspection: Arc<Inspection>,
    pub(crate) backlog: Arc<Backlog>,
}

impl OpenLog {
    /// Where votes go in, as long as the topic is one that they may go into.
    pub(crate) fn sink(&self) -> Arc<dyn VoteSink> {
        Arc::new(InspectedSink { sink: Arc::clone(&self.sink), inspection: Arc::clone(&self.inspection) })
    }
}

/// Refuses votes at once while there is no topic that they may go into: the client would wait for one, and then not know.
struct InspectedSink {
    sink: Arc<KafkaSink>,
    inspection: Arc<Inspection>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl VoteSink for InspectedSink {
    async fn record(&self, vote: Vote) -> Result<Recorded, SinkError> {
        if let Some(reason) = self.inspection.refusal() {
            return Err(SinkError::NotRecorded { reason });
        }
        self.sink.record(vote).await
    }
}

/// What Kafka has open, to close it.
#[derive(Clone, Default)]
pub(crate) struct OpenKafka {
    pub(crate) log: Option<OpenLog>,
    pub(crate) bus: Option<Arc<KafkaBus>>,
}

impl OpenKafka {
    /// Why the log cannot be written or read just now. An end that is not used knows of nothing.
    pub(crate) fn log_trouble(&self) -> Option<String> {
        let log = self.log.as_ref()?;
        log.inspection.refusal().or_else(|| log.sink.trouble()).or_else(|| log.source.trouble())
    }

    /// What endangers votes that are in the log, or that will be.
    pub(crate) fn log_warning(&self) -> Option<String> {
        let log = self.log.as_ref()?;
        let warnings: Vec<String> = [log.inspection.warning(), log.backlog.warning()].into_iter().flatten().collect();
        (!warnings.is_empty()).then(|| warnings.join("; "))
    }

    /// Leaves the group first, so that another worker goes on meanwhile.
    pub(crate) async fn close(&self) {
        if let Some(log) = &self.log {
            log.source.close().await;
            log.sink.close().await;
        }
        if let Some(bus) = &self.bus {
            bus.flush().await;
        }
    }
}

/// Reads the URL of a log. Opens nothing.
pub(crate) fn log_options(url: &Parts<'_>) -> Result<LogOptions, OpenError> {
    only(url, &[&OF_A_TOPIC[..], &OF_A_LOG[..]].concat())?;
    let (cluster, topic) = cluster(url)?;
    let mut rules = topic_rules(url, TopicRules::votes(topic))?;
    rules.min_in_sync = url.number("min-in-sync", rules.min_in_sync, 1..=REPLICATION_MAX)?;
    rules.accept_weak = accepts(url, "accept-weak-topic")?;
    let accept_unreadable = accepts(url, "accept-unreadable")?;
    if !rules.accept_weak && rules.min_in_sync < MIN_IN_SYNC_LEAST {
        return Err(
            url.bad("min-in-sync must be at least 2: an acknowledged vote is on two brokers, unless accept-weak-topic=true")
        );
    }
    if rules.min_in_sync > rules.replication {
        return Err(url.bad("min-in-sync must be at most the replication"));
    }
    let capacity = url.number("capacity", WAITING_VOTES_DEFAULT, 1..=CAPACITY_MAX)?;
    let group = url.parameter("group").unwrap_or(GROUP_DEFAULT);
    if group.is_empty() {
        return Err(url.bad("group must not be empty"));
    }
    Ok(LogOptions { cluster, rules, capacity, group: group.to_owned(), accept_unreadable })
}

/// Whether something is accepted that is not unless somebody says so.
fn accepts(url: &Parts<'_>, name: &str) -> Result<bool, OpenError> {
    match url.parameter(name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(url.bad(format!("{name} must be true or false"))),
    }
}

/// Reads the URL of a bus. Opens nothing.
pub(crate) fn bus_options(url: &Parts<'_>) -> Result<BusOptions, OpenError> {
    only(url, &OF_A_TOPIC)?;
    let (cluster, topic) = cluster(url)?;
    Ok(BusOptions { cluster, rules: topic_rules(url, TopicRules::updates(topic))? })
}

/// Checks the topic, and goes on looking at it, and opens both ends. The reading end joins its group when it is first read, so a server
/// that only writes never does.
pub(crate) async fn open_log(options: &LogOptions) -> Result<OpenLog, KafkaOpenError> {
    let LogOptions { cluster, rules, capacity, group, accept_unreadable } = options;
    let partitions = ensure_topic(cluster, rules).await?;
    tracing::info!(topic = rules.name, partitions, accept_weak = rules.accept_weak, "the topic of votes is as it must be");
    let sink = KafkaSink::open(cluster, &*rules.name, *capacity).map_err(KafkaOpenError::Client)?;
    let source = KafkaSource::new(cluster.clone(), &*rules.name, &**group).accepting_unreadable(*accept_unreadable);
    let inspection = Inspection::start(cluster, rules.clone()).map_err(|error| KafkaOpenError::Client(error.into()))?;
    let inspection = Arc::new(inspection);
    let backlog = Arc::new(Backlog::new(Arc::clone(&inspection)));
    Ok(OpenLog { sink: Arc::new(sink), source: Arc::new(source), inspection, backlog })
}

/// The log as an auditor reads it. Nothing is opened, made or checked.
pub(crate) fn retained_log(options: &LogOptions) -> KafkaRetainedLog {
    KafkaRetainedLog::new(options.cluster.clone(), &*options.rules.name)
}

pub(crate) async fn open_bus(options: &BusOptions) -> Result<Arc<KafkaBus>, KafkaOpenError> {
    let BusOptions { cluster, rules } = options;
    ensure_topic(cluster, rules).await?;
    KafkaBus::open(cluster.clone(), &*rules.name).map(Arc::new).map_err(KafkaOpenError::Client)
}

/// Refuses unknown parameters; what is passed through is looked at by [`cluster`].
fn only(url: &Parts<'_>, known: &[&str]) -> Result<(), OpenError> {
    url.only_some(known, |name| name.starts_with(PASSED_THROUGH))
}

fn cluster<'a>(url: &Parts<'a>) -> Result<(Cluster, &'a str), OpenError> {
    let form = "its form is kafka://HOST:PORT,HOST:PORT/TOPIC";
    let place = url.path().strip_prefix("//").ok_or_else(|| url.bad(form))?;
    if place.contains('@') {
        return Err(url.bad("a user is not part of it: use librdkafka.sasl.username and librdkafka.sasl.password"));
    }
    let (brokers, topic) = place.split_once('/').ok_or_else(|| url.bad(form))?;
    let is_broker = |broker: &str| !broker.is_empty() && !broker.contains(char::is_whitespace);
    if !brokers.split(',').all(is_broker) {
        return Err(url.bad(form));
    }
    // https://kafka.apache.org/documentation: names have letters, digits, full stops, underscores and hyphens, at most 249.
    let is_named = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if topic.is_empty() || topic.len() > 249 || [".", ".."].contains(&topic) || !topic.chars().all(is_named) {
        return Err(url.bad(format!("{topic:?} is no name of a topic")));
    }
    let mut cluster = Cluster::new(brokers);
    for (name, value) in url.parameters() {
        let Some(name) = name.strip_prefix(PASSED_THROUGH) else { continue };
        let value = percent_decode_str(value).decode_utf8().map_err(|_| url.bad(format!("librdkafka.{name} is not text")))?;
        cluster = cluster.with_setting(name, &value).map_err(|bad| url.bad(bad.to_string()))?;
    }
    Ok((cluster, topic))
}

fn topic_rules(url: &Parts<'_>, rules: TopicRules) -> Result<TopicRules, OpenError> {
    Ok(TopicRules {
        exact_partitions: url.parameter("partitions").is_some(),
        partitions: url.number("partitions", rules.partitions, 1..=PARTITIONS_MAX)?,
        replication: url.number("replication", rules.replication, 1..=REPLICATION_MAX)?,
        ..rules
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(url: &str) -> Result<LogOptions, String> {
        log_options(&Parts::of("log", url)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_log_is_strong_unless_somebody_says_otherwise() {
        let options = log("kafka://b1:9092,b2,b3/votes").expect("sound");
        assert_eq!((options.cluster.brokers(), &*options.group), ("b1:9092,b2,b3", "polling"));
        assert_eq!(options.rules, TopicRules::votes("votes"));
        let options = log(
            "kafka://b/votes?partitions=3&replication=1&min-in-sync=1&accept-weak-topic=true&accept-unreadable=true&capacity=5&group=g",
        );
        let options = options.expect("sound");
        assert_eq!((options.rules.partitions, options.rules.replication, options.rules.min_in_sync), (3, 1, 1));
        assert!(options.rules.exact_partitions && options.rules.accept_weak && options.accept_unreadable);
        assert_eq!((options.capacity, &*options.group), (5, "g"));
    }

    #[test]
    fn mistakes_are_named_without_a_password() {
        for (url, complaint) in [
            ("kafka:votes", "cannot be used: its form is kafka://HOST:PORT,HOST:PORT/TOPIC"),
            ("kafka://b1,,b3/votes", "cannot be used: its form is kafka://HOST:PORT,HOST:PORT/TOPIC"),
            ("kafka://b1/", "cannot be used: \"\" is no name of a topic"),
            ("kafka://b1/vo/tes", "cannot be used: \"vo/tes\" is no name of a topic"),
            ("kafka://b1/votes?partition=3", "has an unknown parameter \"partition\", did you mean \"partitions\"?"),
            ("kafka://b1/votes?librdkafk.acks=1", "has an unknown parameter \"librdkafk.acks\""),
            ("kafka://b1/votes?accept-weak-topic=yes", "cannot be used: accept-weak-topic must be true or false"),
            (
                "kafka://b1/votes?min-in-sync=1",
                "cannot be used: min-in-sync must be at least 2: an acknowledged vote is on two brokers, unless accept-weak-topic=true",
            ),
            ("kafka://b1/votes?min-in-sync=4", "cannot be used: min-in-sync must be at most the replication"),
            (
                "kafka://b1/votes?librdkafka.enable.idempotence=false",
                "cannot be used: librdkafka.enable.idempotence cannot be set: a resent request must not write a vote twice or out of order",
            ),
        ] {
            assert_eq!(log(url).expect_err("it is wrong"), format!("the log {url:?} {complaint}"));
        }
        let text = log("kafka://b1/votes?librdkafka.sasl.password=hush&capacity=0").expect_err("it is wrong");
        assert_eq!(
            text,
            "the log \"kafka://b1/votes?librdkafka.sasl.password=(redacted)&capacity=0\" cannot be used: capacity must be a \
             number between 1 and 10000000"
        );
        assert!(!format!("{:?}", log("kafka://b1/votes?librdkafka.sasl.password=hush")).contains("hush"));
    }

    #[test]
    fn what_is_passed_through_may_have_any_letters() {
        assert!(log("kafka://b1/votes?librdkafka.sasl.password=a%26b%3d").is_ok());
        let text = log("kafka://b1/votes?librdkafka.client.rack=%ff").expect_err("it is no text");
        assert!(text.ends_with("librdkafka.client.rack is not text"), "{text}");
    }

    #[test]
    fn a_bus_has_no_parameters_of_a_log() {
        let bus = |url| bus_options(&Parts::of("bus", url)).map_err(|error| error.to_string());
        assert_eq!(bus("kafka://b1/poll-updates?partitions=2").expect("sound").rules.partitions, 2);
        assert!(bus("kafka://b1/poll-updates?group=g").expect_err("of a log").contains("unknown parameter"));
    }
}
