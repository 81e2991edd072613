//! From a request to a socket: who may come in, and how many.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use poem::{Request, Response, Upgraded};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::api::problem::{Problem, response_of_status};
use crate::api::problem_kind::ProblemKind;
use crate::telemetry::OPEN_SOCKETS;
use crate::transport::client_address::share_holder;

/// Bytes of a message from a client, at most: a hundred polls to subscribe to.
pub const MESSAGE_BYTES_MAX: usize = 4096;
/// Bytes of the nonce that a client sends with its handshake.
const KEY_BYTES: usize = 16;
/// Bytes kept for reading, for each socket, and read at a time: enough for a pong or a poll to subscribe to. Clients hardly ever say more,
/// and there are many of them.
const READ_BUFFER_BYTES: usize = 128;
/// Bytes of frames that are gathered before they are written, so that what changes together goes out together.
const JOINED_BYTES_MAX: usize = 16 * 1024;
/// Bytes that may wait to be written, for each socket. More than the largest frame, so that the write deadline decides.
const WRITE_BUFFER_BYTES_MAX: usize = 1 << 20;

/// A socket with one client.
pub type Socket = WebSocketStream<Upgraded>;

/// How many sockets and streams of events there may be.
#[derive(Debug, Clone, Copy)]
pub struct SocketLimits {
    /// In the whole server.
    pub total: usize,
    /// From one address, or from one network of IPv6 that is [as good as one](share_holder).
    pub per_address: usize,
}

/// Counts sockets and streams.
#[derive(Debug)]
pub struct Doorkeeper {
    limits: SocketLimits,
    /// Origins besides our own, such as `https://polls.example`.
    origins: Vec<String>,
    inside: Mutex<Inside>,
}

/// Who is inside.
#[derive(Debug, Default)]
struct Inside {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place inside; dropping it makes room for another.
#[derive(Debug)]
pub struct Place {
    doorkeeper: Arc<Doorkeeper>,
    address: IpAddr,
}

impl Doorkeeper {
    /// Lets in as many as the limits say, from our own origin and from `origins`.
    #[must_use]
    pub fn new(limits: SocketLimits, origins: Vec<String>) -> Arc<Self> {
        Arc::new(Self { limits, origins, inside: Mutex::default() })
    }

    /// Refuses a page of another site: it would send the cookies of its visitor along. Without `Origin` it is no browser.
    ///
    /// # Errors
    ///
    /// `forbidden`.
    pub fn check_origin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or_default();
        let own = headers.get(header::HOST).and_then(|host| host.to_str().ok()).is_some_and(|host| {
            origin
                .split_once("://")
                .is_some_and(|(scheme, authority)| matches!(scheme, "http" | "https") && authority.eq_ignore_ascii_case(host))
        });
        if own || self.origins.iter().any(|allowed| allowed == origin) {
            Ok(())
        } else {
            Err(Problem::with_detail(ProblemKind::Forbidden, "this origin is not among the allowed origins"))
        }
    }

    /// Takes a place inside.
    ///
    /// # Errors
    ///
    /// `unavailable` when the server is full, `rate-limited` when the address has all that it may have.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, Problem> {
        let address = share_holder(address);
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.total >= self.limits.total {
            return Err(Problem::with_detail(
                ProblemKind::Unavailable,
                "the server has as many sockets and streams as it can have",
            ));
        }
        let own = inside.by_address.get(&address).copied().unwrap_or_default();
        if own >= self.limits.per_address {
            return Err(Problem::with_detail(
                ProblemKind::RateLimited,
                "this address has as many sockets and streams as it can have",
            ));
        }
        inside.total += 1;
        inside.by_address.insert(address, own + 1);
        metrics::gauge!(OPEN_SOCKETS).increment(1.0);
        Ok(Place { doorkeeper: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.doorkeeper.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.total -= 1;
        metrics::gauge!(OPEN_SOCKETS).decrement(1.0);
        if let Some(own) = inside.by_address.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                inside.by_address.remove(&self.address);
            }
        }
    }
}

