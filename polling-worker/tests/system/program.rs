//! Servers and workers as processes of their own.

use std::net::SocketAddr;
use std::process::Stdio;

use polling_core::open::Urls;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::client::Client;
use crate::place::Place;
use crate::wait::{eventually, soon};

/// Makes a process of these tests a server.
pub(crate) const AS_SERVER: &str = "RUN_AS_SERVER";
/// Lines of a program's log that are shown when its test fails.
const SHOWN_LINES: usize = 60;

/// A process; killed when dropped.
pub(crate) struct Program {
    name: &'static str,
    child: Child,
    lines: watch::Receiver<Vec<String>>,
}

impl Program {
    fn start(name: &'static str, command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (sender, lines) = watch::channel(Vec::new());
        tokio::spawn(async move {
            while let Ok(Some(line)) = log.next_line().await {
                sender.send_modify(|lines| lines.push(line));
            }
        });
        Self { name, child, lines }
    }

    /// Waits for a line of the log that has `text` in it.
    pub(crate) async fn line(&self, text: &str) -> String {
        let mut lines = self.lines.clone();
        let found = |lines: &Vec<String>| lines.iter().find(|line| line.contains(text)).cloned();
        let waited = soon(text, lines.wait_for(|lines| found(lines).is_some())).await;
        waited.ok().and_then(|lines| found(&lines)).unwrap_or_else(|| panic!("{} never said {text:?}", self.name))
    }

    async fn listening(&self, what: &str) -> SocketAddr {
        let line = self.line(&format!("({what})")).await;
        let address = line.split("http://").nth(1).and_then(|rest| rest.split(' ').next());
        address.and_then(|address| address.parse().ok()).expect("an address")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        kill_process(id.and_then(Pid::from_raw).expect("it runs"), signal).expect("it is signalled");
    }

    /// Waits for its end.
    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        soon(self.name, self.child.wait()).await.expect("it ended").code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.lines.borrow();
            eprintln!("--- the end of what the {} said", self.name);
            lines.iter().skip(lines.len().saturating_sub(SHOWN_LINES)).for_each(|line| eprintln!("{line}"));
        }
    }
}

fn with_urls<'a>(command: &'a mut Command, urls: &Urls) -> &'a mut Command {
    command.env_clear().args(["--log-format", "text", "--admin-listen", "127.0.0.1:0"]);
    command.args(["--log", &urls.log, "--store", &urls.store, "--bus", &urls.bus]).arg("--data-dir").arg(&urls.data_dir)
}

/// Starts a server, which may not be ready yet.
pub(crate) fn server(urls: &Urls) -> Program {
    let mut command = Command::new(std::env::current_exe().expect("these tests have a program"));
    with_urls(&mut command, urls).args(["--listen", "127.0.0.1:0"]).env(AS_SERVER, "1");
    Program::start("server", command.env("POLLING_SECRET", "the secret that all servers of a test share"))
}

/// Starts a worker, which may not be ready yet.
pub(crate) fn worker(urls: &Urls) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polling-worker"));
    Program::start("worker", with_urls(&mut command, urls))
}

/// Starts a command of an operator.
pub(crate) fn worker_command(urls: &Urls, arguments: &[&str]) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polling-worker"));
    Program::start("command", with_urls(&mut command, urls).args(arguments))
}

/// Runs a command of an operator to its end; answers how it ended and what it printed.
pub(crate) async fn finished(urls: &Urls, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polling-worker"));
    let ended = soon("a command ends", with_urls(&mut command, urls).args(arguments).kill_on_drop(true).output()).await;
    let output = ended.expect("the command starts");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), String::from_utf8(output.stdout).expect("text"))
}

/// A server that takes requests.
pub(crate) struct Server {
    /// Ends with it.
    _program: Program,
    pub(crate) api: Client,
    pub(crate) admin: Client,
}

impl Server {
    pub(crate) async fn start(place: &Place) -> Self {
        Self::serving(server(&place.urls())).await
    }

    /// Waits until it takes requests.
    pub(crate) async fn serving(program: Program) -> Self {
        let (admin, api) = (program.listening("admin").await, program.listening("API").await);
        let server = Self { _program: program, api: Client::new(api), admin: Client::new(admin) };
        is_ready("a server is ready", &server.admin).await;
        server
    }
}

/// A worker that counts.
pub(crate) struct Worker {
    pub(crate) program: Program,
    pub(crate) admin: Client,
}

impl Worker {
    pub(crate) async fn start(place: &Place) -> Self {
        Self::counting(worker(&place.urls())).await
    }

    /// Waits until its backends are open.
    pub(crate) async fn counting(program: Program) -> Self {
        let worker = Self::waiting(program).await;
        is_ready("a worker is ready", &worker.admin).await;
        worker
    }

    /// Waits until it can be asked, ready or not.
    pub(crate) async fn waiting(program: Program) -> Self {
        let admin = Client::new(program.listening("admin").await);
        Self { program, admin }
    }
}

/// Waits until a program says that it is well in every respect.
pub(crate) async fn is_ready(what: &str, admin: &Client) {
    eventually(what, async || (admin.text("/readyz").await == (200, r#"{"status":"ready"}"#.to_owned())).then_some(())).await;
}

/// Waits until a program says that this check fails.
pub(crate) async fn is_unready(what: &str, admin: &Client, check: &str) {
    reports(what, admin, 503, &format!("[-]{check} failed")).await;
}

/// Waits until a program says that this check is degraded, and takes requests all the same.
pub(crate) async fn is_degraded(what: &str, admin: &Client, check: &str) {
    reports(what, admin, 200, &format!("[!]{check} degraded")).await;
}

async fn reports(what: &str, admin: &Client, status: u16, text: &str) {
    eventually(what, async || {
        let (answered, report) = admin.text("/readyz?verbose").await;
        (answered == status && report.contains(text)).then_some(())
    })
    .await;
}
