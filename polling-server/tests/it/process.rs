//! The server as a process: exit codes, signals, and what it leaves on the disk.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_polling-server");
/// How long anything may take that should happen soon.
const SOON: Duration = Duration::from_secs(30);

/// A server on any free port.
pub(crate) fn bare(data_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().arg("--data-dir").arg(data_dir);
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "none"]).args(arguments);
    command
}

/// The same, with nothing on the disk but the secret.
fn command(data_dir: &Path, arguments: &[&str]) -> Command {
    bare(data_dir, &[&["--store", "memory:"], arguments].concat())
}

/// Runs a command that ends by itself.
fn ended(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("started");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

/// A server that runs; killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    pub(crate) api: SocketAddr,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("started");
        let stderr = child.stderr.take().expect("piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // The test may have ended.
                let _ended = sender.send(line);
            }
        });
        let mut running = Self { child, lines, api: SocketAddr::from(([127, 0, 0, 1], 0)) };
        running.api = running.listening("API");
        running
    }

    /// The next line with `text` in it.
    fn line(&self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(SOON).unwrap_or_else(|_| panic!("a line with {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    fn listening(&self, what: &str) -> SocketAddr {
        let line = self.line(&format!("({what})"));
        let address = line.split("http://").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address");
        address.parse().expect("an address")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, signal).expect("signalled");
    }

    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + SOON;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("still running");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("accepted");
    stream.set_read_timeout(Some(SOON)).expect("set");
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

#[test]
fn mistakes_end_it_with_64_before_a_port_is_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    // Were the port bound first, the code would be 69.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    for mistake in [["--bus", "mem:"], ["--drain", "5"], ["--listne", "x"], ["--secret", "short"]] {
        let (code, output, errors) = ended(Command::new(PROGRAM).env_clear().args(["--listen", &address]).args(mistake));
        assert_eq!((code, output.as_str()), (Some(64), ""), "{errors}");
        assert!(errors.starts_with("error: "), "{errors}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[cfg(unix)]
#[test]
fn a_setting_in_the_environment_that_is_not_text_ends_it_with_64() {
    use std::os::unix::ffi::OsStrExt;
    let keys = std::ffi::OsStr::from_bytes(b"0123456789012345\xff");
    let (code, output, errors) = ended(Command::new(PROGRAM).env_clear().env("POLLING_API_KEYS", keys).args(["config", "print"]));
    assert_eq!((code, output.as_str()), (Some(64), ""), "{errors}");
    assert_eq!(errors, "error: the environment variable POLLING_API_KEYS is not encoded in UTF-8\n");
}

#[test]
fn an_unknown_flag_is_refused_with_the_nearest() {
    let (code, _, errors) = ended(Command::new(PROGRAM).env_clear().args(["--admin-listne", "x"]));
    assert_eq!(code, Some(64));
    assert!(errors.contains("--admin-listen"), "{errors}");
}

#[test]
fn help_and_version_go_to_standard_output() {
    let (code, help, _) = ended(Command::new(PROGRAM).env_clear().arg("--help"));
    assert!(code == Some(0) && help.contains("POLLING_LISTEN"), "{help}");
    let backends =
        [("sqlite", cfg!(feature = "sqlite")), ("postgres", cfg!(feature = "postgres")), ("kafka", cfg!(feature = "kafka"))];
    let backends = backends.iter().filter(|(_, is_built)| *is_built).map(|(name, _)| format!(", {name}")).collect::<String>();
    let backends = format!("(backends: memory{backends})");
    let (code, version, _) = ended(Command::new(PROGRAM).env_clear().arg("--version"));
    assert!(code == Some(0) && version.contains(&backends), "{version}");
}

#[test]
fn the_api_document_is_printed() {
    let (code, document, _) = ended(Command::new(PROGRAM).env_clear().arg("openapi"));
    let document: serde_json::Value = serde_json::from_str(&document).expect("JSON");
    assert!(code == Some(0) && document["paths"].is_object(), "{document}");
}

#[test]
fn the_configuration_is_printed_without_its_secrets_and_checked_without_a_trace() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("data");
    let secret = "0123456789abcdef0123456789abcdef";
    let (code, printed, _) = ended(command(&data_dir, &["config", "print"]).env("POLLING_SECRET", secret));
    assert_eq!(code, Some(0));
    assert!(printed.contains("secret = \"(redacted)\" # environment") && !printed.contains(secret), "{printed}");
    assert!(printed.contains("listen = \"127.0.0.1:0\" # flag") && printed.contains("# default"), "{printed}");
    assert_eq!(ended(&mut command(&data_dir, &["config", "check"])).0, Some(0));
    assert_eq!(ended(&mut command(&data_dir, &["config", "check", "--drain", "x"])).0, Some(64));
    assert!(!data_dir.exists());
}

#[test]
fn a_port_in_use_ends_it_with_69_and_a_folder_that_is_none_with_74() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let (code, _, errors) = ended(
        Command::new(PROGRAM)
            .env_clear()
            .args(["--store", "memory:", "--listen", &address])
            .args(["--admin-listen", "none", "--data-dir"])
            .arg(folder.path()),
    );
    assert_eq!(code, Some(69), "{errors}");
    assert!(errors.contains("failed to listen on") && errors.contains("in use"), "{errors}");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("written");
    let (code, _, errors) = ended(&mut command(&file.join("data"), &[]));
    assert_eq!(code, Some(74), "{errors}");
}

