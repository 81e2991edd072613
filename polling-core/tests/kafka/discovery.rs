//! Finds a Kafka to test against: the one that `KAFKA_BROKERS` names, or a container, which ends with the tests.

use std::time::Duration;

use testcontainers_modules::kafka::apache::{KAFKA_PORT, Kafka};
use testcontainers_modules::testcontainers::runners::AsyncRunner;
use testcontainers_modules::testcontainers::{ContainerAsync, ImageExt};

/// How long a container may take to be found and started.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(120);
const TAG: &str = "3.9.0";

/// Brokers, for as long as this value lives.
pub(crate) struct Brokers {
    addresses: String,
    _running: Option<Container>,
}

impl Brokers {
    /// The first that can be found, or why there are none.
    pub(crate) fn find() -> Result<Self, String> {
        if let Ok(addresses) = std::env::var("KAFKA_BROKERS") {
            return Ok(Self { addresses, _running: None });
        }
        match Container::start() {
            Ok((addresses, running)) => Ok(Self { addresses, _running: Some(running) }),
            Err(reason) => Err(format!("KAFKA_BROKERS is not set; no container: {reason}")),
        }
    }

    /// `HOST:PORT`, separated by commas.
    pub(crate) fn addresses(&self) -> &str {
        &self.addresses
    }
}

/// A broker in a container, removed when it is dropped.
struct Container {
    container: Option<ContainerAsync<Kafka>>,
    runtime: tokio::runtime::Runtime,
}

impl Container {
    fn start() -> Result<(String, Self), String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let (container, host, port) = runtime.block_on(async {
            let started = tokio::time::timeout(ENGINE_TIMEOUT, Kafka::default().with_jvm_image().with_tag(TAG).start()).await;
            let container = started.map_err(|late| late.to_string())?.map_err(|error| error.to_string())?;
            let host = container.get_host().await.map_err(|error| error.to_string())?;
            let port = container.get_host_port_ipv4(KAFKA_PORT).await.map_err(|error| error.to_string())?;
            Ok::<_, String>((container, host, port))
        })?;
        Ok((format!("{host}:{port}"), Self { container: Some(container), runtime }))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some(container) = self.container.take() {
            // Whatever it says: the engine's own housekeeping is the second chance.
            drop(self.runtime.block_on(container.rm()));
        }
    }
}
