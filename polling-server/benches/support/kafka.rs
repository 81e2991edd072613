//! Brokers that cost a server no more than brokers must: those that librdkafka brings along, without disk and without replicas, in a
//! process of their own.

use std::io::{BufRead, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use rdkafka::mocking::MockCluster;

/// The argument that turns a bench into brokers.
pub(crate) const BROKERS: &str = "--brokers";
/// The topic that they have.
pub(crate) const TOPIC: &str = "votes";
/// As many as a topic of votes has.
const PARTITIONS: i32 = 12;

/// Brokers that run. Dropping it ends their process.
pub(crate) struct Brokers {
    process: Child,
    /// Where they are, as clients are told.
    pub(crate) addresses: String,
}

impl Brokers {
    /// Starts this program again as three brokers, and waits until they listen.
    pub(crate) fn start() -> Self {
        let program = std::env::current_exe().expect("a program knows itself");
        let process = Command::new(program).arg(BROKERS).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = process.expect("the brokers start");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut line).expect("an address");
        Self { process, addresses: line.trim().to_owned() }
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        // They stop when their input ends, and also when this process dies.
        drop(self.process.stdin.take());
        let _ended = self.process.wait();
    }
}

/// Is three brokers until the standard input ends.
pub(crate) fn serve_brokers() {
    let brokers = MockCluster::new(3).expect("brokers");
    brokers.create_topic(TOPIC, PARTITIONS, 3).expect("a topic");
    println!("{}", brokers.bootstrap_servers());
    let _parent_is_gone = std::io::stdin().read_to_end(&mut Vec::new());
}