#[cfg(feature = "sqlite")]
#[test]
fn a_folder_in_use_ends_it_with_69_and_data_of_something_else_with_65() {
    let folder = tempfile::tempdir().expect("a folder");
    let on_disk = ["--store", "sqlite:polling.db"];
    let mut running = Running::start(&mut bare(folder.path(), &on_disk));
    let (code, _, errors) = ended(&mut bare(folder.path(), &on_disk));
    assert_eq!(code, Some(69), "{errors}");
    assert!(errors.contains("polling.db is in use"), "{errors}");
    running.signal(Signal::TERM);
    assert_eq!(running.exit_code(), Some(0));
    std::fs::write(folder.path().join("polling.db"), "a shopping list, and not votes\n".repeat(100)).expect("written");
    let (code, _, errors) = ended(&mut bare(folder.path(), &on_disk));
    assert_eq!(code, Some(65), "{errors}");
}

/// Asks for a new poll of some kilobytes, and answers the status.
#[cfg(all(feature = "sqlite", target_os = "linux"))]
fn create(address: SocketAddr) -> String {
    let body =
        serde_json::json!({ "question": "q".repeat(300), "options": (0..100).map(|n| format!("{n:0200}")).collect::<Vec<_>>() });
    let body = body.to_string();
    let head = format!(
        "POST /polls HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).expect("accepted");
    stream.set_read_timeout(Some(SOON)).expect("set");
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer.split(' ').nth(1).expect("a status").to_owned()
}

#[cfg(all(feature = "sqlite", target_os = "linux"))]
#[test]
fn a_limit_on_the_size_of_files_is_like_a_full_disk() {
    use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
    let folder = tempfile::tempdir().expect("a folder");
    let running = Running::start(&mut bare(folder.path(), &[]));
    let pid = i32::try_from(running.child.id()).ok().and_then(Pid::from_raw);
    let maximum = getrlimit(Resource::Fsize).maximum;
    let allow = |bytes: Option<u64>| prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum }).expect("set");
    assert_eq!(create(running.api), "201");
    allow(Some(256 * 1024));
    let deadline = Instant::now() + SOON;
    while create(running.api) != "503" {
        assert!(Instant::now() < deadline, "the limit is reached");
    }
    assert!(get(running.api, "/polls").starts_with("HTTP/1.1 200"), "it goes on");
    allow(maximum);
    while create(running.api) != "201" {
        assert!(Instant::now() < deadline, "it recovers by itself");
    }
}

#[cfg(feature = "sqlite")]
#[test]
fn another_secret_over_data_that_is_there_ends_it_with_64() {
    let folder = tempfile::tempdir().expect("a folder");
    let with = |secret: &str| {
        let mut command = bare(folder.path(), &[]);
        command.env("POLLING_SECRET", secret.repeat(32));
        command
    };
    for _ in 0..2 {
        let mut running = Running::start(&mut with("a"));
        running.signal(Signal::TERM);
        assert_eq!(running.exit_code(), Some(0));
    }
    let (code, _, errors) = ended(&mut with("b"));
    assert_eq!(code, Some(64), "{errors}");
    assert!(errors.contains("the secret is not the one that the voters in"), "{errors}");
    drop(Running::start(&mut with("a")));
    // The one that was made there goes with the data, too.
    let made = tempfile::tempdir().expect("a folder");
    drop(Running::start(&mut bare(made.path(), &[])));
    let (code, _, errors) = ended(bare(made.path(), &[]).env("POLLING_SECRET", "b".repeat(32)));
    assert_eq!(code, Some(64), "{errors}");
    drop(Running::start(&mut bare(made.path(), &[])));
}

