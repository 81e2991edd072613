//! Whether a program is well, as probes ask for it.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::ingest::Health;

/// How long the health check waits for each step: a probe that takes longer is as good as failed.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of an answer that the health check reads, at most.
const BYTES_MAX: u64 = 16 * 1024;

/// How well something is that a program needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing is known against it.
    Fine,
    /// Somebody should know, and requests are wanted all the same. Why.
    Degraded(String),
    /// Requests are not wanted. Why.
    Failed(String),
}

/// One thing that is looked at to tell whether a program is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is looked at.
    pub name: &'static str,
    /// How well it is.
    pub condition: Condition,
}

impl Check {
    /// A check that fails when there is trouble.
    #[must_use]
    pub fn of(name: &'static str, trouble: Option<String>) -> Self {
        Self { name, condition: trouble.map_or(Condition::Fine, Condition::Failed) }
    }

    /// A check that trouble does not fail.
    #[must_use]
    pub fn lenient(name: &'static str, trouble: Option<String>) -> Self {
        Self { name, condition: trouble.map_or(Condition::Fine, Condition::Degraded) }
    }

    /// Whether no partition has stopped.
    #[must_use]
    pub fn of_partitions(health: &Health) -> Self {
        let stopped = health.stopped.iter().map(|(partition, alarm)| format!("partition {partition}: {alarm}"));
        let stopped = stopped.collect::<Vec<_>>().join("; ");
        Self::of("partitions", (!stopped.is_empty()).then_some(stopped))
    }
}

/// How well all of it is: as well as the worst of it. The reasons are in one line.
#[must_use]
pub fn summary(checks: &[Check]) -> Condition {
    let joined = |reason: fn(&Condition) -> Option<&str>| {
        let reasons: Vec<&str> = checks.iter().filter_map(|check| reason(&check.condition)).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    };
    let failed = joined(|condition| if let Condition::Failed(reason) = condition { Some(reason) } else { None });
    let degraded = joined(|condition| if let Condition::Degraded(reason) = condition { Some(reason) } else { None });
    failed.map_or_else(|| degraded.map_or(Condition::Fine, Condition::Degraded), Condition::Failed)
}

/// What an answer says of a program that is ready: that it is, or what is degraded all the same.
#[must_use]
pub fn ready_body(degraded: Option<&str>) -> String {
    match degraded {
        None => r#"{"status":"ready"}"#.to_owned(),
        Some(reason) => serde_json::json!({ "status": "degraded", "reason": reason }).to_string(),
    }
}

/// The report in the form that Kubernetes has for its own components, which know of nothing that is degraded.
#[must_use]
pub fn verbose_report(checks: &[Check]) -> String {
    let mut report = String::new();
    for Check { name, condition } in checks {
        // Writing to a string cannot fail.
        let _ = match condition {
            Condition::Fine => writeln!(report, "[+]{name} ok"),
            Condition::Degraded(reason) => writeln!(report, "[!]{name} degraded: {reason}"),
            Condition::Failed(reason) => writeln!(report, "[-]{name} failed: {reason}"),
        };
    }
    let is_ready = !matches!(summary(checks), Condition::Failed(_));
    report.push_str(if is_ready { "readyz check passed\n" } else { "readyz check failed\n" });
    report
}

/// Asks the program whose admin listener is at `address` whether it is ready. Blocks for a few seconds at most.
///
/// # Errors
///
/// Why it is not, for a person.
pub fn check(address: SocketAddr) -> Result<(), String> {
    let answer = readyz(reachable(address)).map_err(|error| format!("no answer from {address}: {error}"))?;
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    Err(answer.split("\r\n\r\n").nth(1).unwrap_or(&answer).trim().to_owned())
}

fn readyz(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(format!("GET /readyz?verbose HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(BYTES_MAX).read_to_string(&mut answer)?;
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
    use super::*;

    #[test]
    fn what_is_degraded_fails_nothing_and_is_said() {
        let trouble = |text: &str| Some(text.to_owned());
        let checks = [Check::of("serving", None), Check::lenient("log", trouble("a")), Check::lenient("clock", trouble("b"))];
        assert_eq!(summary(&checks), Condition::Degraded("a; b".to_owned()));
        assert_eq!(verbose_report(&checks), "[+]serving ok\n[!]log degraded: a\n[!]clock degraded: b\nreadyz check passed\n");
        let checks = [Check::of("store", trouble("c")), Check::lenient("log", trouble("a"))];
        assert_eq!(summary(&checks), Condition::Failed("c".to_owned()));
        assert!(verbose_report(&checks).ends_with("readyz check failed\n"));
    }

    #[test]
    fn a_reason_with_quotes_is_sound_json() {
        assert_eq!(ready_body(Some("no \"votes\"")), r#"{"reason":"no \"votes\"","status":"degraded"}"#);
    }

    #[test]
    fn a_listener_on_all_addresses_is_asked_on_this_machine() {
        let reached = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(reached("0.0.0.0:8081"), "127.0.0.1:8081");
        assert_eq!(reached("[::]:8081"), "[::1]:8081");
        assert_eq!(reached("10.0.0.1:8081"), "10.0.0.1:8081");
    }
}
