//! Tests of the whole crate from outside, in one binary.

mod conformance;
mod controls;
mod crashes;
mod dependencies;
mod tidy;
mod world;
