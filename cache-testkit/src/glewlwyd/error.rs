use std::path::PathBuf;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why the provider could not be started or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// glewlwyd, or a part of its package, is not installed.
    #[error(
        "{missing} is missing; install the package glewlwyd of Debian or Ubuntu, or run cargo xtask test",
        missing = missing.display()
    )]
    NotInstalled {
        /// What was looked for.
        missing: PathBuf,
    },

    /// Its folder, database or process could not be made.
    #[error("glewlwyd could not be started: {step}")]
    Start {
        /// What failed.
        step: &'static str,
        /// The cause.
        #[source]
        source: Source,
    },

    /// The process ended, or did not answer in time.
    #[error("glewlwyd did not become ready; see its output on standard error")]
    NotReady,

    /// Its database could not be read.
    #[error("the database of glewlwyd could not be read")]
    Database {
        /// What failed.
        #[source]
        source: Source,
    },

    /// It did not answer.
    #[error("no usable reply from glewlwyd at {path}; its process may have ended")]
    Exchange {
        /// The path that was asked.
        path: String,
        /// What failed.
        #[source]
        source: Source,
    },

    /// It answered that it cannot do this.
    #[error("glewlwyd refused {path} with status {status}")]
    Refused {
        /// The path that was asked.
        path: String,
        /// The HTTP status.
        status: u16,
    },
}

impl Error {
    pub(super) fn start(step: &'static str) -> impl FnOnce(Source) -> Self {
        move |source| Self::Start { step, source }
    }
}
