//! What a topic must be before a vote is put into it.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::refusal::Refusal;
use super::view::Layout;
use super::{Cluster, Telemetry, TopicError, View, Weakness};
use crate::retry::Pauses;

/// How long an administrative request may take.
const ADMIN_WAIT: Duration = Duration::from_secs(15);
/// How long a new topic may take until all brokers know it.
const APPEARANCE_WAIT: Duration = Duration::from_secs(15);
/// Records that are dropped sooner than a day after they were written would be lost with a worker that stands still for a night.
const RETENTION_MS_MIN: i64 = 24 * 60 * 60 * 1000;
/// What a new topic of votes keeps: a week, so that a standstill of the workers over holidays loses nothing.
const RETENTION_MS_VOTES: &str = "604800000";
/// What a new topic of updates keeps: they are of no use after some minutes, and the shortest that brokers clean up well is this.
const RETENTION_MS_UPDATES: &str = "600000";

/// What a topic must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRules {
    /// Its name.
    pub name: String,
    /// Partitions: what a new topic gets, and, when it was asked for by name, what an old one must have.
    pub partitions: usize,
    /// Whether an old topic must have exactly so many partitions.
    pub exact_partitions: bool,
    /// Replicas of each partition, at least.
    pub replication: usize,
    /// Brokers that must have a record before it is acknowledged, at least.
    pub min_in_sync: usize,
    /// Takes a topic that could lose acknowledged votes, for development with one broker.
    pub accept_weak: bool,
    /// Whether the topic holds votes, which must not be lost, or updates, which may.
    pub holds_votes: bool,
}

impl TopicRules {
    /// The rules for a topic of votes: 12 partitions, 3 replicas, 2 of them in sync.
    #[must_use]
    pub fn votes(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partitions: 12,
            exact_partitions: false,
            replication: 3,
            min_in_sync: 2,
            accept_weak: false,
            holds_votes: true,
        }
    }

    /// The rules for a topic of updates: one partition, and nothing that must not be lost.
    #[must_use]
    pub fn updates(name: impl Into<String>) -> Self {
        Self { partitions: 1, min_in_sync: 1, accept_weak: true, holds_votes: false, ..Self::votes(name) }
    }
}

/// Creates the topic when it is absent, and checks it against the rules. Answers how many partitions it has.
///
/// Dropping the future leaves at most a new topic behind.
///
/// # Errors
///
/// See [`TopicError`].
pub async fn ensure_topic(cluster: &Cluster, rules: &TopicRules) -> Result<usize, TopicError> {
    let failed = |error: KafkaError, refusal: Option<Refusal>| {
        let brokers = cluster.brokers().to_owned();
        match refusal.or_else(|| Refusal::of_right(&error)) {
            Some(Refusal { reason, is_lasting: true }) => TopicError::Refused { brokers, reason },
            Some(Refusal { reason, .. }) => {
                TopicError::Unreachable { topic: rules.name.clone(), brokers, source: format!("{error}; {reason}").into() }
            }
            None => TopicError::Unreachable { topic: rules.name.clone(), brokers, source: error.into() },
        }
    };
    let view = View::open(cluster, &rules.name, "administration").map_err(|error| {
        let refusal = Refusal::of_settings(&error);
        failed(error, refusal)
    })?;
    let view = Arc::new(view);
    let unreachable = |error| failed(error, view.refusal());
    let layout = match ask(&view, View::layout).await.map_err(unreachable)? {
        Some(layout) => layout,
        None => {
            let brokers = ask(&view, View::brokers).await.map_err(unreachable)?;
            let partitions = create(cluster, rules, brokers).await?;
            appearance(&view, partitions).await.map_err(unreachable)?
        }
    };
    if !rules.accept_weak {
        let admin = administrator(cluster).map_err(unreachable)?;
        let settings = settings(&admin, &rules.name).await.map_err(unreachable)?;
        let setting = |name: &str| settings.get(name).and_then(|entry| entry.value.clone());
        let weaknesses = weaknesses(rules, layout, setting);
        if let Some(bytes) = setting("retention.bytes").filter(|bytes| bytes != "-1") {
            tracing::warn!(
                topic = rules.name,
                bytes,
                "the topic of votes drops records by size, however young and uncounted they are"
            );
        }
        if !weaknesses.is_empty() {
            return Err(TopicError::Weak { topic: rules.name.clone(), weaknesses });
        }
    }
    Ok(layout.partitions)
}

