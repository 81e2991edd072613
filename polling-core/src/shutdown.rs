//! Being told to stop.

use tokio_util::sync::CancellationToken;

/// A request to stop, seen by everything that runs. Cloning gives another handle to the same request.
///
/// Where the request comes from (a signal, a test, a supervisor) is the business of whoever makes it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Not requested yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests the stop. Again is the same as once.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Whether it was requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves when it is requested, at once when it was. Dropping it has no effect.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }
}
