//! Live polls over HTTP and WebSocket: the server behind the binary of the same name.

pub mod api;
pub mod live;
pub mod service;
