//! What must hold of everything that is read from outside, for any bytes at all.
//!
//! Compiled for tests and for the programs in `fuzz/fuzz_targets`, and never part of the server: the compiler flag `fuzzing` is set
//! by `cargo fuzz`. The tests hold the properties for the inputs in `fuzz/seeds`, and for what is near them.

#[path = "../../../fuzz/replay.rs"]
mod replay;

mod live_message;
mod parameter;
mod poll_body;
mod refusal;
mod vote_body;

pub use live_message::live_message;
pub use parameter::parameter;
pub use poll_body::poll_body;
pub use replay::replay;
pub use vote_body::vote_body;
