//! The server, in this process and as a process of its own.

mod api;
mod configuration;
mod hub;
mod process;
mod running;
mod transport;
mod transport_refusals;
