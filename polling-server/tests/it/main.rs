//! Tests of the whole server from outside, in one binary.

mod configuration;
mod hub;
mod process;
mod running;
mod transport;
mod transport_refusals;
