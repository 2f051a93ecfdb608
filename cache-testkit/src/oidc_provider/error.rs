use std::path::PathBuf;

/// Why the provider could not be started or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The npm packages are not installed.
    #[error(
        "{folder} holds no node_modules; run: npm ci in cache-testkit/oidc-provider, or cargo xtask test",
        folder = folder.display()
    )]
    NotInstalled {
        /// Where they belong.
        folder: PathBuf,
    },

    /// Node.js could not be started.
    #[error(
        "could not start `node`; install Node.js 18 or newer and put it on PATH, or run cargo xtask test"
    )]
    Start {
        /// The system's error.
        #[source]
        source: std::io::Error,
    },

    /// The process ran but did not announce its issuer in time.
    #[error(
        "the provider did not become ready, its first line was {said:?}; see its output on standard error"
    )]
    NotReady {
        /// The line that it wrote instead, empty when it wrote none.
        said: String,
    },

    /// The provider did not answer, or not in HTTP with JSON.
    #[error("no usable reply from the provider at {path}; its process may have ended")]
    Exchange {
        /// The path that was asked.
        path: String,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The provider answered that it cannot do this.
    #[error("the provider refused {path} with status {status}: {reason}")]
    Refused {
        /// The path that was asked.
        path: String,
        /// The HTTP status.
        status: u16,
        /// The provider's own words.
        reason: String,
    },
}
