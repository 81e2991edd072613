//! A server or a worker as a process, which can be killed, frozen, stopped and started again.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;
use voting::check::ALARM;
use voting::history::{Recorder, What};
use voting::{Failure, failure};

/// What no program may say, whatever is broken: a task that panicked, or a partition that it gave up.
const NEVER_SAID: [&str; 2] = ["panicked", ALARM];
/// How long a program may take to listen, and to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(60);

/// How to start a program.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    /// Names it in histories and the file of its log.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Beside what every program is told there.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Its log is kept here.
    pub(crate) folder: PathBuf,
}

/// A process; killed when dropped.
pub(crate) struct Program {
    recipe: Recipe,
    child: Child,
    /// Its end is not a surprise.
    is_ending: Arc<AtomicBool>,
    addresses: watch::Receiver<Addresses>,
    recorder: Arc<Recorder>,
}

/// Where it listens, as far as it has said.
#[derive(Debug, Clone, Copy, Default)]
struct Addresses {
    api: Option<SocketAddr>,
    admin: Option<SocketAddr>,
}

impl Program {
    pub(crate) fn start(recipe: Recipe, recorder: Arc<Recorder>) -> Result<Self, Failure> {
        let mut command = Command::new(&recipe.path);
        command.env_clear().args(&recipe.arguments).env("POLLING_SECRET", "the secret that all servers of a run share");
        command.envs(recipe.environment.iter().map(|(name, value)| (*name, value)));
        command.args(["--log-format", "text", "--admin-listen", "127.0.0.1:0"]).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let wrong = |error: std::io::Error| failure(format!("{} cannot be started: {error}", recipe.path.display()));
        let mut child = command.spawn().map_err(wrong)?;
        let (sender, addresses) = watch::channel(Addresses::default());
        let is_ending = Arc::new(AtomicBool::new(false));
        let log = append(&recipe.folder.join(format!("{}.log", recipe.name)))?;
        if let Some(lines) = child.stderr.take() {
            tokio::spawn(listen(lines, log, recipe.name.clone(), sender, Arc::clone(&recorder), Arc::clone(&is_ending)));
        }
        Ok(Self { recipe, child, is_ending, addresses, recorder })
    }

    /// Where it takes requests of voters.
    pub(crate) async fn api(&self) -> Result<SocketAddr, Failure> {
        self.address(|addresses| addresses.api).await
    }

    /// Where it says how it is.
    pub(crate) async fn admin(&self) -> Result<SocketAddr, Failure> {
        self.address(|addresses| addresses.admin).await
    }

    async fn address(&self, which: impl Fn(&Addresses) -> Option<SocketAddr>) -> Result<SocketAddr, Failure> {
        let mut addresses = self.addresses.clone();
        let said = tokio::time::timeout(PATIENCE, addresses.wait_for(|addresses| which(addresses).is_some())).await;
        let address = said.ok().and_then(|said| which(&*said.ok()?));
        address.ok_or_else(|| failure(format!("{} does not listen; see its log", self.recipe.name)))
    }

    fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let id = id.ok_or_else(|| failure(format!("{} does not run", self.recipe.name)))?;
        kill_process(id, signal).map_err(|error| failure(format!("{} cannot be signalled: {error}", self.recipe.name)))
    }

    pub(crate) fn freeze(&self) -> Result<(), Failure> {
        self.signal(Signal::STOP)
    }

    pub(crate) fn thaw(&self) -> Result<(), Failure> {
        self.signal(Signal::CONT)
    }

    pub(crate) async fn kill(&mut self) -> Result<(), Failure> {
        self.is_ending.store(true, Ordering::Relaxed);
        self.signal(Signal::KILL)?;
        self.ended().await.map(drop)
    }

    /// Asks it to end, which it must do in time and without complaint.
    pub(crate) async fn stop(&mut self) -> Result<(), Failure> {
        self.is_ending.store(true, Ordering::Relaxed);
        self.signal(Signal::TERM)?;
        let status = self.ended().await?;
        if status != "exit status: 0" {
            self.recorder.note(What::Ended { program: self.recipe.name.clone(), status });
        }
        Ok(())
    }

    async fn ended(&mut self) -> Result<String, Failure> {
        match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) => Ok(status.to_string()),
            Ok(Err(error)) => Err(failure(format!("{} cannot be waited for: {error}", self.recipe.name))),
            Err(_) => Ok(format!("it did not end in {PATIENCE:?}")),
        }
    }

    /// Starts it again after its end, at the address where it was.
    pub(crate) async fn start_again(&mut self) -> Result<(), Failure> {
        let mut recipe = self.recipe.clone();
        let api = self.addresses.borrow().api;
        if let (Some(api), Some(place)) = (api, recipe.arguments.iter().position(|argument| argument == "--listen")) {
            recipe.arguments[place + 1] = api.to_string();
        }
        *self = Self::start(recipe, Arc::clone(&self.recorder))?;
        self.admin().await.map(drop)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }
}

fn append(path: &Path) -> Result<File, Failure> {
    let file = File::options().create(true).append(true).open(path);
    file.map_err(|error| failure(format!("{} cannot be written: {error}", path.display())))
}

/// Keeps the log, and looks for what matters in it.
async fn listen(
    lines: ChildStderr,
    mut log: File,
    program: String,
    addresses: watch::Sender<Addresses>,
    recorder: Arc<Recorder>,
    is_ending: Arc<AtomicBool>,
) {
    let mut lines = BufReader::new(lines).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // A log that cannot be kept is missed by a person, and changes nothing for the run.
        let _kept = writeln!(log, "{line}");
        let address = || line.split("http://").nth(1)?.split(' ').next()?.parse().ok();
        if line.contains("(API)") {
            addresses.send_modify(|addresses| addresses.api = address());
        } else if line.contains("(admin)") {
            addresses.send_modify(|addresses| addresses.admin = address());
        } else if NEVER_SAID.iter().any(|words| line.contains(words)) {
            recorder.note(What::Said { program: program.clone(), line });
        }
    }
    if !is_ending.load(Ordering::Relaxed) {
        recorder.note(What::Ended { program, status: "its log has an end".to_owned() });
    }
}
