//! From SQLite's result codes to [`StoreError`].

use std::io;
use std::path::Path;
use std::sync::Arc;

use cache_core::store::error::{ErrorKind, Operation, Retry};
use cache_core::store::{StoreError, classify_file_error, describe_file_error};

use crate::complaint;

// Primary result codes, <https://www.sqlite.org/rescode.html>.
const ERROR: i32 = 1;
const PERM: i32 = 3;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const NOMEM: i32 = 7;
const READONLY: i32 = 8;
const INTERRUPT: i32 = 9;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const PROTOCOL: i32 = 15;
const TOOBIG: i32 = 18;
const AUTH: i32 = 23;
const NOTADB: i32 = 26;

/// Why a piece of work failed, before it is known whose operation it was: a batch fails for all its members.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    kind: ErrorKind,
    retry: Option<Retry>,
    context: Arc<str>,
    cause: Option<Cause>,
}

/// The cause, in terms that are not another crate's. SQLite's messages name tables and files, never values.
#[derive(Clone, Debug, thiserror::Error)]
enum Cause {
    #[error("SQLite result code {code}: {message}")]
    Sqlite { code: i32, message: Arc<str> },
    #[error("{0}")]
    Driver(Arc<str>),
    #[error(transparent)]
    Io(Arc<io::Error>),
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            retry: None,
            context: context.into(),
            cause: None,
        }
    }

    /// SQLite answered with `code`.
    pub(crate) fn sqlite(code: i32, message: &str) -> Self {
        let (kind, context) = classify(code);
        let message = message.into();
        Self {
            cause: Some(Cause::Sqlite { code, message }),
            ..Self::new(kind, context)
        }
    }

    /// The store is closed, or its tasks ended with their runtime.
    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the store was closed; open it again")
    }

    /// A file-system call on `path` failed.
    pub(crate) fn io(path: &Path, doing: &str, error: io::Error) -> Self {
        let (kind, context) = describe_file_error(doing, path, &error);
        Self {
            cause: Some(Cause::Io(Arc::new(error))),
            ..Self::new(kind, context)
        }
    }

    #[must_use]
    pub(crate) fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Says where it happened, when the failure itself does not, and why, where only the system knows.
    #[must_use]
    pub(crate) fn at(mut self, path: &Path) -> Self {
        if let Some(Cause::Sqlite { code, .. }) = &self.cause
            && matches!(code & 0xff, IOERR | CANTOPEN)
        {
            match complaint::about(path) {
                Some(error) => {
                    let (kind, advice) = classify_file_error(&error);
                    self.kind = kind;
                    self.context = match advice {
                        "" => error.to_string().into(),
                        advice => format!("{advice} ({error})").into(),
                    };
                }
                // Whatever kept SQLite from it, it was not the permissions.
                None if code & 0xff == CANTOPEN => {
                    self.kind = ErrorKind::Other;
                    self.context = "SQLite cannot open the file, or one beside it".into();
                }
                None => {}
            }
        }
        if self.cause.is_some() {
            self.context = format!("{}: {}", path.display(), self.context).into();
        }
        self
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The retry class, where it is not the kind's usual one.
    pub(crate) fn retry(&self) -> Option<Retry> {
        self.retry
    }

    /// Another connection is in the way for a moment; nothing was changed.
    pub(crate) fn is_transient(&self) -> bool {
        // An extended code (BUSY_SNAPSHOT, BUSY_RECOVERY, LOCKED_SHAREDCACHE) comes without the busy timeout having
        // been waited for; plain BUSY comes after it.
        matches!(&self.cause, Some(Cause::Sqlite { code, .. })
            if matches!(code & 0xff, BUSY | LOCKED) && *code > 0xff || code & 0xff == PROTOCOL)
    }

    /// Another connection holds a lock that was not waited out; nothing was changed.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(&self.cause, Some(Cause::Sqlite { code, .. }) if matches!(code & 0xff, BUSY | LOCKED))
    }

    /// SQLite answered with the generic code, as it does when there is no transaction to roll back.
    pub(crate) fn is_generic(&self) -> bool {
        matches!(&self.cause, Some(Cause::Sqlite { code: ERROR, .. }))
    }

    /// SQLite takes the file for one that must not be written, or that a read-only connection cannot recover.
    pub(crate) fn is_write_protection(&self) -> bool {
        matches!(&self.cause, Some(Cause::Sqlite { code, .. }) if code & 0xff == READONLY)
    }

    /// Whether one record of a batch can be to blame for the failure of all.
    pub(crate) fn may_be_one_record(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Full | ErrorKind::TooLarge | ErrorKind::Other
        )
    }

    /// Whether the connection itself may be broken and should be replaced.
    pub(crate) fn breaks_connection(&self) -> bool {
        match &self.cause {
            // As SQLite has it: that the disk is full, when that was found out afterwards, mends no connection.
            Some(Cause::Sqlite { code, .. }) => {
                matches!(classify(*code).0, ErrorKind::Other | ErrorKind::Corrupt)
            }
            Some(Cause::Driver(_) | Cause::Io(_)) => true,
            None => false,
        }
    }

    /// The error to hand to a caller.
    pub(crate) fn during(&self, operation: Operation) -> StoreError {
        let mut error = StoreError::new(self.kind, operation, &*self.context);
        if let Some(retry) = self.retry {
            error = error.with_retry(retry);
        }
        match &self.cause {
            Some(cause) => error.with_source(cause.clone()),
            None => error,
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match error {
            E::Database(error) => {
                let code = error.code().and_then(|code| code.parse().ok());
                Self::sqlite(code.unwrap_or(ERROR), error.message())
            }
            E::WorkerCrashed => Self {
                cause: Some(Cause::Driver("the thread of the connection ended".into())),
                ..Self::new(ErrorKind::Unavailable, "the connection was lost; try again")
            },
            E::Io(error) => Self {
                cause: Some(Cause::Io(Arc::new(error))),
                ..Self::new(ErrorKind::Other, "the database cannot be opened")
            },
            E::ColumnDecode { .. }
            | E::Decode(_)
            | E::ColumnNotFound(_)
            | E::ColumnIndexOutOfBounds { .. }
            | E::RowNotFound => Self {
                cause: Some(Cause::Driver(error.to_string().into())),
                ..Self::new(
                    ErrorKind::Corrupt,
                    "a row has columns that this program does not write",
                )
            },
            other => Self {
                cause: Some(Cause::Driver(other.to_string().into())),
                ..Self::new(ErrorKind::Other, "")
            },
        }
    }
}