/// Asks in a thread that may block.
pub(super) async fn ask<T: Send + 'static>(
    view: &Arc<View>,
    question: impl FnOnce(&View) -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, KafkaError> {
    let view = Arc::clone(view);
    let answer = tokio::task::spawn_blocking(move || question(&view)).await;
    answer.unwrap_or(Err(KafkaError::Canceled))
}

/// Answers how many partitions the topic has at least.
async fn create(cluster: &Cluster, rules: &TopicRules, brokers: usize) -> Result<usize, TopicError> {
    // A weak topic is for a cluster that cannot hold a strong one.
    let replication = if rules.accept_weak { rules.replication.min(brokers) } else { rules.replication };
    let min_in_sync = rules.min_in_sync.min(replication).to_string();
    let topic = || rules.name.clone();
    let lasting = |error: KafkaError| TopicError::NotCreated { topic: topic(), reason: error.to_string() };
    let admin = administrator(cluster).map_err(lasting)?;
    let number = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
    let wanted = NewTopic::new(&rules.name, number(rules.partitions), TopicReplication::Fixed(number(replication)))
        .set("min.insync.replicas", &min_in_sync)
        .set("unclean.leader.election.enable", "false")
        .set("cleanup.policy", "delete")
        // By the clock of the brokers: what a server with a clock of last year writes would be too old to be kept at once.
        .set("message.timestamp.type", "LogAppendTime")
        .set("retention.ms", if rules.holds_votes { RETENTION_MS_VOTES } else { RETENTION_MS_UPDATES })
        .set("retention.bytes", "-1");
    let options = AdminOptions::new().request_timeout(Some(ADMIN_WAIT)).operation_timeout(Some(ADMIN_WAIT));
    let code = match admin.create_topics([&wanted], &options).await {
        Ok(results) => match results.into_iter().next() {
            Some(Ok(_)) => return Ok(rules.partitions),
            Some(Err((_, code))) => code,
            None => RDKafkaErrorCode::Unknown,
        },
        Err(KafkaError::AdminOp(code)) => code,
        Err(error) => return Err(lasting(error)),
    };
    match judge(code) {
        // Somebody else was faster, and made it as they wished.
        Hindrance::ThereAlready => Ok(1),
        Hindrance::Passing => Err(TopicError::NotCreatedYet { topic: topic(), reason: code.to_string() }),
        Hindrance::FewBrokers => {
            let reason = format!(
                "it shall have {replication} replicas (replication={replication} in the URL), and {brokers} brokers are up"
            );
            Err(TopicError::NotCreatedYet { topic: topic(), reason })
        }
        Hindrance::Lasting(about) => {
            let reason = format!("{code}{}{about}", if about.is_empty() { "" } else { "; " });
            Err(TopicError::NotCreated { topic: topic(), reason })
        }
    }
}

