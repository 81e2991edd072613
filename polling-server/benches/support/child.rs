//! A server in a process of its own, so that the system can say what it alone took.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::serving::Variant;

/// The argument that turns a bench into the server of the variant that follows it.
pub(crate) const SERVE: &str = "--serve";
/// Ticks in which the system counts processor time: 100 a second on every Linux that there is (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// A server that runs. Dropping it ends its process.
pub(crate) struct Server {
    process: Child,
    /// Where the API is.
    pub(crate) api: SocketAddr,
    /// Where health and metrics are; the same as the API when there are none.
    pub(crate) admin: SocketAddr,
}

impl Server {
    /// Starts this program again as a server with its data in `folder`, and waits until it listens.
    pub(crate) fn start(variant: Variant, folder: &Path) -> Self {
        let program = std::env::current_exe().expect("a program knows itself");
        let mut process = Command::new(program)
            .args([SERVE, variant.name()])
            .arg(folder)
            .env("RUST_LOG", "error")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let mut address = || lines.next().expect("it listens").expect("text").parse().expect("an address");
        Self { api: address(), admin: address(), process }
    }

    /// Processor time that it took so far, in user mode and in the kernel for it.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = self.read("stat");
        // The second field is the name in brackets, which may contain anything; the third follows the last bracket.
        let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
        let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u32>().expect("a number"));
        TICK * ticks.sum::<u32>()
    }

    /// Bytes of memory that it holds now.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is told");
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kibibytes * 1024
    }

    fn read(&self, file: &str) -> String {
        let path: PathBuf = ["/proc", &self.process.id().to_string(), file].iter().collect();
        std::fs::read_to_string(path).expect("the system tells")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It stops when its input ends, and also when this process dies.
        drop(self.process.stdin.take());
        let _ended = self.process.wait();
    }
}
