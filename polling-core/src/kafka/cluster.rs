//! How a cluster is reached: its brokers, and settings that go to librdkafka as they are.

use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use thiserror::Error;

/// Settings of librdkafka that our promises rest on, and what each would break. Aliases of librdkafka stand beside their names; one of
/// a default of ours is refused, too, because which of two names of a setting counts is left to chance.
const OURS: [(&str, &str); 32] = [
    ("statistics.interval.ms", "whether brokers can be reached is known by the statistics"),
    ("acks", "a vote is acknowledged, and news is out, when all in-sync brokers have it"),
    ("request.required.acks", "a vote is acknowledged, and news is out, when all in-sync brokers have it"),
    ("enable.idempotence", "a resent request must not write a vote twice or out of order"),
    ("max.in.flight", "the order of a voter's votes rests on it"),
    ("max.in.flight.requests.per.connection", "the order of a voter's votes rests on it"),
    ("retries", "an idempotent producer resends until the time of a vote is over"),
    ("message.send.max.retries", "an idempotent producer resends until the time of a vote is over"),
    ("transactional.id", "transactions leave holes in the offsets, and a hole is an alarm"),
    ("partitioner", "all programs must agree on the partition of a voter"),
    ("queue.buffering.max.messages", "the parameter capacity sets it"),
    ("queuing.strategy", "the order of a voter's votes rests on it"),
    ("delivery.report.only.error", "every vote waits for its report"),
    ("group.id", "the parameter group sets it"),
    ("group.protocol", "assignments are made by hand in the classic protocol"),
    ("partition.assignment.strategy", "assignments are made by hand in the eager protocol"),
    ("enable.auto.commit", "offsets are trusted only from the store"),
    ("auto.commit.enable", "offsets are trusted only from the store"),
    ("enable.auto.offset.store", "offsets are trusted only from the store"),
    ("auto.offset.reset", "a lost offset is an alarm and never a jump"),
    ("check.crcs", "a record that was damaged on a disk is an alarm and never a vote"),
    ("delivery.timeout.ms", "it is another name of message.timeout.ms, which can be"),
    ("queue.buffering.max.ms", "it is another name of linger.ms, which can be"),
    ("compression.codec", "it is another name of compression.type, which can be"),
    ("isolation.level", "a hole in the offsets is an alarm"),
    ("enable.partition.eof", "the end of a partition is no event here"),
    ("allow.auto.create.topics", "a topic is made by its rules, or not at all"),
    ("bootstrap.servers", "they are the host of the URL"),
    ("metadata.broker.list", "they are the host of the URL"),
    ("test.mock.num.brokers", "votes would go to brokers that are none"),
    ("enable.random.seed", "partitions are picked by key alone"),
    ("log.queue", "the log of the client is read from its queue"),
];

/// Words in the name of a setting whose value is never printed.
const SECRET_WORDS: [&str; 6] = ["password", "secret", "token", "key", "pem", "oauthbearer.config"];

/// Why a setting is not passed on to librdkafka.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadSetting {
    /// It is not the caller's to set.
    #[error("librdkafka.{name} cannot be set: {reason}")]
    Ours {
        /// The setting.
        name: String,
        /// What rests on it.
        reason: &'static str,
    },
    /// librdkafka does not take it.
    #[error("librdkafka.{name} is not taken: {reason}")]
    NotTaken {
        /// The setting.
        name: String,
        /// What librdkafka says.
        reason: String,
    },
}

/// A Kafka cluster: where its brokers are, and settings of librdkafka as they are. Nothing is opened.
#[derive(Clone)]
pub struct Cluster {
    brokers: String,
    settings: Vec<(String, String)>,
}

