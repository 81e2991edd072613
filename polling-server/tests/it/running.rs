//! The server as a whole, in this process: what runs, and what is done before it ends.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use polling_core::bus::{BusError, Notice, Update, UpdateBus};
use polling_core::clock::{Clock, SystemClock};
use polling_core::fault::{FaultRates, Faults, FaultyStore};
use polling_core::model::{Choices, OptionId, Outcome, OwnerKey, Poll, PollDraft, PollId, Vote, VoteId, VoteKind, VoterIdentity};
use polling_core::open::Backends;
use polling_core::secret::Secret;
use polling_core::shutdown::Shutdown;
use polling_core::sink::SinkError;
use polling_server::exit::Exit;
use polling_server::live::follow::follow;
use polling_server::run::{Listeners, Opened, RunError, Wiring, run_opened};
use polling_server::serve::Drained;
use polling_server::service::Service;
use polling_server::transport::served::Served;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::transport::{SOON, get_text};

struct Running {
    service: Arc<Service>,
    sockets: TaskTracker,
    goodbye: Shutdown,
    shutdown: Shutdown,
    api: std::net::SocketAddr,
    admin: std::net::SocketAddr,
    ended: JoinHandle<Result<Drained, RunError>>,
    _folder: tempfile::TempDir,
}

impl Running {
    async fn start() -> Self {
        Self::start_with(|_| crate::transport::hello_route()).await
    }

