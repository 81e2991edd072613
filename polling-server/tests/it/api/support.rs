//! A server in memory, and a client that reads its answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::combinators::BoxBody;
use poem::http::{self, HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use poem::web::LocalAddr;
use poem::{Body, Response};
use polling_core::bus::memory::MemoryBus;
use polling_core::clock::{Clock, ManualClock, Timestamp};
use polling_core::ingest::Ingest;
use polling_core::model::PollId;
use polling_core::schedule::Scheduler;
use polling_core::secret::Secret;
use polling_core::shutdown::Shutdown;
use polling_core::sink::VoteSink;
use polling_core::sink::memory::{MemorySink, memory_log};
use polling_core::store::memory::MemoryStore;
use polling_core::store::{PollStore, TallyStore};
use polling_server::api::access::Access;
use polling_server::live::board::Board;
use polling_server::live::hub::Hub;
use polling_server::live::through::ThroughHub;
use polling_server::live::views::Views;
use polling_server::routes::routes;
use polling_server::service::{Limits, Service};
use polling_server::transport::flow::Flow;
use polling_server::transport::served::{Ends, Served};
use serde_json::{Value, json};

/// The time at which every test begins.
pub(crate) const START: &str = "2026-11-24T12:00:00Z";

/// What a test may want different.
pub(crate) struct Setup {
    pub(crate) access: Access,
    pub(crate) deadline: Duration,
    /// Makes the sink out of the one that leads to the counting.
    pub(crate) sink: fn(MemorySink) -> Arc<dyn VoteSink>,
    pub(crate) polls: Option<Arc<dyn PollStore>>,
    pub(crate) tallies: Option<Arc<dyn TallyStore>>,
    pub(crate) store: Arc<MemoryStore>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            access: Access::open(),
            deadline: Duration::from_secs(5),
            sink: |sink| Arc::new(sink),
            polls: None,
            tallies: None,
            store: Arc::new(MemoryStore::new(7)),
        }
    }
}

/// A request as a connection gives it to the routes.
type HttpRequest = http::Request<BoxBody<Bytes, std::io::Error>>;
/// The routes.
type Answer = Box<dyn Fn(HttpRequest) -> BoxFuture<'static, Response> + Send + Sync>;