fn classify(code: i32) -> (ErrorKind, &'static str) {
    match code & 0xff {
        BUSY | LOCKED | PROTOCOL => (
            ErrorKind::Unavailable,
            "another process holds the database; try again",
        ),
        NOMEM | INTERRUPT => (ErrorKind::Unavailable, "try again"),
        FULL => (ErrorKind::Full, "free some space or raise the limit of the file"),
        READONLY => (
            ErrorKind::ReadOnly,
            "the file or its directory is write-protected",
        ),
        CORRUPT => (
            ErrorKind::Corrupt,
            "the database is damaged, or its disk cannot be read; move the file aside or restore it",
        ),
        NOTADB => (
            ErrorKind::Corrupt,
            "the file is not an SQLite database; move it aside",
        ),
        CANTOPEN | PERM | AUTH => (
            ErrorKind::PermissionDenied,
            "the file cannot be opened; check its permissions and its directory's",
        ),
        TOOBIG => (ErrorKind::TooLarge, "SQLite refuses a value of this length"),
        _ => (ErrorKind::Other, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_codes_are_classified_by_their_primary_code() {
        let cases = [
            (5, ErrorKind::Unavailable),
            (517, ErrorKind::Unavailable),
            (6, ErrorKind::Unavailable),
            (13, ErrorKind::Full),
            (8, ErrorKind::ReadOnly),
            (1032, ErrorKind::ReadOnly),
            (11, ErrorKind::Corrupt),
            (26, ErrorKind::Corrupt),
            (14, ErrorKind::PermissionDenied),
            (18, ErrorKind::TooLarge),
            (10, ErrorKind::Other),
            (1, ErrorKind::Other),
        ];
        for (code, kind) in cases {
            assert_eq!(classify(code).0, kind, "result code {code}");
        }
    }

    #[test]
    fn only_an_extended_busy_is_tried_again_at_once() {
        let with_code = |code| Failure::sqlite(code, "test");
        assert!(with_code(517).is_transient());
        assert!(with_code(15).is_transient());
        assert!(
            !with_code(5).is_transient(),
            "the busy timeout was waited for already"
        );
        assert_eq!(with_code(5).during(Operation::Put).retry(), Retry::Yes);
    }
}
