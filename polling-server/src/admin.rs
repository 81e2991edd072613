//! Health and metrics, on a listener of their own, so that load on the API cannot starve the probes.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;
use poem::http::{Method, StatusCode, header};
use poem::{Endpoint, Request, Response};
use polling_core::sink::memory::MemorySink;

use crate::readiness::{Check, Readiness};
use crate::telemetry::WAITING_VOTES;
use crate::transport::refusal::problem;

/// How long the health check waits for each step: a probe that takes longer is as good as failed.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of an answer that the health check reads, at most.
const HEALTH_BYTES_MAX: u64 = 16 * 1024;

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
        let troubles: Vec<&str> = checks.iter().filter_map(|check| check.trouble.as_deref()).collect();
        let status = if troubles.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        if verbose {
            return text(status, "text/plain; charset=utf-8", verbose_report(&checks));
        }
        if troubles.is_empty() {
            return text(status, "application/json", r#"{"status":"ready"}"#.to_owned());
        }
        problem(status, &troubles.join("; "))
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

/// The report in the form that Kubernetes has for its own components.
fn verbose_report(checks: &[Check]) -> String {
    let mut report = String::new();
    for Check { name, trouble } in checks {
        // Writing to a string cannot fail.
        let _ = match trouble {
            None => writeln!(report, "[+]{name} ok"),
            Some(trouble) => writeln!(report, "[-]{name} failed: {trouble}"),
        };
    }
    let ready = checks.iter().all(|check| check.trouble.is_none());
    report.push_str(if ready { "readyz check passed\n" } else { "readyz check failed\n" });
    report
}

/// Asks the server whose admin listener is at `address` whether it is ready. Blocks for a few seconds at most.
///
/// # Errors
///
/// Why it is not, for a person.
pub fn check_health(address: SocketAddr) -> Result<(), String> {
    let answer = readyz(reachable(address)).map_err(|error| format!("no answer from {address}: {error}"))?;
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    Err(answer.split("\r\n\r\n").nth(1).unwrap_or(&answer).trim().to_owned())
}

fn readyz(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT)?;
    stream.set_read_timeout(Some(HEALTH_TIMEOUT))?;
    stream.set_write_timeout(Some(HEALTH_TIMEOUT))?;
    stream.write_all(format!("GET /readyz?verbose HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(HEALTH_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Where a listener on all addresses of this machine can be reached from within.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let loopback = match address.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        address.set_ip(loopback);
    }
    address
}

#[cfg(test)]
mod tests {
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
        let readiness = Readiness::new(None, StoreTrouble::default());
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
        let readiness = Readiness::new(Some(counting), StoreTrouble::default());
        readiness.note_serving();
        let (status, body) = answer(&readiness, Method::GET, "/readyz?verbose").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let expected =
            "[+]serving ok\n[-]store failed: disk full\n[-]partitions failed: partition 7: a hole\nreadyz check failed\n";
        assert_eq!(body, expected);
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let readiness = Readiness::new(None, StoreTrouble::default());
        assert_eq!(answer(&readiness, Method::GET, "/polls").await.0, StatusCode::NOT_FOUND);
        assert_eq!(answer(&readiness, Method::POST, "/metrics").await.0, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer(&readiness, Method::HEAD, "/metrics").await.0, StatusCode::OK);
    }

    #[test]
    fn a_listener_on_all_addresses_is_asked_on_this_machine() {
        let reached = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(reached("0.0.0.0:8081"), "127.0.0.1:8081");
        assert_eq!(reached("[::]:8081"), "[::1]:8081");
        assert_eq!(reached("10.0.0.1:8081"), "10.0.0.1:8081");
    }
}
