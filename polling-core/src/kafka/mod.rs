//! Kafka: what both ends of the log and the bus have in common.
//!
//! The backends themselves are [`sink::kafka`](crate::sink::kafka), [`source::kafka`](crate::source::kafka) and
//! [`bus::kafka`](crate::bus::kafka). Here stands how a cluster is reached, what a topic must be before a vote is put into it, and
//! what the client says about itself.

mod cluster;
mod error;
mod inspection;
mod native;
mod reachability;
mod refusal;
mod telemetry;
mod topic;
mod view;

pub use cluster::{BadSetting, Cluster};
pub use error::{KafkaOpenError, TopicError, Weakness};
pub(crate) use inspection::{Inspection, Retention};
pub(crate) use native::{Persisted, persisted};
pub(crate) use reachability::Reachability;
pub(crate) use telemetry::Telemetry;
pub use topic::{TopicRules, ensure_topic};
pub(crate) use view::{Extent, Head, View};

/// The version of librdkafka that this program was built with.
#[must_use]
pub fn client_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}
