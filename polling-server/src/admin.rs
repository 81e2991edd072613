//! Health and metrics, on a listener of their own, so that load on the API cannot starve the probes.

use metrics::gauge;
use poem::http::{Method, StatusCode, header};
use poem::{Endpoint, Request, Response};
use polling_core::operate::health::{trouble, verbose_report};
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
        let trouble = trouble(&checks);
        let status = if trouble.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        if verbose {
            return text(status, "text/plain; charset=utf-8", verbose_report(&checks));
        }
        match trouble {
            None => text(status, "application/json", r#"{"status":"ready"}"#.to_owned()),
            Some(trouble) => problem(status, &trouble),
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
    use crate::store_watch::StoreTrouble;
    use crate::telemetry;

    async fn answer(readiness: &Readiness, method: Method, target: &str) -> (StatusCode, String) {
        let admin = Admin::new(readiness.clone(), telemetry::start().expect("recorded"), None);
        let request = Request::builder().method(method).uri_str(target).finish();
        let response = admin.call(request).await.expect("answered");
        (response.status(), response.into_body().into_string().await.expect("text"))
    }

    #[tokio::test]
    async fn it_is_ready_only_between_start_and_stop() {
        let readiness = Readiness::new(None, StoreTrouble::default(), None);
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
        let readiness =
            Readiness::new(Some(counting), StoreTrouble::default(), Some(Arc::new(|| Some("no broker is connected".to_owned()))));
        readiness.note_serving();
        let (status, body) = answer(&readiness, Method::GET, "/readyz?verbose").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let expected = "[+]serving ok\n[-]store failed: disk full\n[-]log failed: no broker is connected\n[-]partitions failed: partition 7: a hole\nreadyz check failed\n";
        assert_eq!(body, expected);
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let readiness = Readiness::new(None, StoreTrouble::default(), None);
        assert_eq!(answer(&readiness, Method::GET, "/polls").await.0, StatusCode::NOT_FOUND);
        assert_eq!(answer(&readiness, Method::POST, "/metrics").await.0, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer(&readiness, Method::HEAD, "/metrics").await.0, StatusCode::OK);
    }
}
