//! A server whose disk takes nothing for a while: what it says meanwhile, and that it goes on by itself.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use polling_core::secret::Secret;
use polling_core::shutdown::Shutdown;
use polling_core::store::sqlite::SqliteFault;
use polling_server::run::{Listeners, Opened, RunError, routes, run_opened};
use polling_server::serve::Drained;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::transport::SOON;

struct Server {
    client: Client,
    api: SocketAddr,
    admin: SocketAddr,
    store: std::sync::Arc<polling_core::store::sqlite::SqliteStore>,
    shutdown: Shutdown,
    ended: JoinHandle<Result<Drained, RunError>>,
}

impl Server {
    async fn start(data_dir: &Path) -> Self {
        let data_dir = data_dir.to_str().expect("text").to_owned();
        let arguments = ["polling-server", "--data-dir", &data_dir].map(std::ffi::OsString::from);
        let invocation = polling_server::command::parse(polling_server::config::SETTINGS, arguments, &[].into());
        let config = polling_server::config::Config::check(&invocation.expect("understood").settings).expect("sound");
        let bind = || TcpListener::bind("127.0.0.1:0");
        let listeners = Listeners { api: bind().await.expect("free"), admin: Some(bind().await.expect("free")) };
        let api = listeners.api.local_addr().expect("bound");
        let admin = listeners.admin.as_ref().and_then(|admin| admin.local_addr().ok()).expect("bound");
        let backends = polling_core::open::open(&config.urls).await.expect("opened");
        let store = backends.sqlite().expect("a file");
        let opened = Opened::new(backends, Secret::new(&[7; 32]).expect("long enough"));
        let shutdown = Shutdown::new();
        let ended = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { run_opened(&config, opened, listeners, routes, shutdown).await }
        });
        Self { client: Client::new(), api, admin, store, shutdown, ended }
    }

    async fn post(&self, path: &str, body: &Value) -> Response {
        self.client.post(format!("http://{}{path}", self.api)).json(body).send().await.expect("an answer")
    }

    async fn create(&self) -> Response {
        self.post("/polls", &json!({"question": "Tea?", "options": ["Yes", "No"]})).await
    }

    async fn vote(&self, poll: &str, voter: &str) -> Response {
        let body = json!({"choices": [1], "voter_id": voter, "vote_id": uuid::Uuid::from_u128(u128::from(voter.as_bytes()[0]))});
        self.post(&format!("/polls/{poll}/vote"), &body).await
    }

    async fn ready(&self) -> (StatusCode, String) {
        let answer = self.client.get(format!("http://{}/readyz", self.admin)).send().await.expect("an answer");
        (answer.status(), answer.text().await.expect("text"))
    }

    /// Asks until it is ready, and nothing else: whatever was wrong, it finds out by itself that it is over.
    async fn recovers(&self) {
        let deadline = Instant::now() + SOON;
        loop {
            let (status, body) = self.ready().await;
            if status == StatusCode::OK {
                return;
            }
            assert!(Instant::now() < deadline, "{body}");
            tokio::task::yield_now().await;
        }
    }

    async fn stop(self) {
        self.shutdown.request();
        let ended = tokio::time::timeout(SOON, self.ended).await.expect("ended in time").expect("no panic");
        assert_eq!(ended.expect("ended well"), Drained::Clean);
    }
}

async fn expect_not_recorded(answer: Response) {
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    let problem: Value = answer.json().await.expect("JSON");
    assert_eq!((problem["type"].as_str(), problem["recorded"].as_str()), (Some("/problems/not-recorded"), Some("no")));
}

/// What of the server meets the full disk first.
#[derive(Clone, Copy)]
enum First {
    Vote,
    Create,
}

/// Lets the server meet a disk that takes nothing, twice; `fill` and `free` make it so, and `reason` is what the disk says.
async fn goes_through<F: Future<Output = ()>, G: Future<Output = ()>>(
    server: &Server,
    fill: impl Fn() -> F,
    free: impl Fn() -> G,
    reason: &str,
) {
    let created: Value = server.create().await.json().await.expect("JSON");
    let poll = created["id"].as_str().expect("an id").to_owned();
    assert_eq!(server.vote(&poll, "ann").await.status(), StatusCode::ACCEPTED);
    server.recovers().await;
    for (first, voter, voters) in [(First::Vote, "ben", 2), (First::Create, "cat", 3)] {
        fill().await;
        match first {
            First::Vote => expect_not_recorded(server.vote(&poll, voter).await).await,
            First::Create => expect_not_recorded(server.create().await).await,
        }
        let (status, body) = server.ready().await;
        assert!(status == StatusCode::SERVICE_UNAVAILABLE && body.contains(reason), "{status} {body}");
        expect_not_recorded(server.create().await).await;
        expect_not_recorded(server.vote(&poll, voter).await).await;
        let shown = server.client.get(format!("http://{}/polls/{poll}", server.api)).send().await.expect("an answer");
        let shown: Value = shown.json().await.expect("JSON");
        assert_eq!(shown["results"]["voters"], voters - 1, "reading goes on");
        free().await;
        server.recovers().await;
        assert_eq!(server.create().await.status(), StatusCode::CREATED);
        let counted = server.vote(&poll, voter).await;
        assert_eq!(counted.status(), StatusCode::ACCEPTED);
        assert_eq!(counted.json::<Value>().await.expect("JSON")["status"], "counted");
        let shown = server.client.get(format!("http://{}/polls/{poll}", server.api)).send().await.expect("an answer");
        assert_eq!(shown.json::<Value>().await.expect("JSON")["results"]["voters"], voters);
    }
}

#[tokio::test]
async fn a_server_that_cannot_write_says_so_and_goes_on_by_itself_when_it_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path()).await;
    let (fill, free) = (|| server.store.inject(Some(SqliteFault::ReadOnly)), || server.store.inject(None));
    goes_through(&server, fill, free, "readonly database").await;
    server.stop().await;
}

/// A file system of its own, and small.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut mount = std::process::Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(folder.path()).status();
        assert!(mounted.is_ok_and(|status| status.success()), "mounting needs root");
        Self(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
#[ignore = "mounts a tmpfs, which needs root: run with --ignored"]
async fn a_server_on_a_full_disk_says_so_and_goes_on_by_itself_when_there_is_room() {
    let disk = SmallDisk::new();
    let server = Server::start(disk.0.path()).await;
    let ballast = disk.0.path().join("ballast");
    // As much as there is room for: the error that ends it is the one wanted.
    let fill = async || drop(std::fs::write(&ballast, vec![1; 4 << 20]));
    let free = async || std::fs::remove_file(&ballast).expect("it is removed");
    goes_through(&server, fill, free, "disk is full").await;
    server.stop().await;
}
