//! The HTTP API, over the memory backends.

mod batches;
mod bodies;
mod clocks;
mod document;
mod edges;
mod history;
mod identities;
mod lists;
mod live_document;
mod pages;
mod pending;
mod polls;
mod rates;
mod repeats;
mod support;
mod troubles;
mod visibility;
mod votes;
