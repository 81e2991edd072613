//! Brokers that do not let a program in.

use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use polling_core::kafka::Cluster;
use polling_core::open::{OpenError, Urls, open};
use polling_core::sink::kafka::KafkaSink;

use crate::mock::with;
use crate::mock_tests;

mock_tests! {
    a_wrong_password_ends_a_program_and_names_its_setting,
    a_protocol_that_the_brokers_do_not_expect_is_waited_for_and_named,
    a_password_that_was_changed_is_named_while_a_program_runs,
}

/// Bounds what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The numbers of the requests that it answers: <https://kafka.apache.org/protocol#protocol_api_keys>.
const API_VERSIONS: i16 = 18;
const SASL_HANDSHAKE: i16 = 17;
const SASL_AUTHENTICATE: i16 = 36;

/// A broker that lets nobody in: it refuses every password, and hangs up on whoever shows none.
fn broker() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || while answer(&stream).is_some() {});
        }
    });
    address
}

/// Answers a request; `None` when the connection has ended, or is to end.
fn answer(mut stream: &TcpStream) -> Option<()> {
    let mut size = [0; 4];
    stream.read_exact(&mut size).ok()?;
    let mut request = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut request).ok()?;
    let number = |at: usize| i16::from_be_bytes([request[at], request[at + 1]]);
    let text = |text: &str| [&i16::try_from(text.len()).expect("a short text").to_be_bytes()[..], text.as_bytes()].concat();
    let body = match (number(0), number(2)) {
        (API_VERSIONS, version) => {
            // Newer versions of the request are answered in the form of the oldest, and as not supported.
            let error: i16 = if version == 0 { 0 } else { 35 };
            let known = [(API_VERSIONS, 0), (SASL_HANDSHAKE, 1), (SASL_AUTHENTICATE, 0), (3, 4)];
            let known = known.iter().flat_map(|(key, newest)| [key.to_be_bytes(), [0; 2], i16::to_be_bytes(*newest)].concat());
            [&error.to_be_bytes()[..], &[0, 0, 0, 4], &known.collect::<Vec<u8>>()].concat()
        }
        (SASL_HANDSHAKE, _) => [&[0; 2][..], &[0, 0, 0, 1], &text("PLAIN")].concat(),
        (SASL_AUTHENTICATE, _) => [&58_i16.to_be_bytes()[..], &text("Invalid username or password"), &[0xff; 4]].concat(),
        _ => return None,
    };
    let answer = [&request[4..8], &body].concat();
    let size = u32::try_from(answer.len()).expect("a short answer").to_be_bytes();
    stream.write_all(&[&size[..], &answer].concat()).ok()
}

/// A log on that broker, with these settings of the client.
fn urls(settings: &str) -> Urls {
    let log = format!("kafka://{}/votes?{settings}", broker());
    Urls { log, store: "memory:".to_owned(), bus: "memory:".to_owned(), data_dir: PathBuf::new() }
}

const WITH_PASSWORD: [(&str, &str); 4] = [
    ("security.protocol", "sasl_plaintext"),
    ("sasl.mechanism", "PLAIN"),
    ("sasl.username", "polling"),
    ("sasl.password", "wrong"),
];

/// The error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", chain(cause))).unwrap_or_default();
    format!("{error}{cause}")
}

/// What is said of an error that waiting does not help against.
fn ends_a_program(error: &OpenError) -> String {
    let text = chain(error);
    assert!(!error.is_retryable(), "{text}");
    #[cfg(feature = "operate")]
    assert_eq!(error.exit(), polling_core::operate::exit::Exit::Configuration, "{text}");
    text
}

async fn a_wrong_password_ends_a_program_and_names_its_setting() {
    let settings = WITH_PASSWORD.map(|(name, value)| format!("librdkafka.{name}={value}")).join("&");
    let error = open(&urls(&settings)).await.map(|_| ()).expect_err("the password is wrong");
    let text = ends_a_program(&error);
    for words in ["failed to open the log", "Invalid username or password", "librdkafka.sasl.password", "POLLING_LOG"] {
        assert!(text.contains(words), "{text}");
    }
    let incomplete = open(&urls(&settings.replace("librdkafka.sasl.password=wrong", ""))).await.map(|_| ());
    let text = ends_a_program(&incomplete.expect_err("there is no password"));
    assert!(text.contains("sasl.password"), "{text}");
}

async fn a_protocol_that_the_brokers_do_not_expect_is_waited_for_and_named() {
    let error = open(&urls("")).await.map(|_| ()).expect_err("a password is missing");
    let text = chain(&error);
    assert!(error.is_retryable(), "a broker that stops hangs up, too: {text}");
    for words in ["librdkafka.security.protocol", "librdkafka.sasl.*", "POLLING_LOG"] {
        assert!(text.contains(words), "{text}");
    }
}

async fn a_password_that_was_changed_is_named_while_a_program_runs() {
    let cluster = with(Cluster::new(broker().to_string()), &WITH_PASSWORD);
    let sink = KafkaSink::open(&cluster, "votes", 1).expect("opened");
    let named = async {
        loop {
            match sink.trouble() {
                Some(trouble) if trouble.contains("librdkafka.sasl.password") => return trouble,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let trouble = tokio::time::timeout(PATIENCE, named).await.expect("it is named");
    assert!(trouble.starts_with("the brokers do not let this program in: "), "{trouble}");
    assert!(trouble.contains("Invalid username or password") && trouble.contains("POLLING_LOG"), "{trouble}");
}
