//! The configuration of the server: what can be set, and what it means once it has been checked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;
use polling_core::open::{OpenError, Urls};
use polling_core::operate::logging::LogFormat;
use polling_core::secret::Secret;
use polling_core::settings::{Setting, SettingError, Settings, duration};
use thiserror::Error;

use crate::api::access::{Access, IdentitySource};
use crate::api::rate_limits::{Rate, Rates};
use crate::credentials::CredentialError;
use crate::serve::Limits;
use crate::transport::client_address::{TrustedProxies, network};

const fn setting(name: &'static str, default: Option<&'static str>, help: &'static str) -> Setting {
    Setting { name, default, help, secret: false }
}

const fn secret(name: &'static str, help: &'static str) -> Setting {
    Setting { name, default: None, help, secret: true }
}

/// Everything that can be set.
pub const SETTINGS: &[Setting] = &[
    setting("listen", Some("127.0.0.1:8080"), "Address and port of the API and the page; port 0 takes a free one"),
    setting("admin-listen", Some("127.0.0.1:8081"), "Address and port of /livez, /readyz and /metrics, or \"none\""),
    setting("log", Some("memory:"), "URL of the vote log: memory:[?capacity=VOTES] or kafka://BROKER,BROKER/TOPIC"),
    setting(
        "store",
        Some("sqlite:polling.db"),
        "URL of the store: sqlite:FILE (in the data folder), postgres://USER:PASSWORD@HOST:PORT/DATABASE or memory:",
    ),
    setting(
        "bus",
        Some("memory:"),
        "URL of the update bus: memory:, kafka://BROKER,BROKER/TOPIC or postgres://USER:PASSWORD@HOST:PORT/DATABASE",
    ),
    setting("data-dir", Some("polling-data"), "Folder for the data file and the secret; made when absent"),
    setting("config", None, "Configuration file in TOML, with the names of the flags, a-b written a_b"),
    secret(
        "secret",
        "Secret behind voter keys, receipts and cookies, at least 32 bytes; without one, a secret is made and kept in the data folder",
    ),
    setting("secret-file", None, "File with the secret"),
    setting(
        "allowed-origins",
        None,
        "Other sites whose pages may use the API, comma-separated: https://example.org,https://example.com:8443",
    ),
    secret(
        "api-keys",
        "Keys of which one is needed to create polls, comma-separated, at least 16 characters each; without any, everybody may",
    ),
    setting("api-keys-file", None, "File with such keys, one a line"),
    setting(
        "voter-identity",
        Some("declared,cookie"),
        "Who a voter is, in this order: jwt (bearer token), declared (voter_id in the body), cookie",
    ),
    secret("jwt-secret", "Secret of HMAC-signed tokens, at least 32 bytes"),
    setting("jwt-secret-file", None, "File with that secret"),
    setting("jwt-public-key-file", None, "PEM file with the public key of RSA, ECDSA or EdDSA signed tokens"),
    setting("jwt-algorithm", None, "The one algorithm that tokens may have: HS256 (with a secret), RS256, ES256 or EdDSA"),
    setting("jwt-audience", None, "Audience that a token must name"),
    setting("jwt-issuer", None, "Issuer that a token must name"),
    setting("secure-cookies", Some("false"), "true marks cookies Secure on plain HTTP, too, because a proxy in front speaks TLS"),
    setting(
        "rate-per-address",
        Some("none"),
        "Requests of one address: COUNT/s, COUNT/m or COUNT/h, with :BURST for what may come at once, like 50/s:200; or none",
    ),
    setting("rate-per-voter", Some("none"), "Votes of one voter in one poll, written in the same way, like 10/m:20; or none"),
    setting(
        "trusted-proxies",
        None,
        "Networks of the proxies whose X-Forwarded-For is believed, comma-separated: 10.0.0.0/8,192.0.2.1,2001:db8::/32",
    ),
    setting("handler-deadline", Some("5s"), "How long a request waits for the log or the store (100ms to 5m)"),
    setting(
        "clock-skew-max",
        Some("1s"),
        "How far the clock of this server may be from that of the store before that is said (1ms to 1h)",
    ),
    setting("drain", Some("10s"), "How long requests in flight may take to end when the server stops (0s to 1h)"),
    setting(
        "header-timeout",
        Some("10s"),
        "How long the head of a request may take, and how long a connection may be idle (10ms to 1h)",
    ),
    setting("body-timeout", Some("10s"), "How long the body of a request may take (10ms to 1h)"),
    setting("connections-max", Some("10000"), "HTTP connections at a time; more wait in the system's queue (1 to 1000000)"),
    setting("sockets-max", Some("50000"), "Live sockets and streams of events at a time (1 to 1000000)"),
    setting("sockets-per-address-max", Some("10000"), "Live sockets and streams of one address or IPv6 /64 (1 to 1000000)"),
    setting("live-interval-ms", Some("50"), "Milliseconds between two frames of a socket or stream, at least (1 to 60000)"),
    setting("log-format", Some("auto"), "json, text, or auto: text on a terminal and json elsewhere"),
];

