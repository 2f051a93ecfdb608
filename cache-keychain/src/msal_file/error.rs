//! From what the system says to [`StoreError`].

use std::io;
use std::path::Path;

use cache_core::store::error::{ErrorKind, Operation, Retry};
use cache_core::store::{StoreError, describe_file_error};

use super::lock::LockError;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why something failed, before it is known during which operation.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: ErrorKind,
    retry: Option<Retry>,
    context: String,
    source: Option<Source>,
}

impl Failure {
    pub(super) fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            retry: None,
            context: context.into(),
            source: None,
        }
    }

    /// A call of the file system failed; `doing` is said before the path.
    pub(super) fn io(path: &Path, doing: &str, error: io::Error) -> Self {
        let (kind, context) = describe_file_error(doing, path, &error);
        Self::new(kind, context).with_source(error)
    }

    /// It is the owner's or the permissions' fault.
    pub(super) fn refusal(path: &Path, why: &str) -> Self {
        Self::new(ErrorKind::PermissionDenied, format!("{} {why}", path.display()))
    }

    pub(super) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the store was closed; open it again")
    }

    /// The runtime ended before a call on a thread of its own was made, or during it.
    pub(super) fn aborted(source: tokio::task::JoinError) -> Self {
        Self::new(ErrorKind::Closed, "the runtime that the store uses ended")
            .with_source(source)
            .with_retry(Retry::OutcomeUnknown)
    }

    pub(super) fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(super) fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    pub(crate) fn during(self, operation: Operation) -> StoreError {
        let mut error = StoreError::new(self.kind, operation, self.context);
        if let Some(retry) = self.retry {
            error = error.with_retry(retry);
        }
        match self.source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        let context = error.to_string();
        match error {
            LockError::Busy { .. } => Self::new(ErrorKind::Unavailable, context),
            LockError::Refused { .. } => Self::new(ErrorKind::PermissionDenied, context),
            LockError::Io { path, source } => Self::io(&path, "lock", source),
            LockError::Aborted { source, .. } => Self::new(ErrorKind::Closed, context)
                .with_source(source)
                .with_retry(Retry::OutcomeUnknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn what_the_system_says_has_its_kind_also_of_the_lock() {
        use io::ErrorKind as Io;
        for (said, kind, advice) in [
            (Io::ReadOnlyFilesystem, ErrorKind::ReadOnly, "read-only"),
            (
                Io::PermissionDenied,
                ErrorKind::PermissionDenied,
                "check the permissions",
            ),
            (Io::StorageFull, ErrorKind::Full, "free some space"),
        ] {
            let path = PathBuf::from("/cache.json.lockfile");
            let written = Failure::io(&path, "write", said.into());
            let locked = Failure::from(LockError::Io {
                path,
                source: said.into(),
            });
            for error in [written.during(Operation::Put), locked.during(Operation::Put)] {
                assert_eq!((error.kind(), error.retry()), (kind, Retry::No), "{error}");
                assert!(error.to_string().contains(advice), "{error}");
                assert!(error.to_string().contains("/cache.json.lockfile"), "{error}");
            }
        }
    }
}
