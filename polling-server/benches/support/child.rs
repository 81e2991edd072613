//! A server in a process of its own, so that the system can say what it alone took.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::serving::Variant;

/// The argument that turns a bench into the server of the variant that follows it.
pub(crate) const SERVE: &str = "--serve";

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
        Self::start_named(variant.name(), folder)
    }

    /// The same for a server that is none of ours.
    pub(crate) fn start_named(name: &str, folder: &Path) -> Self {
        let program = std::env::current_exe().expect("a program knows itself");
        let mut process = Command::new(program)
            .args([SERVE, name])
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

    /// Processor time that its threads took so far, in user mode and in the kernel for them: `/proc/PID/task/*/schedstat`, which
    /// counts nanoseconds. No thread of a server ends while it is measured.
    pub(crate) fn processor_time(&self) -> Duration {
        let tasks = std::fs::read_dir(self.path("task")).expect("the system tells");
        let time_of = |task: std::io::Result<std::fs::DirEntry>| {
            let schedstat = std::fs::read_to_string(task.expect("a thread").path().join("schedstat")).expect("the system tells");
            let on_processor = schedstat.split(' ').next().expect("three fields");
            Duration::from_nanos(on_processor.parse().expect("a number"))
        };
        tasks.map(time_of).sum()
    }

    /// Bytes of memory that it holds now.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.bytes("VmRSS:")
    }

    /// The most bytes of memory that it held at a time, since it began or since the last call of [`forget_peak`](Self::forget_peak).
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.bytes("VmHWM:")
    }

    /// Begins to look for the most anew.
    pub(crate) fn forget_peak(&self) {
        std::fs::write(self.path("clear_refs"), "5").expect("the system lets us");
    }

    fn bytes(&self, name: &str) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it is told");
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kibibytes * 1024
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).expect("the system tells")
    }

    fn path(&self, file: &str) -> PathBuf {
        ["/proc", &self.process.id().to_string(), file].iter().collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It stops when its input ends, and also when this process dies.
        drop(self.process.stdin.take());
        let _ended = self.process.wait();
    }
}
