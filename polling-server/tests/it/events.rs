//! Streams of events of a real server, read byte by byte by a client that knows nothing but HTTP/1.1.

use std::time::Duration;

use polling_core::model::{OwnerKey, PollDraft, ResultsVisibility};
use polling_core::secret::OwnerToken;
use polling_server::serve::Drained;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use crate::live::{SOON, Server, live};

/// A response that goes on.
struct Stream {
    connection: BufReader<TcpStream>,
    head: String,
    /// What has come of the body and was not looked at yet.
    body: String,
}

/// An event as it was sent.
#[derive(Debug, PartialEq)]
struct Event {
    kind: String,
    id: Option<String>,
    data: Value,
}

impl Stream {
    async fn open(server: &Server, path: &str, headers: &str) -> Self {
        let connection = TcpStream::connect(server.address).await.expect("connected");
        Self::over(connection, server, path, headers).await
    }

    async fn over(mut connection: TcpStream, server: &Server, path: &str, headers: &str) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n{headers}\r\n", server.address);
        connection.write_all(request.as_bytes()).await.expect("sent");
        let mut stream = Self { connection: BufReader::new(connection), head: String::new(), body: String::new() };
        while !stream.head.ends_with("\r\n\r\n") {
            let line = stream.connection.read_line(&mut stream.head);
            assert_ne!(timeout(SOON, line).await.expect("in time").expect("readable"), 0, "{}", stream.head);
        }
        stream
    }

    fn status(&self) -> &str {
        &self.head[9..12]
    }

    /// The rest of a response that is not a stream.
    async fn problem(mut self) -> (String, String) {
        let length = self.head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let mut body = vec![0; length.parse().expect("a number")];
        self.connection.read_exact(&mut body).await.expect("a body");
        let problem: Value = serde_json::from_slice(&body).expect("JSON");
        (self.status().to_owned(), problem["type"].as_str().expect("a type").trim_start_matches("/problems/").to_owned())
    }

    /// Reads one chunk more; answers whether there was one.
    async fn read(&mut self) -> bool {
        let mut line = String::new();
        timeout(SOON, self.connection.read_line(&mut line)).await.expect("in time").expect("readable");
        let length = usize::from_str_radix(line.trim_end(), 16).expect("the length of a chunk");
        let mut chunk = vec![0; length + 2];
        self.connection.read_exact(&mut chunk).await.expect("a chunk");
        assert_eq!(&chunk[length..], b"\r\n");
        self.body.push_str(std::str::from_utf8(&chunk[..length]).expect("UTF-8"));
        length > 0
    }

    /// The lines of the next event or comment; `None` at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.body.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.body = rest;
                return Some(block);
            }
            if !self.read().await {
                assert_eq!(self.body, "", "an event is whole or is not sent");
                return None;
            }
        }
    }

    async fn event(&mut self) -> Event {
        loop {
            let block = self.block().await.expect("an event");
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            if let Some(data) = field("data: ") {
                let data: Value = serde_json::from_str(&data).expect("JSON");
                let kind = field("event: ").expect("a type");
                assert_eq!(data["type"], *kind, "{block}");
                return Event { kind, id: field("id: "), data };
            }
        }
    }
}