/// Answers the handshake, and runs `session` on the socket once the client has the answer. Answers 426 to a request that asks
/// for no WebSocket of version 13, and 400 to one that asks without a key, or with what is none.
pub fn upgrade<F>(request: &Request, session: impl FnOnce(Socket) -> F + Send + 'static) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    if !asks_for_socket(request.headers()) {
        return no_handshake();
    }
    let Some(accept) = accept_value(request.headers()) else { return no_key() };
    let Ok(upgrade) = request.take_upgrade() else { return no_handshake() };
    tokio::spawn(async move {
        // The client may go away before it has the answer.
        if let Ok(upgraded) = upgrade.await {
            let config = WebSocketConfig::default()
                .read_buffer_size(READ_BUFFER_BYTES)
                .write_buffer_size(JOINED_BYTES_MAX)
                .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
                .max_message_size(Some(MESSAGE_BYTES_MAX))
                .max_frame_size(Some(MESSAGE_BYTES_MAX));
            // In a task of its own: this one has room for the handshake, which the session would hold as long as it is open.
            tokio::spawn(session(WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await));
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .finish()
}

fn asks_for_socket(headers: &HeaderMap) -> bool {
    let has_token = |name: header::HeaderName, token: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    has_token(header::CONNECTION, "upgrade")
        && has_token(header::UPGRADE, "websocket")
        && headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
}

/// What proves to the client that its handshake was understood; `None` when its key is not 16 bytes in base64, as RFC 6455
/// demands in section 4.2.1, or is not the only one.
fn accept_value(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else { return None };
    let bytes = STANDARD.decode(key.as_bytes()).ok()?;
    if bytes.len() != KEY_BYTES {
        return None;
    }
    HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()
}

fn no_key() -> Response {
    response_of_status(StatusCode::BAD_REQUEST, Some("sec-websocket-key must be 16 bytes in base64"))
}

fn no_handshake() -> Response {
    let mut response = response_of_status(StatusCode::UPGRADE_REQUIRED, Some("this address speaks WebSocket, version 13"));
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn doorkeeper() -> Arc<Doorkeeper> {
        let limits = SocketLimits { total: 3, per_address: 2 };
        Doorkeeper::new(limits, vec!["https://polls.example".to_owned()])
    }

    #[test]
    fn only_our_own_and_allowed_origins_come_in() {
        let check =
            |origin| doorkeeper().check_origin(&headers(&[(header::HOST, "localhost:8080"), (header::ORIGIN, origin)])).is_ok();
        for allowed in ["http://localhost:8080", "https://localhost:8080", "https://polls.example"] {
            assert!(check(allowed), "{allowed}");
        }
        for refused in
            ["http://localhost", "http://polls.example", "https://polls.example.evil", "null", "", "file://localhost:8080"]
        {
            assert!(!check(refused), "{refused}");
        }
        assert!(doorkeeper().check_origin(&headers(&[(header::HOST, "localhost")])).is_ok(), "no browser");
    }

    #[test]
    fn places_are_counted_by_address_and_given_back() {
        let doorkeeper = doorkeeper();
        let (first, second) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let place = doorkeeper.enter(first).expect("room");
        let _second_place = doorkeeper.enter(first).expect("room");
        assert_eq!(doorkeeper.enter(first).expect_err("full").kind(), ProblemKind::RateLimited);
        let _third_place = doorkeeper.enter(second).expect("room");
        assert_eq!(doorkeeper.enter(second).expect_err("full").kind(), ProblemKind::Unavailable);
        drop(place);
        assert_eq!(doorkeeper.inside.lock().expect("nobody panicked").total, 2);
        assert!(doorkeeper.enter(second).is_ok());
    }

    #[test]
    fn a_customer_with_many_addresses_has_the_places_of_one() {
        let doorkeeper = doorkeeper();
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let _places = ["2001:db8::1", "2001:db8::2"].map(|own| doorkeeper.enter(address(own)).expect("room"));
        assert_eq!(doorkeeper.enter(address("2001:db8::3")).expect_err("full").kind(), ProblemKind::RateLimited);
        assert!(doorkeeper.enter(address("2001:db8:0:1::1")).is_ok());
    }
}
