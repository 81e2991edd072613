//! What the programs around the library share: how they log, stop, are watched, and end. (Feature `operate`.)
//!
//! An embedder has all of this already, in its own way; nothing else in the library depends on it.

pub mod environment;
pub mod exit;
pub mod health;
pub mod logging;
pub mod patience;
pub mod signals;
pub mod telemetry;