/// What keeps a topic from being made.
#[derive(Debug, PartialEq, Eq)]
enum Hindrance {
    ThereAlready,
    /// It goes away by itself.
    Passing,
    /// As long as not all brokers have started, nobody can know whether there are ever enough.
    FewBrokers,
    /// Somebody has to decide, and about what.
    Lasting(&'static str),
}

fn judge(code: RDKafkaErrorCode) -> Hindrance {
    use RDKafkaErrorCode as Code;
    match code {
        Code::TopicAlreadyExists => Hindrance::ThereAlready,
        Code::InvalidReplicationFactor => Hindrance::FewBrokers,
        // The controller is another one, or not there, or it was asked and has not said what became of it.
        Code::NotController
        | Code::StaleControllerEpoch
        | Code::StaleBrokerEpoch
        | Code::BrokerNotAvailable
        | Code::LeaderNotAvailable
        | Code::CoordinatorNotAvailable
        | Code::CoordinatorLoadInProgress
        | Code::RequestTimedOut
        | Code::OperationTimedOut
        | Code::MessageTimedOut
        | Code::NetworkException
        | Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::ThrottlingQuotaExceeded
        | Code::KafkaStorageError
        // What a broker says for which there is no code, such as that ZooKeeper does not answer it.
        | Code::Unknown => Hindrance::Passing,
        Code::InvalidPartitions => Hindrance::Lasting("see partitions in the URL"),
        Code::PolicyViolation | Code::InvalidConfig => {
            Hindrance::Lasting("make it as the brokers demand, or see partitions, replication and min-in-sync in the URL")
        }
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            Hindrance::Lasting("let the user in the URL (librdkafka.sasl.username) create topics, or make it")
        }
        _ => Hindrance::Lasting(""),
    }
}

/// Waits until the brokers show a topic that was just made.
async fn appearance(view: &Arc<View>, partitions: usize) -> Result<Layout, KafkaError> {
    let deadline = tokio::time::Instant::now() + APPEARANCE_WAIT;
    let mut pauses = Pauses::default();
    loop {
        if let Some(layout) = ask(view, View::layout).await?
            && layout.partitions >= partitions
        {
            return Ok(layout);
        }
        if tokio::time::Instant::now() > deadline {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
        }
        tokio::time::sleep(pauses.next_pause()).await;
    }
}

/// Who makes topics and asks for their settings.
pub(super) fn administrator(cluster: &Cluster) -> Result<AdminClient<Telemetry>, KafkaError> {
    cluster.config(&[], &[]).create_with_context(Telemetry::new("administration"))
}

pub(super) async fn settings(admin: &AdminClient<Telemetry>, topic: &str) -> Result<ConfigResource, KafkaError> {
    let options = AdminOptions::new().request_timeout(Some(ADMIN_WAIT));
    let deadline = tokio::time::Instant::now() + APPEARANCE_WAIT;
    let mut pauses = Pauses::default();
    loop {
        let mut found = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options).await?;
        match found.pop() {
            // Every topic has every setting.
            Some(Ok(settings)) if !settings.entries.is_empty() => return Ok(settings),
            // The broker that was asked has not heard of a new topic yet.
            Some(Ok(_) | Err(RDKafkaErrorCode::UnknownTopicOrPartition)) | None if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(pauses.next_pause()).await;
            }
            Some(Ok(settings)) => return Ok(settings),
            Some(Err(code)) => return Err(KafkaError::AdminOp(code)),
            None => return Err(KafkaError::AdminOp(RDKafkaErrorCode::UnknownTopicOrPartition)),
        }
    }
}

