//! From the signals of the system to an orderly end.

use tokio::signal::unix::{SignalKind, signal};

use crate::shutdown::Shutdown;

/// The first SIGTERM or SIGINT requests the shutdown, the second ends the process where it stands, with exit code 143 or 130.
///
/// # Errors
///
/// When the system does not let signals be listened for. The process then ends at the first one, and loses nothing by it.
pub fn listen(shutdown: Shutdown) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            let (name, number) = tokio::select! {
                _ = terminate.recv() => ("SIGTERM", 15),
                _ = interrupt.recv() => ("SIGINT", 2),
            };
            if shutdown.is_requested() {
                tracing::warn!("stopping at once on a second {name}");
                std::process::exit(128 + number);
            }
            tracing::info!("stopping on {name}; a second one stops at once");
            shutdown.request();
        }
    });
    Ok(())
}
