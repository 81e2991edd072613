//! What the programs that vote have in common: how a server is asked, what its answers mean to the one who votes, and how it is
//! proved that nothing was lost.
//!
//! They use the public API and nothing else, so that what they prove, they prove from outside.

pub mod answer;
pub mod check;
pub mod client;
pub mod follow;
pub mod history;
pub mod polls;
pub mod proxy;
pub mod receipts;

/// Why a run could not be done, for a person to read.
#[derive(Debug)]
pub struct Failure(pub String);

/// A failure with this text: lower case, without a full stop.
pub const fn failure(text: String) -> Failure {
    Failure(text)
}