fn events(poll: &polling_core::model::Poll) -> String {
    format!("/polls/{}/events", poll.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_begins_with_a_snapshot_and_goes_on_with_every_newest_state() {
    let server = Server::start().await;
    let poll = server.create(|_| {}).await;
    let mut socket = server.connect(&live(&poll)).await;
    let mut stream = Stream::open(&server, &events(&poll), "accept: text/event-stream\r\n").await;
    assert_eq!(stream.status(), "200");
    for header in
        ["content-type: text/event-stream", "cache-control: no-store", "x-accel-buffering: no", "transfer-encoding: chunked"]
    {
        assert!(stream.head.contains(&format!("\r\n{header}\r\n")), "{}", stream.head);
    }
    let first = stream.block().await.expect("an event");
    let retry = first.lines().find_map(|line| line.strip_prefix("retry: ")).expect("a hint").parse::<u32>().expect("a number");
    assert!((1000..3000).contains(&retry));
    assert!(first.contains("\nevent: results\nid: 1.1\ndata: {"), "{first}");
    assert_eq!(socket.frame().await["voters"], 0);
    for voter in 1..4 {
        server.vote(&poll, voter).await;
        let event = stream.event().await;
        assert_eq!(event.data, socket.frame().await, "the frames are those of the sockets");
        let id = format!("{}.{}", event.data["epoch"], event.data["version"]);
        assert_eq!((event.kind.as_str(), event.id, &event.data["voters"]), ("results", Some(id), &json!(voter)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_gets_only_what_is_newer() {
    let server = Server::start().await;
    let poll = server.create(|_| {}).await;
    server.vote(&poll, 1).await;
    let known = Stream::open(&server, &events(&poll), "").await.event().await.id.expect("an id");
    let with_id = format!("last-event-id: {known}\r\n");
    let path = format!("{}?after={known}", events(&poll));
    let stale = format!("{}?after=0.1", events(&poll));
    let mut streams = [
        Stream::open(&server, &events(&poll), &with_id).await,
        Stream::open(&server, &path, "").await,
        Stream::open(&server, &stale, &with_id).await,
    ];
    let strange = Stream::open(&server, &events(&poll), "last-event-id: strange\r\n").await.event().await;
    assert_eq!(strange.data["voters"], 1, "an id that is none of ours says nothing");
    server.vote(&poll, 2).await;
    for stream in &mut streams {
        assert_eq!(stream.event().await.data["voters"], 2);
    }
    for after in ["x", "%2B1.2", "1.%2B2"] {
        let refused = Stream::open(&server, &format!("{}?after={after}", events(&poll)), "").await;
        assert_eq!(refused.problem().await, ("422".into(), "validation".into()), "{after}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leaderboard_comes_as_events_and_says_what_has_moved() {
    let server = Server::start().await;
    let (tea, coffee) = (server.create(|_| {}).await, server.create(|_| {}).await);
    server.vote(&tea, 1).await;
    let mut stream = Stream::open(&server, "/leaderboard/events", "").await;
    let places = |event: &Event| {
        let place = |entry: &Value| (entry["poll_id"] == tea.id.to_string(), entry["previous_rank"].clone());
        event.data["entries"].as_array().expect("entries").iter().map(place).collect::<Vec<_>>()
    };
    let first = stream.event().await;
    assert_eq!((first.kind.as_str(), places(&first)), ("leaderboard", vec![(true, Value::Null)]));
    server.vote(&coffee, 1).await;
    assert_eq!(places(&stream.event().await), [(true, json!(1)), (false, Value::Null)]);
    server.vote(&coffee, 2).await;
    let last = stream.event().await;
    assert_eq!(places(&last), [(false, json!(2)), (true, json!(1))]);
    let id = last.id.expect("an id");
    let mut back = Stream::open(&server, "/leaderboard/events", &format!("last-event-id: {id}\r\n")).await;
    let mut elsewhere = Stream::open(&server, "/leaderboard/events", "last-event-id: 7.999999\r\n").await;
    assert_eq!(elsewhere.event().await.data["version"], last.data["version"], "what another server has shown is not ours");
    server.vote(&coffee, 3).await;
    assert_eq!(back.event().await.data["entries"][0]["votes"], 3);
    let get = reqwest::get(format!("http://{}/leaderboard", server.address)).await.expect("an answer");
    let get: Value = get.json().await.expect("JSON");
    assert_eq!(get["entries"][0].get("previous_rank"), None, "what is asked for once has not moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_poll_ends_its_streams_with_an_error() {
    let server = Server::start().await;
    let token = OwnerToken::from_random([5; 32]);
    let poll = server.create_owned(token.key(), |_| {}).await;
    let mut stream = Stream::open(&server, &events(&poll), "").await;
    stream.event().await;
    server.delete(&poll, &token).await;
    let event = stream.event().await;
    assert_eq!((event.kind.as_str(), event.id, &event.data["problem"]), ("error", None, &json!("/problems/poll-not-found")));
    assert_eq!(stream.block().await, None);
    let again = Stream::open(&server, &events(&poll), "").await;
    assert_eq!(again.problem().await, ("404".into(), "poll-not-found".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_results_are_sent_to_those_who_may_see_them() {
    let server = Server::start().await;
    let token = OwnerToken::from_random([5; 32]);
    let hidden = |draft: &mut PollDraft| draft.results = ResultsVisibility::AfterVote;
    let poll = server.create_owned(token.key(), hidden).await;
    let receipt = server.vote(&poll, 1).await;
    let shows = async |path: &str, headers: &str| {
        let event = Stream::open(&server, path, headers).await.event().await;
        assert_eq!(event.data["voters"], 1);
        event.data.get("options").is_some()
    };
    assert!(!shows(&events(&poll), "").await);
    assert!(shows(&events(&poll), &format!("authorization: Bearer {}\r\n", token.reveal())).await);
    assert!(shows(&format!("{}?receipt={receipt}", events(&poll)), "").await);
    let refused = Stream::open(&server, &format!("{}?receipt=x", events(&poll)), "").await;
    assert_eq!(refused.problem().await, ("422".into(), "validation".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_come_in_is_told() {
    let server = Server::start_with(&["--sockets-per-address-max", "2"]).await;
    let poll = server.create_owned(OwnerKey([0; 32]), |_| {}).await;
    let path = events(&poll);
    let told = async |path: &str, headers: &str| Stream::open(&server, path, headers).await.problem().await;
    for path in [path.as_str(), "/leaderboard/events"] {
        assert_eq!(told(path, "origin: https://elsewhere.example\r\n").await, ("403".into(), "forbidden".into()));
        assert_eq!(told(path, "accept: application/json\r\n").await, ("406".into(), "not-acceptable".into()));
    }
    assert_eq!(told("/polls/x/events", "").await, ("404".into(), "poll-not-found".into()));
    // A place is one, whether a socket or a stream has it.
    let mut socket = server.connect(&live(&poll)).await;
    socket.frame().await;
    let mut stream = Stream::open(&server, &path, "").await;
    stream.event().await;
    assert_eq!(told(&path, "").await, ("429".into(), "rate-limited".into()));
    assert_eq!(server.refused(&live(&poll), &[]).await, (429, "rate-limited".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_has_no_place_any_more_though_nothing_happens() {
    let server = Server::start_with(&["--sockets-per-address-max", "1"]).await;
    let poll = server.create(|_| {}).await;
    for path in [events(&poll).as_str(), "/leaderboard/events"] {
        let since = Instant::now();
        let mut stream = loop {
            let stream = Stream::open(&server, path, "").await;
            if stream.status() == "200" {
                break stream;
            }
            // Less than until the next comment, whose sending would tell.
            assert!(since.elapsed() < Duration::from_secs(10), "the place was not given back");
        };
        stream.event().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_leave_room_for_requests() {
    let server = Server::start_with(&["--connections-max", "2"]).await;
    let poll = server.create(|_| {}).await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = Stream::open(&server, &events(&poll), "").await;
        assert!(stream.head.contains("\r\nconnection: close\r\n"), "no request comes after it: {}", stream.head);
        stream.event().await;
        streams.push(stream);
    }
    assert_eq!(server.get("/leaderboard").await["entries"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_a_stream_takes_no_place() {
    let server = Server::start_with(&["--sockets-per-address-max", "1"]).await;
    let poll = server.create(|_| {}).await;
    for _ in 0..3 {
        let head = reqwest::Client::new().head(format!("http://{}{}", server.address, events(&poll)));
        let head = head.send().await.expect("an answer");
        assert_eq!((head.status().as_u16(), head.headers()["content-type"].as_bytes()), (200, &b"text/event-stream"[..]));
    }
    Stream::open(&server, &events(&poll), "").await.event().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_shutdown_every_stream_ends() {
    let server = Server::start().await;
    let poll = server.create(|_| {}).await;
    let mut streams = [Stream::open(&server, &events(&poll), "").await, Stream::open(&server, "/leaderboard/events", "").await];
    for stream in &mut streams {
        stream.event().await;
    }
    server.shutdown.request();
    for stream in &mut streams {
        assert_eq!(stream.block().await, None);
    }
    assert_eq!(timeout(SOON, server.ended).await.expect("in time").expect("no panic").expect("well"), Drained::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_no_events_delays_nobody_and_is_ended() {
    /// Of some 2.4 kB each: more than what waits in the system for a reader that takes nothing.
    const EVENTS: u32 = 300;
    let server = Server::start_with(&["--live-interval-ms", "1"]).await;
    let options = (0..100).map(|number| format!("option {number}")).collect();
    let poll = server.create(|draft| draft.options = options).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(1024).expect("set");
    let connection = socket.connect(server.address).await.expect("connected");
    let mut stuck = Stream::over(connection, &server, &events(&poll), "").await;
    let mut reader = Stream::open(&server, &events(&poll), "").await;
    reader.event().await;
    let mut worst = Duration::ZERO;
    for voter in 1..=EVENTS {
        let sent = Instant::now();
        server.vote(&poll, voter).await;
        reader.event().await;
        worst = worst.max(sent.elapsed());
    }
    assert!(worst < Duration::from_secs(4), "the other reader waited {worst:?}");
    // Longer than the server waits for a reader, and less than it leaves to any other answer. What the system has is read to its end.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let mut taken = vec![0; 1 << 20];
    let to_the_end = async { while matches!(stuck.connection.read(&mut taken).await, Ok(1..)) {} };
    timeout(Duration::from_secs(5), to_the_end).await.expect("the reader that stopped was ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_happens_a_comment_shows_that_the_server_is_there() {
    let server = Server::start().await;
    let poll = server.create(|_| {}).await;
    let mut stream = Stream::open(&server, &events(&poll), "").await;
    stream.event().await;
    let since = Instant::now();
    assert_eq!(stream.block().await.as_deref(), Some(":"));
    assert!((14..20).contains(&since.elapsed().as_secs()));
}
