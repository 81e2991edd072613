//! What watchers see, and how it reaches them.

pub mod board;
pub mod endpoints;
pub mod frame;
pub mod handshake;
pub mod hub;
pub mod message;
pub mod session;
pub mod views;
