//! Interrupts: the signals that ask the program to stop.

use crate::exit::Exit;
use crate::failure::Failure;

/// The signals, from now on caught.
pub(crate) struct Stop {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

/// Starts to catch interrupts.
#[cfg(unix)]
pub(crate) fn signals() -> Result<Stop, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let catch = |kind| signal(kind).map_err(|error| Failure::new("internal", Exit::Other, error));
    Ok(Stop {
        interrupt: catch(SignalKind::interrupt())?,
        terminate: catch(SignalKind::terminate())?,
    })
}

/// Starts to catch interrupts.
#[cfg(not(unix))]
pub(crate) fn signals() -> Result<Stop, Failure> {
    Ok(Stop {})
}

impl Stop {
    /// Waits until somebody asks. Cancellation safe.
    #[cfg(unix)]
    pub(crate) async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits until somebody asks. Cancellation safe.
    #[cfg(not(unix))]
    pub(crate) async fn requested(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until somebody asks; twice, for a command that sees to the first time itself.
    pub(crate) async fn requested_of(&mut self, stops_itself: bool) {
        self.requested().await;
        if stops_itself {
            self.requested().await;
        }
    }
}
