//! Tests of the whole crate from outside, in one binary.

mod conformance;
mod controls;
mod crashes;
mod dependencies;
mod overload;
#[cfg(feature = "sqlite")]
mod sqlite;
mod starting;
mod tidy;
mod world;
