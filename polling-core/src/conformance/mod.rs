//! One suite for each trait: what a backend must do to be one, ours or yours.
//!
//! Each suite takes a constructor that makes an empty backend. A test that fails panics with the fact that does not hold.
//! Call a suite with what you use: bare, behind `Arc<dyn …>`, and through your wrappers.
//!
//! ```
//! # async fn suite() {
//! use std::sync::Arc;
//! use polling_core::conformance::{StoreUnderTest, poll_store, tally_store};
//! use polling_core::store::memory::MemoryStore;
//!
//! let make = async || StoreUnderTest::forgetful(Arc::new(MemoryStore::default()));
//! poll_store(make).await;
//! tally_store(make).await;
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(suite());
//! ```

mod bus;
pub mod fixture;
mod growth;
mod history;
mod log;
mod polls;
mod tallies;

use std::pin::Pin;
use std::sync::Arc;

pub use bus::update_bus;
pub use history::{RandomHistory, assert_equals_the_oracle, random_vote};
pub use log::{LogUnderTest, vote_log};
pub use polls::poll_store;
pub use tallies::tally_store;

use crate::store::{PollStore, TallyStore};

/// Opens a store again.
pub type Reopen = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = StoreUnderTest> + Send>> + Send>;

/// A store, through both of its traits, for a suite.
///
/// Both halves must work on the same data: a vote counts only for a poll that was created.
pub struct StoreUnderTest {
    /// Where polls are kept.
    pub polls: Arc<dyn PollStore>,
    /// Where votes and tallies are kept.
    pub tallies: Arc<dyn TallyStore>,
    /// Opens what was kept once more, after this value was dropped. `None` declares that the store forgets everything when it ends.
    pub reopen: Option<Reopen>,
}

impl StoreUnderTest {
    /// A store that forgets everything when it ends.
    #[must_use]
    pub fn forgetful<S: PollStore + TallyStore + 'static>(store: Arc<S>) -> Self {
        Self { polls: Arc::clone(&store) as Arc<dyn PollStore>, tallies: store, reopen: None }
    }
}
