//! Holds a history against the promises: no acknowledged vote is lost, none is counted twice, and nobody is shown a step back.
//!
//! Pure functions over what was recorded and what is left in the end, so that a history can be judged again at any time. What
//! "counted" means is taken from the definition, `polling_core::model::count`, applied to the log; no part of the stores is used.

mod expected;
mod live;
mod log;
mod verdict;
mod votes;

pub use live::every_watcher_sees_the_end;
pub use verdict::{ALARM, Verdict, Violation, check, check_stopped};
