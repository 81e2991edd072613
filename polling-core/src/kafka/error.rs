//! Why Kafka cannot be used.

use std::fmt;

use thiserror::Error;

/// A setting of a topic that would break a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weakness {
    /// The setting, as Kafka's tools name it.
    pub setting: &'static str,
    /// What it is.
    pub found: String,
    /// What it must be, as a phrase.
    pub wanted: String,
}

impl fmt::Display for Weakness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} is {} and must be {}", self.setting, self.found, self.wanted)
    }
}

/// Why a topic cannot be used.
#[derive(Debug, Error)]
pub enum TopicError {
    /// The brokers cannot be asked.
    #[error("failed to ask the brokers at {brokers} about the topic {topic:?}")]
    Unreachable {
        /// The topic.
        topic: String,
        /// The brokers.
        brokers: String,
        /// What the client says.
        #[source]
        source: crate::store::Source,
    },
    /// The brokers answer, and do not let us in: a password is wrong, or a certificate, or a right is missing.
    #[error("the brokers at {brokers} cannot be used: {reason}")]
    Refused {
        /// The brokers.
        brokers: String,
        /// What they say, and which settings it may be about.
        reason: String,
    },
    /// There is no such topic, and it cannot be made just now.
    #[error("the topic {topic:?} cannot be created yet: {reason}")]
    NotCreatedYet {
        /// The topic.
        topic: String,
        /// What the broker says, and what it waits for where that is known.
        reason: String,
    },
    /// There is no such topic, and it cannot be made.
    #[error("failed to create the topic {topic:?}: {reason}")]
    NotCreated {
        /// The topic.
        topic: String,
        /// What the broker says, and which setting it is about.
        reason: String,
    },
    /// It could lose acknowledged votes.
    #[error("the topic {topic:?} could lose acknowledged votes: {}; accept-weak-topic=true takes it for development", joined(.weaknesses))]
    Weak {
        /// The topic.
        topic: String,
        /// What is wrong with it.
        weaknesses: Vec<Weakness>,
    },
}

impl TopicError {
    /// Whether asking again later may succeed without anybody doing anything: the brokers, or enough of them, are not there yet, or not
    /// any more.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::NotCreatedYet { .. })
    }
}

/// Why Kafka was not opened.
#[derive(Debug, Error)]
pub enum KafkaOpenError {
    /// The topic cannot be used.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The client cannot be made.
    #[error("failed to make a client of Kafka")]
    Client(#[source] crate::store::Source),
}

impl KafkaOpenError {
    /// Whether opening again later may succeed without anybody doing anything.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Topic(error) if error.is_retryable())
    }
}

fn joined(weaknesses: &[Weakness]) -> String {
    weaknesses.iter().map(Weakness::to_string).collect::<Vec<_>>().join("; ")
}
