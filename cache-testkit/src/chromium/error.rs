use fantoccini::error::{CmdError, NewSessionError};

/// Why the browser could not be started or driven.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program is missing.
    #[error(
        "there is no `{program}` on PATH; install Chromium and chromedriver (Debian: chromium and chromium-driver), or run \
         cargo xtask test"
    )]
    NotInstalled {
        /// Which one.
        program: &'static str,
    },

    /// The profile's folder could not be made.
    #[error("could not make a folder for the browser's profile")]
    Profile {
        /// The system's error.
        #[source]
        source: std::io::Error,
    },

    /// chromedriver could not be started, or did not announce its port in time.
    #[error("chromedriver did not become ready, its last line was {said:?}")]
    NotReady {
        /// The line that it wrote instead, empty when it wrote none.
        said: String,
    },

    /// The browser did not do what it was told.
    #[error("the browser did not do what it was told")]
    Browser {
        /// What chromedriver said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The page does not show what a test looks for.
    #[error("the page does not show {what:?}, but: {shown}")]
    Missing {
        /// A CSS selector, or a text.
        what: String,
        /// The visible text of the page.
        shown: String,
    },
}

impl From<CmdError> for Error {
    fn from(source: CmdError) -> Self {
        Self::Browser {
            source: Box::new(source),
        }
    }
}

impl From<NewSessionError> for Error {
    fn from(source: NewSessionError) -> Self {
        Self::Browser {
            source: Box::new(source),
        }
    }
}