/// Bounds and pace of live sockets.
#[derive(Debug, Clone, Copy)]
pub struct Live {
    /// Between two frames of a socket, at least.
    pub interval: Duration,
    /// Sockets at a time.
    pub sockets_max: usize,
    /// Sockets of one address at a time.
    pub sockets_per_address_max: usize,
}

/// The configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the API and the page are served.
    pub listen: SocketAddr,
    /// Where health and metrics are served, if anywhere.
    pub admin_listen: Option<SocketAddr>,
    /// The backends.
    pub urls: Urls,
    /// The secret, when one was given; otherwise one is kept in the data folder.
    pub secret: Option<Secret>,
    /// Origins, beside our own, whose pages may use the API.
    pub origins: Vec<HeaderValue>,
    /// Who may do what.
    pub access: Access,
    /// How long a handler waits for the log or the store.
    pub handler_deadline: Duration,
    /// How far the clock may be from that of the store before that is said.
    pub clock_skew_max: Duration,
    /// How long requests may take to end at the stop.
    pub drain: Duration,
    /// Bounds of every connection.
    pub limits: Limits,
    /// Whose word is taken for where a request comes from.
    pub proxies: TrustedProxies,
    /// Bounds and pace of live sockets.
    pub live: Live,
    /// How the log is written.
    pub log_format: LogFormat,
    /// What the log should say about the configuration.
    pub warnings: Vec<String>,
    /// All settings with their origins, redacted.
    pub printed: String,
}

/// A mistake in the configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// In a setting.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// In the URL of a backend.
    #[error(transparent)]
    Url(#[from] OpenError),
    /// In a secret, a key, or the file that has it.
    #[error(transparent)]
    Credential(#[from] CredentialError),
}

impl Config {
    /// Checks every setting. Reads the files that settings name; opens and makes nothing.
    ///
    /// # Errors
    ///
    /// All mistakes that can be found without opening anything.
    pub fn check(settings: &Settings) -> Result<Self, Vec<ConfigError>> {
        let mut reader = Reader { settings, errors: Vec::new() };
        let config = reader.config();
        match config {
            Some(config) if reader.errors.is_empty() => Ok(config),
            _ => Err(reader.errors),
        }
    }

    /// Checks the URLs of the backends alone, for what needs no more: whoever makes the tables need not know the secret.
    ///
    /// # Errors
    ///
    /// All mistakes in them.
    pub fn check_urls(settings: &Settings) -> Result<Urls, Vec<ConfigError>> {
        let mut reader = Reader { settings, errors: Vec::new() };
        let urls = reader.urls();
        if reader.errors.is_empty() { Ok(urls) } else { Err(reader.errors) }
    }
}

/// Reads settings, and collects what is wrong with them.
struct Reader<'a> {
    settings: &'a Settings,
    errors: Vec<ConfigError>,
}

