//! The servers that are measured, and the floors that they are measured against.

use std::ffi::OsString;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use poem::{Endpoint, Request, Response};
use polling_core::kafka::Cluster;
use polling_core::model::Vote;
use polling_core::shutdown::Shutdown;
use polling_core::sink::kafka::{KafkaSink, WAITING_VOTES_DEFAULT};
use polling_core::sink::{Recorded, SinkError, VoteSink};
use polling_server::command::parse;
use polling_server::config::{Config, SETTINGS};
use polling_server::routes::behind_edge;
use polling_server::run::{Listeners, Opened, Wiring, routes, run_opened};
use polling_server::service::Service;
use polling_server::transport::served::{Plain, Served};
use tokio::net::TcpListener;

use super::kafka::{Brokers, TOPIC};

/// As long as the answer to a vote.
const VOTE_ANSWER: &[u8; 206] = &[b'v'; 206];
/// Of all servers that are measured, because those of a cluster must be told one.
const SECRET: &str = "a secret that everybody may know, since nothing is kept";
/// As long as a poll of four options.
const POLL_ANSWER: &[u8; 560] = &[b'p'; 560];

/// A server that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// hyper alone, with an answer that was made beforehand.
    Hyper,
    /// Our accept loop with its bounds and counters, and an endpoint whose answer was made beforehand.
    AcceptLoop,
    /// The whole server, with an endpoint whose answer was made beforehand in the place of its routes.
    Constant,
    /// The whole server, with a log that acknowledges at once and keeps nothing.
    Unrecorded,
    /// The whole server with its votes in memory.
    Memory,
    /// The whole server with its votes in `SQLite`, fully synced.
    Sqlite,
    /// The whole server with its votes in Kafka, on brokers that cost it no more than brokers must.
    KafkaClient,
    /// The whole server of a cluster, with its votes in the Kafka and its polls in the PostgreSQL that the environment names.
    Kafka,
}

impl Variant {
    const ALL: [Self; 8] = [
        Self::Hyper,
        Self::AcceptLoop,
        Self::Constant,
        Self::Unrecorded,
        Self::Memory,
        Self::Sqlite,
        Self::KafkaClient,
        Self::Kafka,
    ];

    /// What the child process is told.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hyper => "hyper",
            Self::AcceptLoop => "accept-loop",
            Self::Constant => "constant",
            Self::Unrecorded => "unrecorded",
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::KafkaClient => "kafka-client",
            Self::Kafka => "kafka",
        }
    }

    /// What its command line says beside the folder.
    fn arguments(self) -> Vec<String> {
        let store = |url: &str| vec!["--store".to_owned(), url.to_owned()];
        match self {
            Self::Sqlite => store("sqlite:polls.db"),
            Self::Kafka => {
                let (brokers, database) = cluster().expect("the environment names a cluster");
                let log = ["--log".to_owned(), format!("kafka://{brokers}/bench-accept-path")];
                let bus = ["--bus".to_owned(), format!("kafka://{brokers}/bench-accept-path-news")];
                [&store(&format!("{database}?schema=bench_accept_path"))[..], &log, &bus].concat()
            }
            Self::Hyper | Self::AcceptLoop | Self::Constant | Self::Unrecorded | Self::Memory | Self::KafkaClient => {
                store("memory:")
            }
        }
    }
}

/// The brokers and the database that the environment names, when it names both.
pub(crate) fn cluster() -> Option<(String, String)> {
    Some((std::env::var("KAFKA_BROKERS").ok()?, std::env::var("DATABASE_URL").ok()?))
}

/// Serves the variant with this name, with its data in `folder`, until the standard input ends.
pub(crate) fn serve(name: &str, folder: &str) {
    let variant = Variant::ALL.into_iter().find(|variant| variant.name() == name).expect("a variant");
    // As the program itself has it.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let shutdown = Shutdown::new();
    let ending = shutdown.clone();
    std::thread::spawn(move || {
        let _parent_is_gone = std::io::stdin().read_to_end(&mut Vec::new());
        ending.request();
    });
    runtime.block_on(async {
        if variant == Variant::Hyper {
            tokio::select! {
                () = serve_hyper() => {}
                () = shutdown.requested() => {}
            }
        } else {
            serve_ours(variant, Path::new(folder), shutdown).await;
        }
    });
}

