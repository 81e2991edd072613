//! The server, in this process and as a process of its own.

mod api;
mod configuration;
mod conformance;
mod events;
#[cfg(feature = "sqlite")]
mod full_disk;
mod hub;
#[cfg(feature = "sqlite")]
mod kill;
mod leaderboard;
mod live;
mod live_handshake;
mod live_viewers;
mod process;
mod running;
#[cfg(feature = "sqlite")]
mod sqlite;
mod standings;
mod store;
mod transport;
mod transport_refusals;
mod viewers;
mod world;