impl Reader<'_> {
    fn config(&mut self) -> Option<Config> {
        let listen = self.value("listen", ADDRESS, address);
        let admin_listen = self.value("admin-listen", &format!("{ADDRESS}, or \"none\""), admin_address);
        let urls = self.urls();
        let secret = self.credential(crate::credentials::given_secret);
        self.check_cluster(&urls, secret.as_ref().is_some_and(Option::is_some));
        let origins = self.list("allowed-origins", "origins like https://example.org, without a path", origin);
        let api_keys = self.credential(crate::credentials::api_keys);
        let identity = self.list("voter-identity", "jwt, declared or cookie, each once", IdentitySource::parse);
        let tokens = self.credential(crate::credentials::tokens);
        if let (Some(identity), Some(tokens)) = (&identity, &tokens) {
            self.check_identity(identity, tokens.is_some());
        }
        let secure_cookies = self.value("secure-cookies", "true or false", |text| text.parse().ok());
        let rates = self.rates();
        let proxies = self.list("trusted-proxies", "addresses or networks, like 10.0.0.0/8", network);
        let handler_deadline = self.duration("handler-deadline", "100ms", "5m");
        let clock_skew_max = self.duration("clock-skew-max", "1ms", "1h");
        let drain = self.duration("drain", "0s", "1h");
        let limits = self.limits();
        let live = self.live();
        let log_format = self.value("log-format", "auto, json or text", LogFormat::parse);
        let mut warnings = self.settings.warnings().to_vec();
        if identity.as_ref().is_some_and(|kinds| !kinds.contains(&IdentitySource::Token)) && matches!(tokens, Some(Some(_))) {
            warnings
                .push("a key for tokens is given, but voter-identity does not have jwt: no token will be looked at".to_owned());
        }
        // Every value was looked at before the first missing one ends this.
        Some(Config {
            listen: listen?,
            admin_listen: admin_listen?,
            urls,
            secret: secret?,
            origins: origins?,
            access: Access {
                identities: identity?,
                tokens: tokens?,
                api_keys: api_keys?,
                secure_cookies: secure_cookies?,
                rates: rates?,
            },
            handler_deadline: handler_deadline?,
            clock_skew_max: clock_skew_max?,
            drain: drain?,
            limits: limits?,
            proxies: TrustedProxies::new(proxies?),
            live: live?,
            log_format: log_format?,
            warnings,
            printed: self.settings.print(),
        })
    }

    fn urls(&mut self) -> Urls {
        let text = |name| self.settings.get(name).unwrap_or_default().to_owned();
        let urls = Urls { log: text("log"), store: text("store"), bus: text("bus"), data_dir: PathBuf::from(text("data-dir")) };
        if urls.data_dir.as_os_str().is_empty() {
            self.errors.push(self.settings.bad_value("data-dir", "it must name a folder").into());
        }
        self.errors.extend(polling_core::open::check(&urls).into_iter().map(ConfigError::from));
        urls
    }

    /// What several processes share must not depend on one of them.
    fn check_cluster(&mut self, urls: &Urls, has_secret: bool) {
        let shared_log = urls.log.starts_with("kafka:");
        let shared_store = urls.store.starts_with("postgres");
        if (shared_log || shared_store) && !has_secret {
            let reason = "every server of a cluster must have the same, so none is made";
            self.errors.push(self.settings.missing("secret-file", reason).into());
        }
        if shared_log && !shared_store {
            let expected = "votes of a shared log are counted in a shared store, so it must be postgres://…";
            self.errors.push(self.settings.bad_value("store", expected).into());
        }
        if shared_log && urls.bus.starts_with("memory:") {
            let expected = "a worker's news must reach this server, so it must be kafka://… or postgres://…";
            self.errors.push(self.settings.bad_value("bus", expected).into());
        }
    }

    fn check_identity(&mut self, identity: &[IdentitySource], has_tokens: bool) {
        let unique = identity.iter().enumerate().all(|(index, kind)| !identity[..index].contains(kind));
        if identity.is_empty() || !unique {
            self.errors.push(self.settings.bad_value("voter-identity", "it must name each kind at most once, and one").into());
        }
        if identity.contains(&IdentitySource::Token) && !has_tokens {
            let reason = "voter-identity has jwt, and without a key no token can be checked";
            self.errors.push(self.settings.missing("jwt-secret-file", reason).into());
        }
    }

    fn rates(&mut self) -> Option<Rates> {
        let expected = "COUNT/s, COUNT/m or COUNT/h, perhaps with :BURST, counts up to a million, or none";
        let rate = |text: &str| if text == "none" { Some(None) } else { Rate::parse(text).map(Some) };
        let address = self.value("rate-per-address", expected, rate);
        let voter = self.value("rate-per-voter", expected, rate);
        Some(Rates { address: address?, voter: voter? })
    }

    fn limits(&mut self) -> Option<Limits> {
        let connections_max = self.number("connections-max", 1..=1_000_000);
        let header_timeout = self.duration("header-timeout", "10ms", "1h");
        let body_timeout = self.duration("body-timeout", "10ms", "1h");
        Some(Limits {
            connections_max: connections_max?,
            header_timeout: header_timeout?,
            body_timeout: body_timeout?,
            write_timeout: WRITE_TIMEOUT,
            write_bytes_per_second_min: WRITE_BYTES_PER_SECOND_MIN,
            large_bytes_max: LARGE_BYTES_MAX,
        })
    }

    fn live(&mut self) -> Option<Live> {
        let sockets_max = self.number("sockets-max", 1..=1_000_000);
        let sockets_per_address_max = self.number("sockets-per-address-max", 1..=1_000_000);
        let interval = self.number("live-interval-ms", 1..=60_000);
        Some(Live {
            interval: Duration::from_millis(interval? as u64),
            sockets_max: sockets_max?,
            sockets_per_address_max: sockets_per_address_max?,
        })
    }

    /// The value of a setting that always has one.
    fn value<T>(&mut self, name: &'static str, expected: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        match self.settings.parsed(name, expected, parse) {
            Ok(value) => value,
            Err(error) => {
                self.errors.push(error.into());
                None
            }
        }
    }

    fn list<T>(&mut self, name: &'static str, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        if self.settings.get(name).is_none() {
            return Some(Vec::new());
        }
        let all = |text: &str| text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(&parse).collect();
        self.value(name, expected, all)
    }

    fn number(&mut self, name: &'static str, bounds: RangeInclusive<usize>) -> Option<usize> {
        let expected = format!("a number between {} and {}", bounds.start(), bounds.end());
        self.value(name, &expected, |text| text.parse().ok().filter(|number| bounds.contains(number)))
    }

    fn duration(&mut self, name: &'static str, shortest: &str, longest: &str) -> Option<Duration> {
        let expected = format!("a time between {shortest} and {longest}, with its unit: ms, s, m or h");
        let within = |value: &Duration| Some(*value) >= duration(shortest) && Some(*value) <= duration(longest);
        self.value(name, &expected, |text| duration(text).filter(within))
    }

    fn credential<T>(&mut self, read: impl FnOnce(&Settings) -> Result<T, CredentialError>) -> Option<T> {
        match read(self.settings) {
            Ok(value) => Some(value),
            Err(error) => {
                self.errors.push(error.into());
                None
            }
        }
    }
}

