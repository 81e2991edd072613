//! From URLs to what an auditor needs: the store and the log beside those who count, and the bus for what was mended.

use std::sync::Arc;

use crate::audit::{AuditStore, RetainedLog};
use crate::bus::UpdateBus;
#[cfg(feature = "kafka")]
use crate::bus::kafka::KafkaBus;
use crate::open::{OpenError, Urls, open_bus};
#[cfg(feature = "kafka")]
use crate::open_kafka;
#[cfg(feature = "postgres")]
use crate::open_postgres::store_options;
use crate::open_url::Parts;
#[cfg(feature = "postgres")]
use crate::store::postgres::PostgresAudit;

/// Opens the store for an auditor. Nothing is made, and nothing brought up to date.
///
/// # Errors
///
/// See [`OpenError`]; [`OpenError::BadUrl`] for a store that others cannot use at the same time.
#[cfg_attr(not(feature = "postgres"), expect(clippy::unused_async, reason = "the same signature as with the feature"))]
pub async fn open_audit_store(urls: &Urls) -> Result<Arc<dyn AuditStore>, OpenError> {
    let store = Parts::of("store", &urls.store);
    match store.scheme {
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => {
            let opened = PostgresAudit::open(&store_options(&store)?).await;
            Ok(Arc::new(opened.map_err(|source| OpenError::Postgres { role: "store", source })?))
        }
        #[cfg(not(feature = "postgres"))]
        "postgres" | "postgresql" => Err(store.not_built("postgres")),
        "memory" | "sqlite" => Err(store.bad("only a store in PostgreSQL can be audited")),
        _ => Err(store.unknown_scheme(&["postgres"])),
    }
}

/// The log for an auditor; `None` when it keeps no records. Nothing is made or checked, and no broker is asked yet.
///
/// # Errors
///
/// Mistakes in its URL.
pub fn open_retained_log(urls: &Urls) -> Result<Option<Arc<dyn RetainedLog>>, OpenError> {
    let log = Parts::of("log", &urls.log);
    match log.scheme {
        #[cfg(feature = "kafka")]
        "kafka" => Ok(Some(Arc::new(open_kafka::retained_log(&open_kafka::log_options(&log)?)))),
        #[cfg(not(feature = "kafka"))]
        "kafka" => Err(log.not_built("kafka")),
        "memory" => Ok(None),
        _ => Err(log.unknown_scheme(&["memory", "kafka"])),
    }
}

/// A bus that is open alone, without the other backends.
pub struct Announcer {
    bus: Arc<dyn UpdateBus>,
    #[cfg(feature = "kafka")]
    kafka: Option<Arc<KafkaBus>>,
}

impl Announcer {
    /// Opens the bus.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub async fn open(urls: &Urls) -> Result<Self, OpenError> {
        let bus = Parts::of("bus", &urls.bus);
        #[cfg(feature = "kafka")]
        if bus.scheme == "kafka" {
            let opened = open_kafka::open_bus(&open_kafka::bus_options(&bus)?).await;
            let kafka = opened.map_err(|source| OpenError::Kafka { role: "bus", source })?;
            return Ok(Self { bus: Arc::clone(&kafka) as Arc<dyn UpdateBus>, kafka: Some(kafka) });
        }
        Ok(Self {
            bus: open_bus(&bus).await?,
            #[cfg(feature = "kafka")]
            kafka: None,
        })
    }

    /// The bus.
    #[must_use]
    pub fn bus(&self) -> &dyn UpdateBus {
        &*self.bus
    }

    /// Waits until what was published is on its way.
    #[cfg_attr(not(feature = "kafka"), expect(clippy::unused_async, reason = "the same signature as with the feature"))]
    pub async fn flush(&self) {
        #[cfg(feature = "kafka")]
        if let Some(kafka) = &self.kafka {
            kafka.flush().await;
        }
    }
}
