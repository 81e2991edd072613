//! Live polls over HTTP and WebSocket: the server behind the binary of the same name.

pub mod api;
mod fingerprint;
pub mod live;
mod page;
pub mod routes;
pub mod service;

pub mod command;
pub mod config;
pub mod credentials;
pub mod exit;

pub mod serve;
pub mod transport;

pub mod admin;
pub mod clock_watch;
pub mod process;
pub mod readiness;
pub mod run;
pub mod store_watch;
mod tasks;
pub mod telemetry;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
