//! The server, in this process and as a process of its own.

mod api;
mod configuration;
mod hub;
mod kill;
mod live;
mod process;
mod running;
mod sqlite;
mod transport;
mod transport_refusals;
