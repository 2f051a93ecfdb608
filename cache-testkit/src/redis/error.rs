use std::path::PathBuf;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a server could not be started or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program is not installed.
    #[error(
        "{program} is missing; install the packages redis-server and valkey-server of Debian or Ubuntu, or run \
         cargo xtask test"
    )]
    NotInstalled {
        /// What was looked for.
        program: String,
    },

    /// A folder, a certificate or a process could not be made.
    #[error("the server could not be started: {step}")]
    Start {
        /// What failed.
        step: &'static str,
        /// The cause.
        #[source]
        source: Source,
    },

    /// A process ended, or did not answer in time.
    #[error("{program} did not become ready; its log ends with: {log}")]
    NotReady {
        /// The program.
        program: &'static str,
        /// The last lines of its log.
        log: String,
    },

    /// A process could not be told to stop, to go on or to end.
    #[error("the signal {signal} did not reach the server")]
    Signal {
        /// The signal's name.
        signal: &'static str,
        /// The cause.
        #[source]
        source: Source,
    },

    /// The server refused an administrator's command, or `redis-cli` did not reach it.
    #[error("{command} failed: {reply}")]
    Command {
        /// The command's name, without arguments: they may hold a password.
        command: String,
        /// What the server or `redis-cli` said.
        reply: String,
    },

    /// The server did not answer an administrator's command in time.
    #[error("{command} was not answered; the server may be paused")]
    Unanswered {
        /// The command's name.
        command: String,
    },

    /// Several servers did not come to an agreement in time.
    #[error("the servers did not reach this state in time: {state}")]
    NotReached {
        /// What was waited for.
        state: &'static str,
    },

    /// No server owns this, where one was expected.
    #[error("no server of the topology is at {place}")]
    Unknown {
        /// A port, a slot or an index.
        place: String,
    },

    /// A file of the server could not be changed.
    #[error("{file} could not be changed", file = file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: Source,
    },
}

impl Error {
    pub(super) fn start<E: Into<Source>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Start {
            step,
            source: source.into(),
        }
    }
}
