//! Live polls over HTTP and WebSocket: the server behind the binary of the same name.

pub mod api;
pub mod live;
mod page;
pub mod routes;
pub mod service;