#[cfg(unix)]
#[test]
fn the_secret_is_made_once_and_kept_from_others() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("changed");
    drop(Running::start(&mut command(folder.path(), &[])));
    let made = std::fs::read(&path).expect("a secret");
    assert_eq!(std::fs::metadata(&path).expect("a secret").permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing but the secret");
    drop(Running::start(&mut command(folder.path(), &[])));
    assert_eq!(std::fs::read(&path).expect("a secret"), made);

    mode(0o644);
    let (code, _, errors) = ended(&mut command(folder.path(), &[]));
    assert!(code == Some(64) && errors.contains("everybody on this machine may use it (mode 644)"), "{errors}");
    mode(0o600);
    std::fs::write(&path, "short\n").expect("written");
    let (code, _, errors) = ended(&mut command(folder.path(), &[]));
    assert!(code == Some(64) && errors.contains("at least 32 bytes"), "{errors}");
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("made");
    mode(0o700);
    let (code, _, errors) = ended(&mut command(folder.path(), &[]));
    assert!(code == Some(64) && errors.contains("failed to read the secret"), "{errors}");
}

#[test]
fn each_signal_ends_it_with_0_and_frees_the_port() {
    let folder = tempfile::tempdir().expect("a folder");
    for signal in [Signal::TERM, Signal::INT] {
        let mut running = Running::start(&mut command(folder.path(), &[]));
        assert!(get(running.api, "/nothing").starts_with("HTTP/1.1 404 "));
        running.signal(signal);
        assert_eq!(running.exit_code(), Some(0));
        assert!(TcpStream::connect(running.api).is_err());
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let patient = ["--drain", "1h", "--header-timeout", "1h"];
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        // Half a request holds the stop, once it was read, and nothing tells when that is.
        let ended_at_once = (0..20).any(|_| {
            let mut running = Running::start(&mut command(folder.path(), &patient));
            let mut half = TcpStream::connect(running.api).expect("accepted");
            half.write_all(b"GET / HTTP/1.1\r\nhos").expect("sent");
            get(running.api, "/nothing");
            running.signal(signal);
            running.line("a second one stops at once");
            running.signal(signal);
            running.exit_code() == Some(code)
        });
        assert!(ended_at_once);
    }
}

#[test]
fn health_is_shown_and_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut running = Command::new(PROGRAM);
    running.env_clear().args(["--store", "memory:", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"]);
    let mut child = running.arg(folder.path()).stderr(Stdio::piped()).spawn().expect("started");
    let mut admin = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    while !admin.contains("(admin)") {
        admin.clear();
        assert!(stderr.read_line(&mut admin).expect("read") > 0, "it ended");
    }
    let address = admin.split("http://").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address").to_owned();
    let asked = |address: &str| {
        let arguments = ["healthcheck", "--store", "memory:", "--admin-listen", address];
        ended(Command::new(PROGRAM).env_clear().args(arguments)).0
    };
    let at: SocketAddr = address.parse().expect("an address");
    let deadline = Instant::now() + SOON;
    while asked(&address) != Some(0) && Instant::now() < deadline {}
    assert_eq!(asked(&address), Some(0));
    assert!(get(at, "/livez").starts_with("HTTP/1.1 200 "));
    assert!(get(at, "/readyz?verbose").contains("[+]store ok"));
    assert!(get(at, "/metrics").contains("polling_build_info{version="));
    assert!(get(at, "/other").starts_with("HTTP/1.1 404 "));
    while !admin.contains("(API)") {
        admin.clear();
        assert!(stderr.read_line(&mut admin).expect("read") > 0, "it ended");
    }
    let api = admin.split("http://").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address");
    let mut stream = TcpStream::connect(api).expect("accepted");
    stream.write_all(b"GET /leaderboard/events HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    let shows = |line: &str| {
        let deadline = Instant::now() + SOON;
        while !get(at, "/metrics").contains(line) && Instant::now() < deadline {}
        assert!(get(at, "/metrics").contains(line), "{line}");
    };
    shows("\npolling_open_sockets 1\n");
    drop(stream);
    shows("\npolling_open_sockets 0\n");
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert_eq!(asked(&address), Some(1));
    assert_eq!(asked("none"), Some(64));
}
