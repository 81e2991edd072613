//! What watchers see, and how it reaches them.

pub mod audience;
pub mod board;
pub mod endpoints;
pub mod events;
pub mod follow;
pub mod frame;
pub mod handshake;
pub mod hub;
pub mod message;
pub mod reads;
pub mod rounds;
pub mod routes;
#[cfg(test)]
mod schemas;
pub mod session;
pub mod shown;
pub mod standings;
pub mod through;
pub mod viewer;
pub mod views;
pub mod wishes;
