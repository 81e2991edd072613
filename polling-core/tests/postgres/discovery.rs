//! Finds a PostgreSQL to test against: the one that `DATABASE_URL` names, or a container, or a private one made of server programs
//! that are installed. The last two end with the tests.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testcontainers_modules::postgres::Postgres;
use testcontainers_modules::testcontainers::runners::AsyncRunner;
use testcontainers_modules::testcontainers::{ContainerAsync, ImageExt};

/// How long a server may take to accept connections.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long looking for a container engine may take.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(120);
const TAG: &str = "17-alpine";

/// A server, for as long as this value lives.
pub(crate) struct Server {
    /// What it is, to be printed.
    pub(crate) kind: &'static str,
    url: String,
    _running: Option<Box<dyn Send + Sync>>,
}

impl Server {
    /// The first that can be found, or why there is none.
    pub(crate) fn find() -> Result<Self, String> {
        if let Ok(url) = std::env::var("DATABASE_URL") {
            return Ok(Self { kind: "the server that DATABASE_URL names", url, _running: None });
        }
        let no_container = match Container::start() {
            Ok((url, running)) => return Ok(Self { kind: "a container", url, _running: Some(Box::new(running)) }),
            Err(reason) => reason,
        };
        match Private::start() {
            Ok((url, running)) => {
                let kind = "a server of the programs that are installed";
                Ok(Self { kind, url, _running: Some(Box::new(running)) })
            }
            Err(no_programs) => {
                Err(format!("DATABASE_URL is not set; no container: {no_container}; no server of its own: {no_programs}"))
            }
        }
    }

    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// A container, removed when it is dropped.
pub(crate) struct Container {
    container: Option<ContainerAsync<Postgres>>,
    runtime: tokio::runtime::Runtime,
}

impl Container {
    fn start() -> Result<(String, Self), String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let (container, host, port) = runtime.block_on(async {
            let started = tokio::time::timeout(ENGINE_TIMEOUT, Postgres::default().with_tag(TAG).start()).await;
            let container = started.map_err(|late| late.to_string())?.map_err(|error| error.to_string())?;
            let host = container.get_host().await.map_err(|error| error.to_string())?;
            let port = container.get_host_port_ipv4(5432).await.map_err(|error| error.to_string())?;
            Ok::<_, String>((container, host, port))
        })?;
        let url = format!("postgres://postgres:postgres@{host}:{port}/postgres");
        Ok((url, Self { container: Some(container), runtime }))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some(container) = self.container.take() {
            drop(self.runtime.block_on(container.rm()));
        }
    }
}

/// A server of installed programs in a folder of its own, stopped and removed when it is dropped.
pub(crate) struct Private {
    server: Child,
    programs: PathBuf,
    folder: TempDir,
}

impl Private {
    fn start() -> Result<(String, Self), String> {
        let programs = programs().ok_or("no initdb in /usr/lib/postgresql/*/bin or /usr/local/pgsql/bin")?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let data = folder.path().join("data");
        if is_root() {
            // The server does not run as root.
            quietly(Command::new("chown").arg("postgres").arg(folder.path()))?;
        }
        quietly(ordinary(&programs.join("initdb")).arg("-D").arg(&data).args([
            "-U",
            "polling",
            "--auth=trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]))?;
        let port = free_port()?;
        let server = ordinary(&programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300"])
            .arg("-k")
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let running = Self { server, programs: programs.clone(), folder };
        let started = Instant::now();
        let answers = || quietly(Command::new(programs.join("pg_isready")).args(["-h", "127.0.0.1", "-p", &port.to_string()]));
        while answers().is_err() {
            if started.elapsed() > START_TIMEOUT {
                return Err("it does not accept connections".to_owned());
            }
        }
        Ok((format!("postgres://polling:@127.0.0.1:{port}/postgres"), running))
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let mut stop = ordinary(&self.programs.join("pg_ctl"));
        let stopped = quietly(stop.args(["stop", "-m", "immediate", "-D"]).arg(self.folder.path().join("data")));
        if stopped.is_err() {
            drop(self.server.kill());
        }
        // Whatever it says: it is our child, and the folder goes with it.
        drop(self.server.wait());
    }
}

/// The folder of the newest server programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.push("/usr/local/pgsql/bin".into());
    folders.retain(|folder| folder.join("initdb").is_file());
    folders.sort();
    folders.pop()
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

/// The command, run by an ordinary user.
fn ordinary(program: &Path) -> Command {
    if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

fn quietly(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}