/// A running server.
pub(crate) struct Server {
    answer: Answer,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) views: Arc<Views>,
}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answered {
    pub(crate) async fn of(mut response: Response) -> Self {
        let bytes = response.take_body().into_vec().await.expect("a whole body");
        Self { status: response.status(), headers: response.headers().clone(), bytes }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ascii"))
    }

    /// The body of an answer with this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.bytes));
        assert_eq!(self.header("x-content-type-options"), "nosniff");
        assert_eq!(self.header("content-type"), "application/json");
        self.json()
    }

    /// Checks that the answer is this problem, and answers its document.
    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16, name: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.bytes));
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.header("x-content-type-options"), "nosniff");
        let document = self.json();
        assert_eq!(document["type"], format!("/problems/{name}"));
        assert_eq!(document["status"], status);
        assert!(document["title"].is_string());
        document
    }

    /// Checks that the answer is a validation problem, and answers what its errors point at, in order.
    #[track_caller]
    pub(crate) fn expect_errors(&self) -> Vec<String> {
        let document = self.expect_problem(422, "validation");
        let errors = document["errors"].as_array().expect("a list").clone();
        let place = |error: &Value| {
            assert!(error["detail"].is_string());
            let place = error.get("pointer").or_else(|| error.get("parameter"));
            place.and_then(Value::as_str).expect("a place").to_owned()
        };
        errors.iter().map(place).collect()
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(Setup::default())
    }

    pub(crate) fn start_with(setup: Setup) -> Self {
        let Setup { access, deadline, sink, polls, tallies, store } = setup;
        let clock = Arc::new(ManualClock::new(Timestamp::parse(START).expect("a time")));
        let secret = Secret::new(&[7; 32]).expect("long enough");
        let polls = polls.unwrap_or_else(|| store.clone());
        let tallies = tallies.unwrap_or_else(|| store.clone());
        let views = Arc::new(Views::new(polls.clone(), clock.clone()));
        let board = Arc::new(Board::new(tallies.clone(), views.clone(), clock.clone()));
        let hub = Hub::new(views.clone(), board.clone(), store.clone(), clock.clone(), Duration::from_millis(50));
        let bus = Arc::new(ThroughHub::new(hub, Arc::new(MemoryBus::new())));
        let (memory_sink, source) = memory_log(1000);
        let ingest = Ingest::new(Arc::new(source), store.clone(), bus.clone());
        tokio::spawn(ingest.run(Shutdown::new()));
        let scheduler = Scheduler::new(polls.clone(), bus.clone(), clock.clone()).handle();
        let service = Arc::new(Service {
            sink: sink(memory_sink),
            polls,
            tallies,
            bus,
            views: views.clone(),
            board,
            secret,
            clock: clock.clone(),
            scheduler,
            access,
            limits: Limits { deadline },
        });
        let served = Arc::new(routes(&service, |route| route));
        let answer = move |request: HttpRequest| -> BoxFuture<'static, Response> {
            let served = Arc::clone(&served);
            Box::pin(async move {
                let (local, flow) = (LocalAddr::default(), Flow::default());
                let ends = Ends { local: &local, client: ([127, 0, 0, 1], 1).into(), flow: &flow };
                served.answer(request, ends).await.response
            })
        };
        Self { answer: Box::new(answer), clock, views }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> Request<'_> {
        let mut request = HttpRequest::new(Body::empty().into());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("a path");
        Request { answer: &self.answer, request }
    }

    pub(crate) fn get(&self, path: &str) -> Request<'_> {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Request<'_> {
        self.request(Method::POST, path).json(body)
    }

    pub(crate) fn delete(&self, path: &str) -> Request<'_> {
        self.request(Method::DELETE, path)
    }

    /// Creates a poll of the options A, B and C, with these fields besides.
    pub(crate) async fn create(&self, fields: Value) -> Created {
        let mut body = json!({ "question": "Which?", "options": ["A", "B", "C"] });
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        let poll = self.post("/polls", &body).send().await.expect(201);
        let text = |name: &str| poll[name].as_str().expect("a string").to_owned();
        Created { id: text("id"), owner: text("owner_token") }
    }

    /// Votes as a declared voter.
    pub(crate) async fn vote(&self, poll: &Created, voter: &str, choice: u8) -> Answered {
        self.post(&poll.path("/vote"), &json!({ "choices": [choice], "voter_id": voter })).send().await
    }

    /// The votes of each option.
    pub(crate) async fn votes(&self, poll: &Created) -> Vec<u64> {
        let body = self.get(&poll.path("")).bearer(&poll.owner).send().await.expect(200);
        let options = body["results"]["options"].as_array().expect("options").clone();
        options.iter().map(|option| option["votes"].as_u64().expect("visible")).collect()
    }

    pub(crate) async fn receipt_status(&self, receipt: &Value) -> String {
        let path = format!("/receipts/{}", receipt.as_str().expect("a receipt"));
        self.get(&path).send().await.expect(200)["status"].as_str().expect("a status").to_owned()
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The time so many seconds from now.
    pub(crate) fn time_in(&self, seconds: u64) -> String {
        self.clock.now().saturating_add(Duration::from_secs(seconds)).to_string()
    }
}

/// A poll that a test made.
pub(crate) struct Created {
    pub(crate) id: String,
    pub(crate) owner: String,
}

impl Created {
    pub(crate) fn poll_id(&self) -> PollId {
        PollId::parse(&self.id).expect("the id of a poll")
    }

    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/polls/{}{rest}", self.id)
    }
}

/// A request being put together.
pub(crate) struct Request<'a> {
    answer: &'a Answer,
    request: HttpRequest,
}

impl Request<'_> {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        self.request.headers_mut().append(name, HeaderValue::from_str(value).expect("a header value"));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn body(mut self, body: impl Into<Body>) -> Self {
        *self.request.body_mut() = body.into().into();
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub(crate) async fn send(self) -> Answered {
        Answered::of((self.answer)(self.request).await).await
    }
}
