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

/// One thing that has to be so for a program to be ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is looked at.
    pub name: &'static str,
    /// Why it is not well; `None` when it is.
    pub trouble: Option<String>,
}

impl Check {
    /// Whether no partition has stopped.
    #[must_use]
    pub fn of_partitions(health: &Health) -> Self {
        let stopped = health.stopped.iter().map(|(partition, alarm)| format!("partition {partition}: {alarm}"));
        let stopped = stopped.collect::<Vec<_>>().join("; ");
        Self { name: "partitions", trouble: (!stopped.is_empty()).then_some(stopped) }
    }
}

/// What is wrong, in one line; `None` when everything is well.
#[must_use]
pub fn trouble(checks: &[Check]) -> Option<String> {
    let troubles: Vec<&str> = checks.iter().filter_map(|check| check.trouble.as_deref()).collect();
    (!troubles.is_empty()).then(|| troubles.join("; "))
}

/// The report in the form that Kubernetes has for its own components.
#[must_use]
pub fn verbose_report(checks: &[Check]) -> String {
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
    fn a_listener_on_all_addresses_is_asked_on_this_machine() {
        let reached = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(reached("0.0.0.0:8081"), "127.0.0.1:8081");
        assert_eq!(reached("[::]:8081"), "[::1]:8081");
        assert_eq!(reached("10.0.0.1:8081"), "10.0.0.1:8081");
    }
}
