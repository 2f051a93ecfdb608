use std::path::PathBuf;

/// Why a program could not be started or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The npm packages are not installed.
    #[error("{} holds no node_modules; run npm ci there, or the tests with cargo xtask test", .folder.display())]
    NotInstalled {
        /// Where they belong.
        folder: PathBuf,
    },
    /// The virtual environment, or a compiled part, could not be made.
    #[error(
        "cannot {purpose}: {output}\nMSAL Python's tests need Python 3.11 or later with its venv and pip modules; on Debian and Ubuntu: \
         apt-get install python3 python3-venv; on macOS: brew install python. Items of the Secret Service need libsecret for both languages: \
         apt-get install build-essential libsecret-1-dev python3-gi gir1.2-secret-1"
    )]
    Environment {
        /// What was tried.
        purpose: &'static str,
        /// What the command wrote, or why it did not start.
        output: String,
    },
    /// A file could not be written, or the program not be started.
    #[error("the program could not be started; node and python3 must be on PATH")]
    Start {
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The program ended.
    #[error("the program has ended; see its output on standard error")]
    Ended,
    /// The program said nothing for a minute.
    #[error("the program does not answer")]
    Silent,
    /// The program wrote something else than an answer.
    #[error("the program wrote {said:?}")]
    Nonsense {
        /// What it wrote.
        said: String,
    },
    /// MSAL refused: its error code, or what it raised.
    #[error("MSAL answered {error}")]
    Refused {
        /// The error.
        error: String,
    },
}

impl Error {
    /// MSAL's own error, if it is one.
    #[must_use]
    pub fn refused(&self) -> Option<&str> {
        match self {
            Self::Refused { error } => Some(error),
            _ => None,
        }
    }
}
