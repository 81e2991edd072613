//! From the parameters of a `postgres:` URL to options.

use std::path::PathBuf;
use std::time::Duration;

use crate::open::OpenError;
use crate::open_url::Parts;
use crate::settings::duration;
use crate::store::postgres::{PostgresOptions, PostgresTls};
use crate::store::postgres_options::{SCHEMA_NAME_RULE, is_schema_name};

/// Parameters that every use of a server has.
const OF_A_SERVER: [&str; 5] = ["schema", "connect-timeout", "statement-timeout", "tls", "tls-root-certificate"];
/// Those that a store has besides.
const OF_A_STORE: [&str; 6] =
    ["counting-connections", "read-connections", "admin-connections", "counting-timeout", "lock-timeout", "accept-lossy-server"];
/// Connections for one purpose, at most: servers have some hundreds in all.
const CONNECTIONS_MAX: usize = 200;
/// The longest wait: beyond it nobody waits any more.
const TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// Reads the URL of a bus.
pub(crate) fn bus_options(url: &Parts<'_>) -> Result<PostgresOptions, OpenError> {
    url.only(&OF_A_SERVER)?;
    options(url)
}

/// Reads the URL of a store.
pub(crate) fn store_options(url: &Parts<'_>) -> Result<PostgresOptions, OpenError> {
    url.only(&[&OF_A_SERVER[..], &OF_A_STORE[..]].concat())?;
    let mut options = options(url)?;
    let connections = |name, default, least| url.number(name, default, least..=CONNECTIONS_MAX);
    options.counting_connections = connections("counting-connections", options.counting_connections, 1)?;
    options.read_connections = connections("read-connections", options.read_connections, 2)?;
    options.admin_connections = connections("admin-connections", options.admin_connections, 1)?;
    options.counting_timeout = timeout(url, "counting-timeout", options.counting_timeout)?;
    options.lock_timeout = timeout(url, "lock-timeout", options.lock_timeout)?;
    options.accept_lossy_server = match url.parameter("accept-lossy-server") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(url.bad("accept-lossy-server must be true or false")),
    };
    Ok(options)
}

fn options(url: &Parts<'_>) -> Result<PostgresOptions, OpenError> {
    let mut options = PostgresOptions::new(url.without_parameters()).map_err(|reason| url.bad(reason))?;
    if let Some(schema) = url.parameter("schema") {
        if !is_schema_name(schema) {
            return Err(url.bad(format!("schema {SCHEMA_NAME_RULE}")));
        }
        schema.clone_into(&mut options.schema);
    }
    options.connect_timeout = timeout(url, "connect-timeout", options.connect_timeout)?;
    options.statement_timeout = timeout(url, "statement-timeout", options.statement_timeout)?;
    options.tls = tls(url, options.tls)?;
    options.tls_root_certificate = url.parameter("tls-root-certificate").map(PathBuf::from);
    Ok(options)
}

fn tls(url: &Parts<'_>, default: PostgresTls) -> Result<PostgresTls, OpenError> {
    let Some(value) = url.parameter("tls") else { return Ok(default) };
    let found = PostgresTls::NAMES.into_iter().find(|(name, _)| *name == value);
    let (_, tls) = found.ok_or_else(|| url.bad("tls must be disable, prefer, require or verify-full"))?;
    let is_possible = cfg!(feature = "postgres-tls") || matches!(tls, PostgresTls::Disable | PostgresTls::Prefer);
    if is_possible { Ok(tls) } else { Err(url.not_built("postgres-tls")) }
}

fn timeout(url: &Parts<'_>, name: &str, default: Duration) -> Result<Duration, OpenError> {
    let Some(value) = url.parameter(name) else { return Ok(default) };
    let bounds = Duration::from_millis(1)..=TIMEOUT_MAX;
    duration(value)
        .filter(|timeout| bounds.contains(timeout))
        .ok_or_else(|| url.bad(format!("{name} must be a time such as 500ms or 5s, at most {} s", TIMEOUT_MAX.as_secs())))
}