/// What of the topic would break a promise.
pub(super) fn weaknesses(rules: &TopicRules, layout: Layout, setting: impl Fn(&str) -> Option<String>) -> Vec<Weakness> {
    let mut weaknesses = Vec::new();
    let mut demand = |holds: bool, setting: &'static str, found: String, wanted: String| {
        if !holds {
            weaknesses.push(Weakness { setting, found, wanted });
        }
    };
    let text = |name: &str| setting(name).unwrap_or_else(|| "unknown".to_owned());
    let number = |name: &str| setting(name).and_then(|value| value.parse::<i64>().ok());
    if rules.exact_partitions {
        let holds = layout.partitions == rules.partitions;
        demand(holds, "partitions", layout.partitions.to_string(), rules.partitions.to_string());
    }
    let wanted = format!("at least {}", rules.replication);
    demand(layout.replication >= rules.replication, "replication.factor", layout.replication.to_string(), wanted);
    let in_sync = number("min.insync.replicas").and_then(|value| usize::try_from(value).ok());
    let wanted = format!("at least {}", rules.min_in_sync);
    demand(in_sync >= Some(rules.min_in_sync), "min.insync.replicas", text("min.insync.replicas"), wanted);
    let fits = in_sync.is_none_or(|in_sync| in_sync <= layout.replication);
    demand(fits, "min.insync.replicas", text("min.insync.replicas"), format!("at most the {} replicas", layout.replication));
    let unclean = text("unclean.leader.election.enable");
    demand(unclean == "false", "unclean.leader.election.enable", unclean.clone(), "false".to_owned());
    let cleanup = text("cleanup.policy");
    demand(cleanup == "delete", "cleanup.policy", cleanup.clone(), "delete".to_owned());
    let kept = number("retention.ms").is_some_and(|kept| !(0..RETENTION_MS_MIN).contains(&kept));
    demand(kept, "retention.ms", text("retention.ms"), format!("at least {RETENTION_MS_MIN}, or -1"));
    weaknesses
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout { partitions: 12, replication: 3, in_sync: 3, under_replicated: 0 };
    const SOUND: [(&str, &str); 4] = [
        ("min.insync.replicas", "2"),
        ("unclean.leader.election.enable", "false"),
        ("cleanup.policy", "delete"),
        ("retention.ms", "604800000"),
    ];

    fn found(layout: Layout, change: Option<(&str, &str)>) -> Vec<String> {
        let rules = TopicRules { exact_partitions: true, ..TopicRules::votes("votes") };
        let setting = |name: &str| {
            let sound = SOUND.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            change.filter(|(changed, _)| *changed == name).map_or(sound, |(_, value)| Some(value.to_owned()))
        };
        weaknesses(&rules, layout, setting).iter().map(Weakness::to_string).collect()
    }

    #[test]
    fn what_goes_away_by_itself_keeps_a_topic_from_being_made_for_a_while_only() {
        use RDKafkaErrorCode as Code;
        for code in
            [Code::NotController, Code::RequestTimedOut, Code::OperationTimedOut, Code::BrokerTransportFailure, Code::Unknown]
        {
            assert_eq!(judge(code), Hindrance::Passing, "{code}");
        }
        assert_eq!(judge(Code::InvalidReplicationFactor), Hindrance::FewBrokers);
        for code in [Code::PolicyViolation, Code::InvalidPartitions, Code::TopicAuthorizationFailed, Code::InvalidTopic] {
            assert!(matches!(judge(code), Hindrance::Lasting(_)), "{code}");
        }
    }

    #[test]
    fn a_sound_topic_has_no_weakness() {
        assert_eq!(found(LAYOUT, None), Vec::<String>::new());
        assert_eq!(found(LAYOUT, Some(("retention.ms", "-1"))), Vec::<String>::new());
    }

    #[test]
    fn every_weakness_is_named_with_what_was_found_and_wanted() {
        assert_eq!(found(Layout { replication: 1, ..LAYOUT }, None)[0], "replication.factor is 1 and must be at least 3");
        assert_eq!(found(Layout { partitions: 6, ..LAYOUT }, None), ["partitions is 6 and must be 12"]);
        for (setting, value, text) in [
            ("min.insync.replicas", "1", "min.insync.replicas is 1 and must be at least 2"),
            ("min.insync.replicas", "4", "min.insync.replicas is 4 and must be at most the 3 replicas"),
            ("unclean.leader.election.enable", "true", "unclean.leader.election.enable is true and must be false"),
            ("cleanup.policy", "compact", "cleanup.policy is compact and must be delete"),
            ("retention.ms", "60000", "retention.ms is 60000 and must be at least 86400000, or -1"),
        ] {
            assert_eq!(found(LAYOUT, Some((setting, value))), [text]);
        }
    }
}
