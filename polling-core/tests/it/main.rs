//! Tests of the whole crate from outside, in one binary.

mod conformance;
mod controls;
mod crashes;
#[cfg(feature = "sqlite")]
mod sqlite;
mod world;
