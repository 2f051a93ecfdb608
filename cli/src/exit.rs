//! Exit codes: the part of the output that every script reads.

use std::process::ExitCode;

/// How the program ended. The numbers are part of its interface; `--help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Anything that has no code of its own.
    Other,
    /// The command line or the configuration makes no sense.
    Usage,
    /// The user must sign in.
    InteractionRequired,
    /// The store, a record in it, or the key.
    Storage,
    /// The authority refused or could not be reached.
    Authority,
    /// The user or the system ended the program.
    Interrupted,
}

impl Exit {
    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage => 2,
            Self::InteractionRequired => 3,
            Self::Storage => 4,
            Self::Authority => 5,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
