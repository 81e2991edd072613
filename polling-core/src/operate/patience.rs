//! Opening backends that may not be there yet.

use crate::open::{Backends, OpenError, Urls, open};
use crate::operate::exit::chain;
use crate::retry::Pauses;
use crate::shutdown::Shutdown;

/// Opens the backends; while one of them cannot be reached, says for what it waits and tries again, with growing pauses. `None` when
/// `shutdown` was requested meanwhile.
///
/// # Errors
///
/// What does not mend itself: see [`OpenError::is_retryable`].
pub async fn open_patiently(urls: &Urls, shutdown: &Shutdown) -> Result<Option<Backends>, OpenError> {
    let mut pauses = Pauses::default();
    loop {
        let opened = tokio::select! {
            () = shutdown.requested() => return Ok(None),
            opened = open(urls) => opened,
        };
        let error = match opened {
            Ok(backends) => return Ok(Some(backends)),
            Err(error) if error.is_retryable() => error,
            Err(error) => return Err(error),
        };
        let pause = pauses.next_pause();
        tracing::warn!(reason = chain(&error), ?pause, "waiting for what is not there yet");
        tokio::select! {
            () = shutdown.requested() => return Ok(None),
            () = tokio::time::sleep(pause) => {}
        }
    }
}
