//! Sockets of a real server, seen by a WebSocket client that knows nothing of it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use polling_core::clock::SystemClock;
use polling_core::clock::{Clock, Timestamp};
use polling_core::model::{Choices, OptionId, Vote, VoteId, VoteKind, VoterIdentity};
use polling_core::model::{OwnerKey, Poll, PollDraft, PollId, Receipt, ResultsVisibility};
use polling_core::open::Backends;
use polling_core::secret::{OwnerToken, Secret};
use polling_core::shutdown::Shutdown;
use polling_server::run::{Listeners, Opened, RunError, Wiring, routes, run_opened};
use polling_server::serve::Drained;
use polling_server::service::Service;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use uuid::Uuid;

/// Longer than anything here takes on a busy machine; only a test that fails waits for it.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    pub(crate) service: Arc<Service>,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) ended: JoinHandle<Result<Drained, RunError>>,
    _folder: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        Self::start_over(arguments, |_| {}).await
    }

    /// Starts over backends in memory after this change of them.
    pub(crate) async fn start_over(arguments: &[&str], change: impl FnOnce(&mut Backends)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data_dir = folder.path().to_str().expect("text");
        let always = ["polling-server", "--store", "memory:", "--admin-listen", "none", "--data-dir", data_dir];
        let arguments = always.iter().chain(arguments).map(std::ffi::OsString::from);
        let invocation = polling_server::command::parse(polling_server::config::SETTINGS, arguments, &[].into());
        let config = polling_server::config::Config::check(&invocation.expect("understood").settings).expect("sound");
        let listeners = Listeners { api: TcpListener::bind("127.0.0.1:0").await.expect("free"), admin: None };
        let address = listeners.api.local_addr().expect("bound");
        let (shutdown, (sender, wired)) = (Shutdown::new(), oneshot::channel());
        let stop = shutdown.clone();
        let mut backends = polling_core::open::open(&config.urls).await.expect("opened");
        change(&mut backends);
        let opened = Opened::new(backends, Secret::new(&[7; 32]).expect("long enough"));
        let ended = tokio::spawn(async move {
            let with_sockets = |wiring: Wiring<'_>| {
                let _waiting = sender.send(Arc::clone(&wiring.service));
                routes(wiring)
            };
            run_opened(&config, opened, listeners, with_sockets, stop).await
        });
        let service = wired.await.expect("started");
        Self { service, address, shutdown, ended, _folder: folder }
    }

    pub(crate) async fn create(&self, change: impl FnOnce(&mut PollDraft)) -> Poll {
        self.create_owned(OwnerKey([0; 32]), change).await
    }

    pub(crate) async fn create_owned(&self, owner: OwnerKey, change: impl FnOnce(&mut PollDraft)) -> Poll {
        let mut draft = PollDraft { question: "Tea?".into(), options: vec!["Yes".into(), "No".into()], ..PollDraft::default() };
        change(&mut draft);
        let poll = draft.into_poll(owner, SystemClock.now()).expect("sound");
        self.service.polls.create(&poll).await.expect("created");
        poll
    }

    /// Has the voter choose the first option; answers the receipt.
    pub(crate) async fn vote(&self, poll: &Poll, voter: u32) -> String {
        let vote = Vote {
            poll: poll.id,
            voter: self.service.secret.voter_key(poll.id, VoterIdentity::Declared(&voter.to_string())),
            id: VoteId(Uuid::new_v4()),
            accepted_at: SystemClock.now(),
            kind: VoteKind::Cast(Choices::single(OptionId::from_index(0).expect("an option"))),
        };
        let recorded = self.service.sink.record(vote).await.expect("recorded");
        self.service.secret.seal_receipt(&Receipt::of(&vote, recorded.position)).to_string()
    }

    pub(crate) async fn connect(&self, path: &str) -> Client {
        self.try_connect(path, &[]).await.expect("upgraded")
    }

    pub(crate) async fn try_connect(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Client, Error> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request()?;
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a header");
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        Ok(Client(connect_async(request).await?.0))
    }

    /// The status of a refused upgrade, and the name of its problem.
    pub(crate) async fn refused(&self, path: &str, headers: &[(&'static str, &str)]) -> (u16, String) {
        match self.try_connect(path, headers).await.map(|_| ()).expect_err("refused") {
            Error::Http(response) => {
                let body: Value = serde_json::from_slice(response.body().as_deref().unwrap_or_default()).unwrap_or_default();
                let name = body["type"].as_str().unwrap_or_default().trim_start_matches("/problems/");
                (response.status().as_u16(), name.to_owned())
            }
            other => panic!("{other}"),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let response = reqwest::get(format!("http://{}{path}", self.address)).await.expect("an answer");
        response.json().await.expect("JSON")
    }

    pub(crate) async fn delete(&self, poll: &Poll, token: &OwnerToken) {
        let url = format!("http://{}/polls/{}", self.address, poll.id);
        let response = reqwest::Client::new().delete(url).bearer_auth(token.reveal()).send().await.expect("an answer");
        assert_eq!(response.status(), 204);
    }
}

pub(crate) struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn message(&mut self) -> Message {
        // Pings come for ever, so the deadline is for the whole wait.
        let no_ping = async {
            loop {
                let message = self.0.next().await.expect("open").expect("sound");
                if !message.is_ping() {
                    return message;
                }
            }
        };
        timeout(SOON, no_ping).await.expect("in time")
    }

    pub(crate) async fn frame(&mut self) -> Value {
        match self.message().await {
            Message::Text(text) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("unexpected: {other:?}"),
        }
    }

    pub(crate) async fn closed(&mut self) -> CloseCode {
        self.closed_because().await.0
    }

    async fn closed_because(&mut self) -> (CloseCode, String) {
        loop {
            match self.message().await {
                Message::Close(Some(close)) => return (close.code, close.reason.to_string()),
                Message::Close(None) => panic!("closed without a code"),
                _ => {}
            }
        }
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        self.say_text(&message.to_string()).await;
    }

    pub(crate) async fn say_text(&mut self, message: &str) {
        self.0.send(Message::Text(message.into())).await.expect("sent");
    }

    /// Nothing comes before the answer to a message that is always answered.
    pub(crate) async fn is_silent(&mut self) {
        self.say(&json!({"subscribe": ["nothing"]})).await;
        assert_eq!(self.frame().await["type"], "error");
    }
}

pub(crate) fn live(poll: &Poll) -> String {
    format!("/polls/{}/live", poll.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_the_snapshot_at_once_and_then_every_newest_state() {
    let server = Server::start().await;
    let poll = server.create(|_| {}).await;
    let mut client = server.connect(&live(&poll)).await;
    let snapshot = client.frame().await;
    let expected = json!({
        "type": "results", "poll_id": poll.id.to_string(), "epoch": 1, "version": 1, "state": "open", "voters": 0,
        "options": [{"id": 1, "votes": 0}, {"id": 2, "votes": 0}],
    });
    assert_eq!(snapshot, expected);
    server.vote(&poll, 1).await;
    let frame = client.frame().await;
    assert_eq!((&frame["version"], &frame["options"][0]["votes"]), (&json!(2), &json!(1)));
    let mut board = server.connect("/leaderboard/live").await;
    let board_frame = board.frame().await;
    assert_eq!((&board_frame["type"], &board_frame["entries"][0]["votes"]), (&json!("leaderboard"), &json!(1)));
    server.vote(&poll, 2).await;
    let mut next = board.frame().await;
    assert!(next["version"].as_u64() > board_frame["version"].as_u64());
    assert_eq!(next["entries"][0].as_object_mut().expect("an entry").remove("previous_rank"), Some(json!(1)));
    assert_eq!(next["entries"], server.get("/leaderboard").await["entries"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_flood_of_votes_a_watcher_gets_at_most_21_frames_a_second_and_the_last_is_the_truth() {
    const VOTES: u32 = 10_000;
    let server = Arc::new(Server::start().await);
    let poll = Arc::new(server.create(|_| {}).await);
    let mut client = server.connect(&live(&poll)).await;
    let voting = tokio::spawn({
        let (server, poll) = (Arc::clone(&server), Arc::clone(&poll));
        async move {
            let mut pace = tokio::time::interval(Duration::from_millis(10));
            for first in (0..VOTES).step_by(50) {
                pace.tick().await;
                let votes = (first..first + 50).map(|voter| server.vote(&poll, voter));
                futures_util::future::join_all(votes).await;
            }
        }
    });
    let (mut arrivals, mut version, mut last) = (VecDeque::new(), 0, Value::Null);
    while last["voters"] != VOTES {
        last = client.frame().await;
        assert!(last["version"].as_u64() > Some(version), "the version grows");
        version = last["version"].as_u64().expect("a number");
        let now = Instant::now();
        arrivals.push_back(now);
        while arrivals.front().is_some_and(|first| now - *first >= Duration::from_secs(1)) {
            arrivals.pop_front();
        }
        assert!(arrivals.len() <= 21, "{} frames within a second", arrivals.len());
    }
    voting.await.expect("no panic");
    let poll = server.get(&format!("/polls/{}", poll.id)).await;
    assert_eq!((&last["version"], &last["voters"]), (&poll["results"]["version"], &poll["results"]["voters"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_what_it_has_gets_only_what_is_newer() {
    let server = Server::start().await;
    let poll = server.create(|_| {}).await;
    let mut client = server.connect(&format!("{}?after=1.1", live(&poll))).await;
    server.vote(&poll, 1).await;
    assert_eq!(client.frame().await["version"], 2, "not the snapshot");
    let mut behind = server.connect(&format!("{}?after=1.1", live(&poll))).await;
    assert_eq!(behind.frame().await["version"], 2, "a newer snapshot");
    assert_eq!(server.refused(&format!("{}?after=2", live(&poll)), &[]).await, (422, "validation".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn closings_and_archivings_reach_watchers() {
    let server = Server::start().await;
    let token = OwnerToken::from_random([9; 32]);
    // Long enough for a slow machine to have both clients watching before it comes.
    let closes_at = |from: Timestamp| Some(from.saturating_add(Duration::from_secs(3)));
    let poll = server.create_owned(token.key(), |draft| draft.closes_at = closes_at(SystemClock.now())).await;
    server.service.scheduler.poll_created();
    let mut client = server.connect(&live(&poll)).await;
    let mut many = server.connect("/live").await;
    many.say(&json!({"subscribe": [poll.id.to_string()]})).await;
    for client in [&mut client, &mut many] {
        assert_eq!(client.frame().await["state"], "open");
        assert_eq!(client.frame().await["state"], "closed", "by itself, when its time comes");
    }
    server.delete(&poll, &token).await;
    for client in [&mut client, &mut many] {
        let frame = client.frame().await;
        assert_eq!((&frame["type"], &frame["problem"]), (&json!("error"), &json!("/problems/poll-not-found")));
        assert_eq!(frame["poll_id"], poll.id.to_string());
    }
    assert_eq!(client.closed().await, CloseCode::Normal);
    many.is_silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_socket_watches_what_it_asks_for() {
    let server = Server::start().await;
    let (first, second) = (server.create(|_| {}).await, server.create(|_| {}).await);
    let mut client = server.connect("/live").await;
    client.say(&json!({"subscribe": [first.id.to_string(), second.id.to_string()], "leaderboard": true})).await;
    let kinds: Vec<Value> = [client.frame().await, client.frame().await, client.frame().await]
        .into_iter()
        .map(|frame| if frame["type"] == "results" { frame["poll_id"].clone() } else { frame["type"].clone() })
        .collect();
    assert_eq!(kinds, [json!(first.id.to_string()), json!(second.id.to_string()), json!("leaderboard")]);
    client.say(&json!({"unsubscribe": [first.id.to_string()], "leaderboard": false})).await;
    client.is_silent().await;
    server.vote(&first, 1).await;
    server.vote(&second, 1).await;
    assert_eq!(client.frame().await["poll_id"], second.id.to_string());
    client.is_silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_shown_twice_on_a_socket_however_many_polls_it_watches() {
    let server = Server::start().await;
    let mut polls = Vec::new();
    for _ in 0..1001 {
        polls.push(server.create(|_| {}).await.id.to_string());
    }
    let (last, shown) = polls.split_last().expect("some");
    let mut client = server.connect("/live").await;
    for some in shown.chunks(50) {
        client.say(&json!({"subscribe": some})).await;
        for poll in some {
            assert_eq!(client.frame().await["poll_id"], *poll);
        }
        client.say(&json!({"unsubscribe": some})).await;
    }
    client.say(&json!({"subscribe": [last]})).await;
    let refused = client.frame().await;
    assert_eq!((&refused["type"], &refused["poll_id"]), (&json!("error"), &json!(last)), "{refused}");
    client.say(&json!({"subscribe": [shown[0]]})).await;
    client.is_silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_message_is_answered_and_too_many_are_not() {
    let server = Server::start().await;
    let mut client = server.connect("/live").await;
    let unknown = PollId::new(SystemClock.now());
    client.say(&json!({"subscribe": [unknown.to_string()]})).await;
    let frame = client.frame().await;
    assert_eq!(
        (&frame["type"], &frame["status"], &frame["poll_id"]),
        (&json!("error"), &json!(404), &json!(unknown.to_string()))
    );
    for (message, problem) in [("not json", "invalid-json"), ("{\"subscribe\": 1}", "validation"), ("{\"a\": 1}", "validation")] {
        client.say_text(message).await;
        assert_eq!(client.frame().await["problem"], format!("/problems/{problem}"), "{message}");
    }
    let unknown: Vec<String> = (0..60).map(|_| PollId::new(SystemClock.now()).to_string()).collect();
    client.say(&json!({"subscribe": unknown})).await;
    for poll in &unknown {
        assert_eq!(client.frame().await["poll_id"], *poll, "one message, however many complaints it gets");
    }
    for _ in 0..11 {
        client.say(&json!([])).await;
    }
    assert_eq!(client.closed().await, CloseCode::Policy, "it goes on");
    let mut client = server.connect("/live").await;
    client.say_text(&"x".repeat(4097)).await;
    assert_eq!(client.closed().await, CloseCode::Size);
    let poll = server.create(|_| {}).await;
    let mut client = server.connect(&live(&poll)).await;
    client.frame().await;
    client.say(&json!({"subscribe": []})).await;
    assert_eq!(client.frame().await["type"], "error", "a socket of one poll takes no messages");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_come_in_is_told_before_the_upgrade() {
    let server = Server::start_with(&["--sockets-max", "2", "--allowed-origins", "https://polls.example"]).await;
    let poll = server.create(|_| {}).await;
    let path = live(&poll);
    let forbidden = (403, "forbidden".to_owned());
    for path in [path.as_str(), "/live", "/leaderboard/live"] {
        assert_eq!(server.refused(path, &[("origin", "https://evil.example")]).await, forbidden);
    }
    let not_found = (404, "poll-not-found".to_owned());
    assert_eq!(server.refused("/polls/nonsense/live", &[]).await, not_found);
    assert_eq!(server.refused(&format!("/polls/{}/live", PollId::new(SystemClock.now())), &[]).await, not_found);
    let own = format!("http://{}", server.address);
    let first = server.try_connect(&path, &[("origin", &own)]).await.expect("our own page");
    let _second = server.try_connect(&path, &[("origin", "https://polls.example")]).await.expect("an allowed page");
    assert_eq!(server.refused(&path, &[]).await, (503, "unavailable".to_owned()), "it is full");
    drop(first);
    timeout(SOON, async { while server.try_connect(&path, &[]).await.is_err() {} }).await.expect("a place is given back");
    let plain = async || reqwest::get(format!("http://{}{path}", server.address)).await.expect("an answer");
    let has_room = async {
        loop {
            let response = plain().await;
            if response.status() != 503 {
                break response;
            }
        }
    };
    let response = timeout(SOON, has_room).await.expect("the place is given back again");
    assert_eq!((response.status().as_u16(), response.headers()["upgrade"].as_bytes()), (426, b"websocket".as_slice()));
    assert_eq!(response.json::<Value>().await.expect("JSON")["type"], "about:blank");
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_results_are_shown_to_the_owner_only() {
    let server = Server::start().await;
    let token = OwnerToken::from_random([5; 32]);
    let poll = server.create_owned(token.key(), |draft| draft.results = ResultsVisibility::AfterClose).await;
    server.vote(&poll, 1).await;
    let bearer = format!("Bearer {}", token.reveal());
    let mut owner = server.try_connect(&live(&poll), &[("authorization", &bearer)]).await.expect("upgraded");
    let mut other = server.connect(&live(&poll)).await;
    assert_eq!(owner.frame().await["options"][0]["votes"], 1);
    let hidden = other.frame().await;
    assert_eq!((&hidden["voters"], hidden.get("options")), (&json!(1), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_shutdown_every_socket_is_told_to_come_back_and_when() {
    let server = Server::start().await;
    let poll = server.create(|_| {}).await;
    let mut clients = vec![server.connect(&live(&poll)).await, server.connect("/live").await];
    server.shutdown.request();
    for client in &mut clients {
        let (code, reason) = client.closed_because().await;
        assert_eq!(code, CloseCode::Restart);
        let millis: u32 = reason.split("retry: ").nth(1).expect("a time").parse().expect("a number");
        assert!((1000..3000).contains(&millis), "{reason}");
    }
    assert_eq!(timeout(SOON, server.ended).await.expect("in time").expect("no panic").expect("well"), Drained::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_reading_delays_nobody_and_is_closed() {
    /// Of some 2.4 kB each: more than what waits in the system for a reader that takes nothing.
    const FRAMES: u32 = 300;
    let server = Server::start_with(&["--live-interval-ms", "1"]).await;
    let options = (0..100).map(|number| format!("option {number}")).collect();
    let poll = server.create(|draft| draft.options = options).await;
    let mut stuck = stuck_reader(&server, &live(&poll)).await;
    let mut reader = server.connect(&live(&poll)).await;
    reader.frame().await;
    let (mut worst, mut voter) = (Duration::ZERO, 0);
    let full = Notify::new();
    let closed = async {
        full.notified().await;
        // Longer than the server waits for a reader. Frames go on, so what is read then ends only if the server has closed it.
        tokio::time::sleep(Duration::from_secs(8)).await;
        let mut taken = vec![0; 1 << 20];
        let to_the_end = async { while matches!(stuck.read(&mut taken).await, Ok(1..)) {} };
        timeout(SOON, to_the_end).await.expect("the reader that stopped was closed");
    };
    tokio::pin!(closed);
    loop {
        let sent = Instant::now();
        voter += 1;
        if voter == FRAMES {
            full.notify_one();
        }
        server.vote(&poll, voter).await;
        tokio::select! {
            frame = reader.frame() => assert!(frame["voters"].as_u64() <= Some(voter.into())),
            () = &mut closed => break,
        }
        worst = worst.max(sent.elapsed());
    }
    assert!(worst < Duration::from_secs(4), "the other watcher waited {worst:?}");
}

/// A client that shakes hands and then takes nothing, with as little room as the system lets it have.
async fn stuck_reader(server: &Server, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(1024).expect("set");
    let mut stream = socket.connect(server.address).await.expect("connected");
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 101");
    stream
}
