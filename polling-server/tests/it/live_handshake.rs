//! The handshake of a socket, byte by byte.

use polling_core::model::ResultsVisibility;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::live::{SOON, Server, live};

/// The key of the example in RFC 6455.
const KEY: &str = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Sends the handshake with these lines for its key, and answers the head of what comes back.
async fn shake_hands(server: &Server, method: &str, path: &str, keys: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.expect("accepted");
    let asking = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n";
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n{asking}{keys}\r\n", server.address);
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let whole_head = async {
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.expect("more of the head"));
        }
    };
    timeout(SOON, whole_head).await.expect("answered in time");
    String::from_utf8(answer).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn head_opens_no_socket() {
    let server = Server::start().await;
    let poll = server.create(|_| {}).await;
    for path in [live(&poll).as_str(), "/live", "/leaderboard/live"] {
        let answer = shake_hands(&server, "HEAD", path, KEY).await;
        assert!(answer.starts_with("HTTP/1.1 426 "), "{path}: {answer}");
        assert!(shake_hands(&server, "GET", path, KEY).await.starts_with("HTTP/1.1 101 "), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_must_be_sixteen_bytes_in_base64() {
    let server = Server::start().await;
    let name = "sec-websocket-key: ";
    let answer = shake_hands(&server, "GET", "/live", KEY).await;
    assert!(answer.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
    let twice = [KEY, KEY].concat();
    let keys = [
        "",
        "x",
        "dGhlIHNhbXBsZQ==",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZSBhbmQgbW9yZQ==",
        "!!!!!!!!!!!!!!!!!!!!!!==",
    ];
    let lines = keys.map(|key| format!("{name}{key}\r\n"));
    for keys in lines.iter().map(String::as_str).chain(["", &twice]) {
        let answer = shake_hands(&server, "GET", "/live", keys).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{keys}: {answer}");
        assert!(answer.contains("content-type: application/problem+json\r\n"), "{keys}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_with_escapes_is_understood() {
    let server = Server::start().await;
    let poll = server.create(|draft| draft.results = ResultsVisibility::AfterVote).await;
    let mut client = server.connect(&format!("{}?%61fter=1%2E0", live(&poll))).await;
    assert_eq!(client.frame().await["version"], 1);
    assert_eq!(server.refused(&format!("{}?after=1%2", live(&poll)), &[]).await, (422, "validation".to_owned()));
    let receipt = server.vote(&poll, 1).await;
    let escaped = receipt.replacen(|_: char| true, &format!("%{:02X}", receipt.as_bytes()[0]), 1);
    let mut voter = server.connect(&format!("{}?receipt={escaped}", live(&poll))).await;
    assert_eq!(voter.frame().await["options"][0]["votes"], 1);
    let mut many = server.connect("/live").await;
    let id = poll.id.to_string().replace('-', "\\u002d");
    many.say_text(&format!("{{\"subscribe\": [\"{id}\"]}}")).await;
    assert_eq!(many.frame().await["poll_id"], json!(poll.id.to_string()));
}
