use std::time::Duration;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a session could not be started, changed or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program is not installed.
    #[error("{program} is missing; install the packages dbus and gnome-keyring, or run cargo xtask test")]
    NotInstalled {
        /// What was looked for.
        program: &'static str,
    },

    /// A folder, a file or a process could not be made.
    #[error("the session could not be started: {step}")]
    Start {
        /// What failed.
        step: &'static str,
        /// The cause.
        #[source]
        source: Source,
    },

    /// A process ended, or did not answer in time.
    #[error("{program} did not become ready within {limit:?}: {output}")]
    NotReady {
        /// The program.
        program: &'static str,
        /// How long it was waited for.
        limit: Duration,
        /// What it wrote.
        output: String,
    },

    /// A process could not be told to stop or to go on.
    #[error("the signal {signal} did not reach {program}")]
    Signal {
        /// The signal's name.
        signal: &'static str,
        /// The program.
        program: &'static str,
        /// The cause.
        #[source]
        source: Source,
    },

    /// The bus or the service did not do what it was asked.
    #[error("{call} failed")]
    Call {
        /// The method.
        call: &'static str,
        /// The cause.
        #[source]
        source: Source,
    },

    /// What was asked for needs a bus or a service, which this session does not have now.
    #[error("the session has no {what} now")]
    Absent {
        /// What is not there.
        what: &'static str,
    },
}

impl Error {
    pub(super) fn start<E: Into<Source>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Start {
            step,
            source: source.into(),
        }
    }

    pub(super) fn call<E: Into<Source>>(call: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Call {
            call,
            source: source.into(),
        }
    }
}
