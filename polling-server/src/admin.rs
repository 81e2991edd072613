//! Health and metrics, on a listener of their own, so that load on the API cannot starve the probes.

use metrics::gauge;
use poem::http::{Method, StatusCode, header};
use poem::{Endpoint, Request, Response};
use polling_core::operate::health::{Condition, ready_body, summary, verbose_report};
use polling_core::operate::telemetry::PrometheusHandle;
use polling_core::sink::memory::MemorySink;

use crate::readiness::Readiness;
use crate::telemetry::WAITING_VOTES;
use crate::transport::refusal::problem;

/// Answers `/livez`, `/readyz` and `/metrics`.
pub struct Admin {
    readiness: Readiness,
    metrics: PrometheusHandle,
    log: Option<MemorySink>,
}

impl Admin {
    /// Shows these; `log` is the log of this process, if it has one.
    #[must_use]
    pub const fn new(readiness: Readiness, metrics: PrometheusHandle, log: Option<MemorySink>) -> Self {
        Self { readiness, metrics, log }
    }

    fn ready(&self, verbose: bool) -> Response {
        let checks = self.readiness.checks();
        let summary = summary(&checks);
        let is_failed = matches!(summary, Condition::Failed(_));
        let status = if is_failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        if verbose {
            return text(status, "text/plain; charset=utf-8", verbose_report(&checks));
        }
        match summary {
            Condition::Fine => text(status, "application/json", ready_body(None)),
            Condition::Degraded(reason) => text(status, "application/json", ready_body(Some(&reason))),
            Condition::Failed(reason) => problem(status, &reason),
        }
    }

    fn metrics(&self) -> Response {
        if let Some(log) = &self.log {
            #[expect(clippy::cast_precision_loss, reason = "the log holds far fewer than 2^53 votes")]
            gauge!(WAITING_VOTES).set(log.waiting() as f64);
        }
        text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", self.metrics.render())
    }
}

impl Endpoint for Admin {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let path = request.uri().path();
        if !matches!(path, "/livez" | "/readyz" | "/metrics") {
            return Ok(problem(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics here"));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = problem(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are possible here");
            refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            return Ok(refused);
        }
        let verbose = request.uri().query().is_some_and(|query| query.split('&').any(|name| name.starts_with("verbose")));
        Ok(match path {
            "/livez" => text(StatusCode::OK, "application/json", r#"{"status":"alive"}"#.to_owned()),
            "/readyz" => self.ready(verbose),
            _ => self.metrics(),
        })
    }
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .body(body)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use polling_core::checkpoint::Partition;
    use polling_core::ingest::Health;
    use tokio::sync::watch;

    use super::*;
    use crate::clock_watch::ClockTrouble;
    use crate::readiness::SharedLog;
    use crate::store_watch::StoreTrouble;
    use crate::telemetry;

    fn alone(counting: Option<watch::Receiver<Health>>) -> Readiness {
        Readiness::new(counting, StoreTrouble::default(), None, ClockTrouble::default())
    }

    async fn answer(readiness: &Readiness, method: Method, target: &str) -> (StatusCode, String) {
        let admin = Admin::new(readiness.clone(), telemetry::start().expect("recorded"), None);
        let request = Request::builder().method(method).uri_str(target).finish();
        let response = admin.call(request).await.expect("answered");
        (response.status(), response.into_body().into_string().await.expect("text"))
    }

    #[tokio::test]
    async fn it_is_ready_only_between_start_and_stop() {
        let readiness = alone(None);
        let (status, body) = answer(&readiness, Method::GET, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("/problems/unavailable") && body.contains("the server is starting"), "{body}");
        readiness.note_serving();
        assert_eq!(answer(&readiness, Method::GET, "/readyz").await.0, StatusCode::OK);
        readiness.note_draining();
        assert!(answer(&readiness, Method::GET, "/readyz").await.1.contains("the server is stopping"));
        assert_eq!(answer(&readiness, Method::GET, "/livez").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn it_says_why_votes_are_not_counted() {
        let health = Health { trouble: Some("disk full".to_owned()), stopped: vec![(Partition(7), "a hole".to_owned())] };
        let (_sender, counting) = watch::channel(health);
        let readiness = alone(Some(counting));
        readiness.note_serving();
        let (status, body) = answer(&readiness, Method::GET, "/readyz?verbose").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let expected = "[+]serving ok\n[-]store failed: disk full\n[-]partitions failed: partition 7: a hole\n[+]clock ok\nreadyz check failed\n";
        assert_eq!(body, expected);
    }

    #[tokio::test]
    async fn of_a_cluster_it_is_ready_with_a_log_or_a_store() {
        let store = StoreTrouble::default();
        let leaderless = "partition 1 of \"votes\" has no leader";
        for (log_trouble, warning, store_trouble, status, report) in [
            (None, None, false, 200, "[+]serving ok\n[+]store ok\n[+]log ok\n[+]topic ok\n[+]clock ok\nreadyz check passed\n"),
            (
                Some(leaderless),
                Some("weak"),
                false,
                200,
                "[+]serving ok\n[+]store ok\n[!]log degraded: partition 1 of \"votes\" has no leader\n[!]topic degraded: weak\n[+]clock ok\nreadyz check passed\n",
            ),
            (
                None,
                None,
                true,
                200,
                "[+]serving ok\n[!]store degraded: the store is unavailable: away\n[+]log ok\n[+]topic ok\n[+]clock ok\nreadyz check passed\n",
            ),
            (
                Some(leaderless),
                None,
                true,
                503,
                "[+]serving ok\n[-]store failed: the store is unavailable: away\n[-]log failed: partition 1 of \"votes\" has no leader\n[+]topic ok\n[+]clock ok\nreadyz check failed\n",
            ),
        ] {
            let told = |text: Option<&'static str>| Arc::new(move || text.map(str::to_owned));
            let log = SharedLog { trouble: told(log_trouble), warning: told(warning) };
            let store = if store_trouble { StoreTrouble::of("the store is unavailable: away") } else { store.clone() };
            let readiness = Readiness::new(None, store, Some(log), ClockTrouble::default());
            readiness.note_serving();
            let expected = (StatusCode::from_u16(status).expect("a status"), report.to_owned());
            assert_eq!(answer(&readiness, Method::GET, "/readyz?verbose").await, expected);
            let (_, body) = answer(&readiness, Method::GET, "/readyz").await;
            assert_eq!(body.contains(r#""status":"degraded""#), report.contains("[!]"), "{body}");
        }
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let readiness = alone(None);
        assert_eq!(answer(&readiness, Method::GET, "/polls").await.0, StatusCode::NOT_FOUND);
        assert_eq!(answer(&readiness, Method::POST, "/metrics").await.0, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer(&readiness, Method::HEAD, "/metrics").await.0, StatusCode::OK);
    }
}