/// How long a client may take no byte of its answer: longer than any network hiccup that TCP survives in practice, short
/// enough to free what the connection holds.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many bytes a second a client takes of its answer, at least: half of what the slowest mobile networks bring. The largest list is
/// taken within minutes then, and who takes less only holds a place that others wait for.
const WRITE_BYTES_PER_SECOND_MIN: NonZeroU64 = NonZeroU64::new(2 * 1024).unwrap();
/// Bytes of large answers that clients have not taken, and of large bodies of requests in hand, at most: a thousand of the largest pages of
/// a list that nobody reads, and a share of what a small machine has.
const LARGE_BYTES_MAX: usize = 256 * 1024 * 1024;

const ADDRESS: &str = "an address with a port, like 127.0.0.1:8080, [::]:8080 or localhost:8080";

fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().ok()?)),
        None => text.parse().ok(),
    }
}

fn admin_address(text: &str) -> Option<Option<SocketAddr>> {
    if text == "none" { Some(None) } else { address(text).map(Some) }
}

/// An origin as browsers send it: scheme, host, and a port that is not the scheme's own.
fn origin(text: &str) -> Option<HeaderValue> {
    let uri: Uri = text.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?.as_str());
    let usual_port = if scheme == "https" { ":443" } else { ":80" };
    let sound = matches!(scheme, "http" | "https")
        && text == format!("{scheme}://{authority}")
        && !authority.contains('@')
        && !authority.ends_with(usual_port)
        && !authority.chars().any(|character| character.is_ascii_uppercase());
    if sound { HeaderValue::from_str(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for sound in ["https://example.org", "http://localhost:3000", "https://[::1]:8443"] {
            assert!(origin(sound).is_some(), "{sound}");
        }
        for wrong in
            ["*", "null", "example.org", "https://example.org/", "https://Example.org", "https://example.org:443", "ftp://a"]
        {
            assert!(origin(wrong).is_none(), "{wrong}");
        }
    }
}