    async fn start_with<S: Served>(routes: fn(Wiring<'_>) -> S) -> Self {
        Self::start_over(|_| {}, routes).await
    }

    async fn start_over<S: Served>(alter: fn(&mut Backends), routes: fn(Wiring<'_>) -> S) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data_dir = folder.path().to_str().expect("text").to_owned();
        let arguments = ["polling-server", "--store", "memory:", "--data-dir", &data_dir].map(std::ffi::OsString::from);
        let invocation = polling_server::command::parse(polling_server::config::SETTINGS, arguments, &[].into());
        let config = polling_server::config::Config::check(&invocation.expect("understood").settings).expect("sound");
        let bind = || TcpListener::bind("127.0.0.1:0");
        let listeners = Listeners { api: bind().await.expect("free"), admin: Some(bind().await.expect("free")) };
        let api = listeners.api.local_addr().expect("bound");
        let admin = listeners.admin.as_ref().and_then(|admin| admin.local_addr().ok()).expect("bound");
        let shutdown = Shutdown::new();
        let (sender, wired) = oneshot::channel();
        let ended = tokio::spawn({
            let shutdown = shutdown.clone();
            async move {
                let mut backends = polling_core::open::open(&config.urls).await?;
                alter(&mut backends);
                let opened = Opened::new(backends, Secret::new(&[7; 32]).expect("long enough"));
                let routes = |wiring: Wiring<'_>| {
                    // The test waits for it.
                    let _waiting = sender.send((Arc::clone(&wiring.service), wiring.sockets.clone(), wiring.shutdown.clone()));
                    routes(wiring)
                };
                run_opened(&config, opened, listeners, routes, shutdown).await
            }
        });
        let (service, sockets, goodbye) = wired.await.expect("started");
        Self { service, sockets, goodbye, shutdown, api, admin, ended, _folder: folder }
    }

    async fn ended(self) -> Result<Drained, RunError> {
        tokio::time::timeout(SOON, self.ended).await.expect("ended in time").expect("no panic")
    }
}

fn poll() -> Poll {
    let draft = PollDraft { question: "Tea?".into(), options: vec!["Yes".into(), "No".into()], ..PollDraft::default() };
    draft.into_poll(OwnerKey([0; 32]), SystemClock.now()).expect("sound")
}

fn vote(service: &Service, poll: PollId, voter: &str) -> Vote {
    Vote {
        poll,
        voter: service.secret.voter_key(poll, VoterIdentity::Declared(voter)),
        id: VoteId(Uuid::new_v4()),
        accepted_at: service.clock.now(),
        kind: VoteKind::Cast(Choices::single(OptionId::from_index(0).expect("an option"))),
    }
}

#[tokio::test]
async fn a_vote_that_was_taken_before_the_stop_is_counted_and_one_after_it_is_not_taken() {
    let running = Running::start().await;
    let service = Arc::clone(&running.service);
    let poll = poll();
    service.polls.create(&poll).await.expect("created");
    let mut taken: Vec<_> =
        (0..100).map(|voter| service.sink.record(vote(&service, poll.id, &format!("early {voter}")))).collect();
    for record in &mut taken {
        // Once it was polled, it is in the log.
        assert!(futures_util::poll!(record).is_pending());
    }
    let racing: Vec<_> = (0..100)
        .map(|voter| {
            let (service, vote) = (Arc::clone(&service), vote(&service, poll.id, &format!("racing {voter}")));
            tokio::spawn(async move { service.sink.record(vote).await })
        })
        .collect();
    running.shutdown.request();
    assert_eq!(running.ended().await.expect("ended well"), Drained::Clean);
    let mut counted = 0;
    for record in taken {
        assert_eq!(record.await.expect("recorded").outcome, Some(Outcome::Counted));
        counted += 1;
    }
    assert_eq!(counted, 100);
    for recorded in racing {
        match recorded.await.expect("no panic") {
            Ok(recorded) => {
                assert_eq!(recorded.outcome, Some(Outcome::Counted));
                counted += 1;
            }
            Err(error) => assert!(matches!(error, SinkError::NotRecorded { .. }), "{error}"),
        }
    }
    let snapshot = service.polls.read(poll.id).await.expect("read").expect("there");
    assert_eq!(snapshot.tally.totals.voters, counted);
    let late = service.sink.record(vote(&service, poll.id, "late")).await;
    assert!(matches!(late, Err(SinkError::NotRecorded { .. })), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_before_the_last_votes_are_counted_has_an_exit_status_of_its_own() {
    let never = |backends: &mut Backends| {
        let faults = Faults::new(FaultRates { after: 100, ..FaultRates::default() }, 1);
        backends.tallies = Arc::new(FaultyStore::new(Arc::clone(&backends.tallies), faults));
    };
    let running = Running::start_over(never, |_| crate::transport::hello_route()).await;
    let service = Arc::clone(&running.service);
    let vote = vote(&service, poll().id, "ann");
    let mut record = service.sink.record(vote);
    assert!(futures_util::poll!(&mut record).is_pending());
    running.shutdown.request();
    let error = running.ended.await.expect("no panic").expect_err("a vote was not counted");
    assert_eq!(error.exit(), Exit::Interrupted);
    let answer = record.await;
    assert!(matches!(answer, Err(SinkError::Unknown { .. })), "{answer:?}");
}

#[tokio::test]
async fn live_sockets_are_told_and_waited_for() {
    let running = Running::start().await;
    let (token, goodbye) = (running.sockets.token(), running.goodbye.clone());
    let (sender, mut said) = oneshot::channel();
    tokio::spawn(async move {
        goodbye.requested().await;
        sender.send("goodbye").expect("somebody waits");
        drop(token);
    });
    running.shutdown.request();
    running.ended().await.expect("ended well");
    assert_eq!(said.try_recv(), Ok("goodbye"));
}

#[tokio::test]
async fn requests_are_counted_by_route_and_shown() {
    let running = Running::start().await;
    for name in ["ann", "bob"] {
        assert!(get_text(running.api, &format!("/counted/{name}")).await.ends_with(&format!("hello {name}")));
    }
    assert!(get_text(running.api, "/counted").await.contains(" 404 "));
    let metrics = get_text(running.admin, "/metrics").await;
    let line = r#"polling_http_requests_total{operation="/counted/{}",method="GET",status="2xx"} 2"#;
    assert!(metrics.contains(line), "{metrics}");
    assert!(metrics.contains(r#"polling_http_requests_total{operation="other",method="GET",status="4xx"}"#), "{metrics}");
    assert!(metrics.contains(r#"polling_http_request_seconds_bucket{operation="/counted/{}",method="GET",le="#));
    assert!(get_text(running.admin, "/readyz?verbose").await.contains("readyz check passed"));
    running.shutdown.request();
    running.ended().await.expect("ended well");
}

#[tokio::test]
async fn what_the_router_does_not_name_by_itself_is_counted_by_its_route_as_well() {
    let running = Running::start_with(polling_server::run::routes).await;
    // Other tests of this process count in the same place, so what matters is what is added.
    let before = get_text(running.admin, "/metrics").await;
    let poll = poll();
    running.service.polls.create(&poll).await.expect("created");
    let client = reqwest::Client::new();
    let url = |path: &str| format!("http://{}{path}", running.api);
    let vote = |poll: &str, body: &'static str| {
        let request = client.post(url(&format!("/polls/{poll}/vote"))).header("content-type", "application/json");
        request.body(body).send()
    };
    let (poll, stranger) = (poll.id.to_string(), PollId::new(SystemClock.now()).to_string());
    assert_eq!(vote(&poll, r#"{"choices": [1], "voter_id": "ann"}"#).await.expect("an answer").status(), 202);
    for status in [vote(&poll, "{}"), vote(&stranger, "{}")] {
        assert!(status.await.expect("an answer").status().is_client_error());
    }
    for (method, path) in [("GET", "/"), ("POST", "/"), ("PUT", "/polls"), ("GET", "/problems/nothing"), ("GET", "/nowhere")] {
        let method = method.parse().expect("a method");
        client.request(method, url(path)).send().await.expect("an answer");
    }
    let metrics = get_text(running.admin, "/metrics").await;
    for (operation, method, status, count) in [
        ("/polls/{}/vote", "POST", "2xx", 1),
        ("/polls/{}/vote", "POST", "4xx", 2),
        ("/", "GET", "2xx", 1),
        ("/", "POST", "4xx", 1),
        ("/polls", "PUT", "4xx", 1),
        ("/problems/{}", "GET", "4xx", 1),
    ] {
        let labels = format!(r#"operation="{operation}",method="{method}",status="{status}""#);
        let added = requests(&metrics, &labels) - requests(&before, &labels);
        assert!(added >= count, "{added} more for {labels} in {metrics}");
    }
    running.shutdown.request();
    running.ended().await.expect("ended well");
}

/// How many requests with these labels have been counted.
fn requests(metrics: &str, labels: &str) -> u64 {
    let start = format!("polling_http_requests_total{{{labels}}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&start)).map_or(0, |count| count.parse().expect("a number"))
}

/// A bus that loses news, brings some, and goes away, each time somebody subscribes.
struct FrailBus;

#[async_trait::async_trait]
impl UpdateBus for FrailBus {
    async fn publish(&self, _updates: Vec<Update>) -> Result<(), BusError> {
        Ok(())
    }

    async fn subscribe(&self) -> Result<BoxStream<'static, Notice>, BusError> {
        let notices = [Notice::Lagged, Notice::Updates(vec![Update::Changed(poll().id)].into())];
        Ok(futures_util::stream::iter(notices).boxed())
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_follows_the_bus_hears_of_every_loss_and_comes_back() {
    let (heard, mut hearing) = mpsc::unbounded_channel();
    let (news, loss, shutdown) = (heard.clone(), heard, Shutdown::new());
    // The test may have heard enough.
    let absorb = move |updates: &[Update]| news.send(Some(updates.len())).unwrap_or_default();
    let lost = move || loss.send(None).unwrap_or_default();
    let following = tokio::spawn(follow(Arc::new(FrailBus), absorb, lost, shutdown.clone()));
    for expected in [None, None, Some(1), None, None, Some(1)] {
        assert_eq!(hearing.recv().await, Some(expected));
    }
    shutdown.request();
    following.await.expect("ended");
}