impl Cluster {
    /// A cluster behind these brokers, `host:port` separated by commas. Some of them are enough; the rest is found.
    #[must_use]
    pub fn new(brokers: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), settings: Vec::new() }
    }

    /// Adds a setting of librdkafka, such as `sasl.username`. It goes to producers and consumers, each of which ignores what is
    /// not for it.
    ///
    /// # Errors
    ///
    /// [`BadSetting::Ours`] for a setting that a promise rests on, [`BadSetting::NotTaken`] for what librdkafka does not know.
    pub fn with_setting(mut self, name: &str, value: &str) -> Result<Self, BadSetting> {
        if let Some((_, reason)) = OURS.iter().find(|(ours, _)| *ours == name) {
            return Err(BadSetting::Ours { name: name.to_owned(), reason });
        }
        let mut alone = ClientConfig::new();
        alone.set(name, value);
        if let Err(error) = alone.create_native_config() {
            let reason = if is_secret(name) { "its value is refused".to_owned() } else { error.to_string() };
            return Err(BadSetting::NotTaken { name: name.to_owned(), reason });
        }
        self.settings.push((name.to_owned(), value.to_owned()));
        Ok(self)
    }

    /// The brokers as they were given.
    #[must_use]
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// A client's settings: `defaults`, over them what was passed through, over that `fixed`, on which promises rest.
    pub(crate) fn config(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        // That a broker hung up on a client that it does not let in is said on this level only, whatever becomes of the line.
        if !matches!(config.log_level, RDKafkaLogLevel::Debug) {
            config.set_log_level(RDKafkaLogLevel::Info);
        }
        for (name, value) in COMMON.iter().chain(defaults) {
            config.set(*name, *value);
        }
        for (name, value) in &self.settings {
            config.set(name, value);
        }
        for (name, value) in fixed {
            config.set(*name, *value);
        }
        config.set("bootstrap.servers", &self.brokers);
        config
    }
}

/// For every client, unless something else is passed through.
const COMMON: [(&str, &str); 6] = [
    ("client.id", "polling"),
    // Bounds how long requests to a frozen leader hold up the next one: far below the time that a vote has, above what a broker
    // under load takes.
    ("socket.timeout.ms", "10000"),
    // A moved leader is found within this time even when nothing fails.
    ("topic.metadata.refresh.interval.ms", "10000"),
    // A broker that comes back is in use again within a second.
    ("reconnect.backoff.max.ms", "1000"),
    ("socket.keepalive.enable", "true"),
    ("statistics.interval.ms", "5000"),
];

fn is_secret(name: &str) -> bool {
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

impl fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): &(String, String)| {
            let value = if is_secret(name) { "(redacted)" } else { value };
            format!("{name}={value}")
        };
        let settings: Vec<String> = self.settings.iter().map(shown).collect();
        formatter.debug_struct("Cluster").field("brokers", &self.brokers).field("settings", &settings).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_promise_rests_on_cannot_be_set() {
        let refusal = Cluster::new("a:1").with_setting("acks", "1").expect_err("it is ours").to_string();
        assert_eq!(
            refusal,
            "librdkafka.acks cannot be set: a vote is acknowledged, and news is out, when all in-sync brokers have it"
        );
    }

    #[test]
    fn every_name_of_ours_is_one_of_librdkafka() {
        for (name, _) in OURS {
            let mut config = ClientConfig::new();
            // No value fits all of them; an unknown name is told apart by the text.
            config.set(name, "");
            if let Err(error) = config.create_native_config() {
                assert!(!error.to_string().contains("No such configuration property"), "{error}");
            }
        }
    }

    #[test]
    fn an_unknown_name_and_a_bad_value_are_refused() {
        assert!(matches!(Cluster::new("a:1").with_setting("lingre.ms", "1"), Err(BadSetting::NotTaken { .. })));
        assert!(matches!(Cluster::new("a:1").with_setting("linger.ms", "soon"), Err(BadSetting::NotTaken { .. })));
    }

    #[test]
    fn what_was_passed_through_beats_a_default_and_not_a_promise() {
        let cluster = Cluster::new("a:1").with_setting("linger.ms", "7").expect("taken");
        let config = cluster.config(&[("linger.ms", "1")], &[("acks", "all")]);
        assert_eq!(config.get("linger.ms"), Some("7"));
        assert_eq!(config.get("acks"), Some("all"));
        assert_eq!(config.get("bootstrap.servers"), Some("a:1"));
    }

    #[test]
    fn no_password_is_printed() {
        let cluster = Cluster::new("a:1").with_setting("sasl.password", "hush").expect("taken");
        assert!(!format!("{cluster:?}").contains("hush"));
    }
}
