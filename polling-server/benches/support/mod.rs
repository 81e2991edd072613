//! What the benches of the server share: the server as a process of its own, and the load on it.

pub(crate) mod child;
pub(crate) mod kafka;
pub(crate) mod load;
pub(crate) mod serving;
pub(crate) mod watchers;
