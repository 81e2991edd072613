//! What must hold of everything that is read from outside, for any bytes at all.
//!
//! Compiled for tests and for the programs in `fuzz/fuzz_targets`, and never part of the library that others use: the compiler
//! flag `fuzzing` is set by `cargo fuzz`. The tests hold the properties for the inputs in `fuzz/seeds`, and for what is near them.

#[path = "../../../fuzz/replay.rs"]
mod replay;

mod record;
mod token;

pub use record::record;
pub use replay::replay;
pub use token::token;
