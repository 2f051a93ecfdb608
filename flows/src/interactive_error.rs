//! Why a sign-in in the browser ended without an answer.

use std::time::Duration;

use crate::browser::BrowserError;

/// Why a sign-in in the browser ended without an answer of the authority.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InteractiveError {
    /// There is no port on loopback to listen at.
    #[error("{}", no_port(*port))]
    Listen {
        /// The port that was asked for; `None` where any would have done.
        port: Option<u16>,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No browser could be opened. It knows the URL, for a program that can show it in another way.
    #[error(transparent)]
    Browser(Box<BrowserError>),
    /// Nobody finished the sign-in in time. A user who closed the browser looks the same.
    #[error("nobody finished the sign-in in the browser within {} seconds; start again", .0.as_secs())]
    TimedOut(Duration),
    /// The caller cancelled the sign-in.
    #[error("the sign-in was cancelled")]
    Cancelled,
}

impl InteractiveError {
    pub(crate) fn listen(port: Option<u16>, source: std::io::Error) -> Self {
        Self::Listen { port, source }
    }
}

impl From<BrowserError> for InteractiveError {
    fn from(error: BrowserError) -> Self {
        Self::Browser(Box::new(error))
    }
}

fn no_port(port: Option<u16>) -> String {
    match port {
        Some(port) => format!(
            "the answer of the browser cannot be received at port {port} of this machine, because it is taken; \
             leave the choice of the port open, or end the program that has it"
        ),
        None => "the answer of the browser cannot be received on this machine: no port of its loopback address is \
                 free; sign in by device code instead"
            .to_owned(),
    }
}
