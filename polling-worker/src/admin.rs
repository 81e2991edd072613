//! Health and metrics, for probes and scrapers.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use polling_core::ingest::Health;
use polling_core::operate::health::{Check, Condition, ready_body, summary, verbose_report};
use polling_core::operate::telemetry::PrometheusHandle;
use polling_core::shutdown::Shutdown;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::bounded::BoundedListener;

/// Connections at once: some probes and scrapers, and no more, so that the listener can be left open within a cluster.
const CONNECTIONS_MAX: usize = 64;

/// How the counting goes.
#[derive(Clone)]
pub(crate) struct Counting {
    /// As the loop sees it.
    pub(crate) health: watch::Receiver<Health>,
    /// Tells why the log cannot be read, if that is so.
    pub(crate) log_trouble: Arc<dyn Fn() -> Option<String> + Send + Sync>,
    /// Tells what endangers votes in the log, if anything does.
    pub(crate) log_warning: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

/// What the worker tells of itself.
#[derive(Clone)]
pub(crate) struct Told {
    /// How the counting goes; `None` as long as the backends are waited for.
    pub(crate) counting: watch::Receiver<Option<Counting>>,
    /// The metrics of the process.
    pub(crate) metrics: PrometheusHandle,
    /// Requested when the worker stops.
    pub(crate) shutdown: Shutdown,
}

impl Told {
    fn checks(&self) -> Vec<Check> {
        let counting = self.counting.borrow().clone();
        let phase = match &counting {
            _ if self.shutdown.is_requested() => Some("the worker is stopping"),
            None => Some("the worker waits for its backends"),
            Some(_) => None,
        };
        let mut checks = vec![Check::of("counting", phase.map(str::to_owned))];
        if let Some(Counting { health, log_trouble, log_warning }) = counting {
            let health = health.borrow().clone();
            checks.push(Check::of_partitions(&health));
            checks.push(Check::of("log", log_trouble()));
            // Another worker in the place of this one could do no more about it.
            checks.push(Check::lenient("topic", log_warning()));
            checks.push(Check::of("store", health.trouble));
        }
        checks
    }
}

/// Answers until `stop` is requested; then lets go of what is open.
pub(crate) async fn serve(listener: TcpListener, told: Told, stop: Shutdown) -> std::io::Result<()> {
    let listener = BoundedListener::new(listener, CONNECTIONS_MAX);
    axum::serve(listener, routes(told)).with_graceful_shutdown(async move { stop.requested().await }).await
}

/// Binds the address.
pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!("listening on http://{address} (admin)");
    }
    Ok(listener)
}

fn routes(told: Told) -> Router {
    Router::new()
        .route("/livez", get(|| async { json(StatusCode::OK, r#"{"status":"alive"}"#) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(told))
}

async fn ready(State(told): State<Arc<Told>>, RawQuery(query): RawQuery) -> Response {
    let checks = told.checks();
    let summary = summary(&checks);
    let is_failed = matches!(summary, Condition::Failed(_));
    let status = if is_failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    if query.is_some_and(|query| query.split('&').any(|name| name.starts_with("verbose"))) {
        return uncached(status, "text/plain; charset=utf-8", verbose_report(&checks));
    }
    match summary {
        Condition::Fine => json(status, &ready_body(None)),
        Condition::Degraded(reason) => json(status, &ready_body(Some(&reason))),
        Condition::Failed(reason) => uncached(status, "text/plain; charset=utf-8", reason),
    }
}

async fn metrics(State(told): State<Arc<Told>>) -> Response {
    uncached(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", told.metrics.render())
}

fn json(status: StatusCode, body: &str) -> Response {
    uncached(status, "application/json", body.to_owned())
}

fn uncached(status: StatusCode, content_type: &'static str, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use polling_core::checkpoint::Partition;
    use tower::ServiceExt as _;

    use super::*;

    fn told(counting: Option<Health>) -> Told {
        let log_warning = Arc::new(|| Some("a backlog".to_owned()));
        let counting =
            counting.map(|health| Counting { health: watch::channel(health).1, log_trouble: Arc::new(|| None), log_warning });
        let metrics = crate::metrics().expect("recorded");
        Told { counting: watch::channel(counting).1, metrics, shutdown: Shutdown::new() }
    }

    async fn answer(told: &Told, target: &str) -> (StatusCode, String) {
        let request = Request::get(target).body(Body::empty()).expect("a request");
        let response = routes(told.clone()).oneshot(request).await.expect("answered");
        let status = response.status();
        let body = response.into_body().collect().await.expect("read").to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn it_is_ready_while_it_counts() {
        let waiting = told(None);
        assert_eq!(answer(&waiting, "/livez").await.0, StatusCode::OK);
        let unready = (StatusCode::SERVICE_UNAVAILABLE, "the worker waits for its backends".to_owned());
        assert_eq!(answer(&waiting, "/readyz").await, unready);
        let counting = told(Some(Health::default()));
        let degraded = r#"{"reason":"a backlog","status":"degraded"}"#;
        assert_eq!(answer(&counting, "/readyz").await, (StatusCode::OK, degraded.to_owned()));
        counting.shutdown.request();
        assert_eq!(answer(&counting, "/readyz").await.1, "the worker is stopping");
        assert!(answer(&counting, "/metrics").await.1.contains("polling_build_info"));
    }

    #[tokio::test]
    async fn it_says_why_votes_are_not_counted() {
        let health = Health { trouble: Some("no connection".to_owned()), stopped: vec![(Partition(7), "a hole".to_owned())] };
        let expected = "[+]counting ok\n[-]partitions failed: partition 7: a hole\n[+]log ok\n[!]topic degraded: a backlog\n[-]store failed: no connection\nreadyz check failed\n";
        assert_eq!(answer(&told(Some(health)), "/readyz?verbose").await, (StatusCode::SERVICE_UNAVAILABLE, expected.to_owned()));
    }
}
