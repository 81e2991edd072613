//! Takes votes at a high rate, never loses one it acknowledged, counts each voter once, and publishes live results.
//!
//! The crate is the whole of the rules; a binary or your own service only carries requests in and answers out. A vote
//! flows through five traits, and the modules stand in that order:
//!
//! ```text
//! VoteSink  ==log==>  VoteSource  ->  Ingest  ->  TallyStore (one transaction)  ->  UpdateBus  ->  watchers
//! ```
//!
//! | trait | memory | `sqlite` | `postgres` | `kafka` |
//! | --- | --- | --- | --- | --- |
//! | [`VoteSink`](sink::VoteSink), [`VoteSource`](source::VoteSource) | [`memory_log`](sink::memory::memory_log) | | | `KafkaSink`, `KafkaSource` |
//! | [`PollStore`](store::PollStore), [`TallyStore`](store::TallyStore) | [`MemoryStore`](store::memory::MemoryStore) | `SqliteStore` | `PostgresStore` | |
//! | [`UpdateBus`](bus::UpdateBus) | [`MemoryBus`](bus::memory::MemoryBus) | | `PostgresBus` | `KafkaBus` |
//!
//! Each column but the first is a feature.
//!
//! Feature `test-util` adds `conformance`, one suite for each trait that a backend of your own can call, and `fault`,
//! wrappers that fail on purpose.
//!
//! # Invariants
//!
//! - A vote is counted if and only if its row exists in the store and names choices.
//! - At every commit, each option's tally is the number of rows that choose it.
//! - Offsets are trusted only from the store; they move in the same transaction as the votes they cover.
//! - The bus is a hint and the store is the truth: losing every update delays watchers and corrupts nothing.
//! - Late or not is decided by the acceptance time stamped into the vote, never by the time of counting.
//! - Dropping any future of this crate leaves the state as it was before or as it is after, never between.
//! - Nothing here reads the environment, and the time comes from a [`Clock`](clock::Clock) given as an argument.

pub mod clock;
pub mod model;
mod receipt_token;
pub mod secret;

pub mod checkpoint;
pub mod sink;
pub mod source;
pub mod store;

#[cfg(feature = "kafka")]
pub mod kafka;

pub mod audit;
pub mod bus;
pub mod ingest;
pub mod leaderboard;
pub mod schedule;
mod starts;

pub mod open;
pub mod open_audit;
#[cfg(feature = "kafka")]
mod open_kafka;
#[cfg(feature = "postgres")]
mod open_postgres;
mod open_url;
#[cfg(feature = "operate")]
pub mod operate;
pub mod retry;
pub mod settings;
pub mod shutdown;

#[cfg(feature = "test-util")]
pub mod conformance;
#[cfg(feature = "test-util")]
pub mod fault;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

/// The program of the README compiles and holds.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