fn announce(address: SocketAddr) {
    println!("{address}");
}

async fn serve_hyper() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    announce(address);
    announce(address);
    loop {
        let (stream, _) = listener.accept().await.expect("accepted");
        stream.set_nodelay(true).expect("connected");
        let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| async {
            let (status, answer) = constant(request.method());
            request.into_body().collect().await?;
            let mut response = hyper::Response::new(Full::new(answer));
            *response.status_mut() = status;
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Ok::<_, hyper::Error>(response)
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// Whatever the request is: 202 for a POST, 200 for a GET.
fn constant(method: &Method) -> (StatusCode, Bytes) {
    if *method == Method::POST {
        (StatusCode::ACCEPTED, Bytes::from_static(VOTE_ANSWER))
    } else {
        (StatusCode::OK, Bytes::from_static(POLL_ANSWER))
    }
}

struct Constant;

impl Endpoint for Constant {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        request.take_body().into_bytes().await?;
        let (status, answer) = constant(request.method());
        let mut response = Response::builder().status(status).body(answer);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }
}

async fn serve_ours(variant: Variant, folder: &Path, shutdown: Shutdown) {
    let program = ["polling-server".to_owned(), "--data-dir".to_owned()].into_iter().map(OsString::from);
    let arguments = variant.arguments().into_iter().map(OsString::from);
    let arguments = program.chain([folder.as_os_str().to_owned()]).chain(arguments);
    let environment = [("POLLING_SECRET".to_owned(), SECRET.to_owned())].into();
    let invocation = parse(SETTINGS, arguments, &environment).expect("understood");
    let config = Config::check(&invocation.settings).expect("sound");
    let opened = Opened::open(&config, &shutdown).await.expect("opened").expect("not stopped");
    let bind = || TcpListener::bind("127.0.0.1:0");
    let listeners = Listeners { api: bind().await.expect("free"), admin: Some(bind().await.expect("free")) };
    announce(listeners.api.local_addr().expect("bound"));
    announce(listeners.admin.as_ref().expect("given").local_addr().expect("bound"));
    let drained = match variant {
        Variant::AcceptLoop => run_opened(&config, opened, listeners, |_| Plain(Constant), shutdown).await,
        Variant::Constant => {
            run_opened(&config, opened, listeners, |wiring| behind_edge(&wiring.service, Constant), shutdown).await
        }
        Variant::Unrecorded => {
            let routes = |wiring: Wiring<'_>| routes_with_sink(wiring, Arc::new(NoSink));
            run_opened(&config, opened, listeners, routes, shutdown).await
        }
        Variant::KafkaClient => {
            let brokers = Brokers::start();
            let sink = KafkaSink::open(&Cluster::new(&brokers.addresses), TOPIC, WAITING_VOTES_DEFAULT).expect("opened");
            let sink: Arc<dyn VoteSink> = Arc::new(sink);
            let routes = |wiring: Wiring<'_>| routes_with_sink(wiring, Arc::clone(&sink));
            run_opened(&config, opened, listeners, routes, shutdown).await
        }
        _ => run_opened(&config, opened, listeners, routes, shutdown).await,
    };
    drained.expect("no part fails");
}

/// Acknowledges at once, and keeps nothing.
struct NoSink;

#[async_trait]
impl VoteSink for NoSink {
    async fn record(&self, _vote: Vote) -> Result<Recorded, SinkError> {
        Ok(Recorded { position: None, outcome: None, is_conflict: false })
    }
}

/// The routes of the server, with votes that go somewhere else.
fn routes_with_sink(wiring: Wiring<'_>, sink: Arc<dyn VoteSink>) -> impl Served + use<> {
    let service = &wiring.service;
    let service = Service {
        sink,
        polls: Arc::clone(&service.polls),
        tallies: Arc::clone(&service.tallies),
        bus: Arc::clone(&service.bus),
        views: Arc::clone(&service.views),
        board: Arc::clone(&service.board),
        secret: service.secret.clone(),
        clock: Arc::clone(&service.clock),
        scheduler: service.scheduler.clone(),
        access: service.access.clone(),
        limits: service.limits,
    };
    routes(Wiring { service: Arc::new(service), ..wiring })
}
