//! What a store can fail with.

use std::fmt;

use crate::random::RandomError;

/// Why an operation failed, whether it may be sent again, and during what.
///
/// `Display` says what failed and what to do next; the cause is in [`source`](std::error::Error::source).
/// It never holds a payload.
pub struct StoreError {
    kind: ErrorKind,
    retry: Retry,
    operation: Operation,
    context: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// An error of `kind` during `operation`; `context` says where and what to do next, without secrets.
    pub fn new(kind: ErrorKind, operation: Operation, context: impl Into<String>) -> Self {
        Self {
            kind,
            retry: kind.usual_retry(),
            operation,
            context: context.into(),
            source: None,
        }
    }

    /// The conditional write did not apply.
    #[must_use]
    pub fn conflict(operation: Operation) -> Self {
        Self::new(
            ErrorKind::Conflict,
            operation,
            "the record changed since it was read; read it again",
        )
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Replaces the kind's usual retry class.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same operation may be sent again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.retry
    }

    /// What was being done.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// Whether a conditional write met another version.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.kind == ErrorKind::Conflict
    }

    /// Whether the backend could not be reached or did not answer in time, so that it is not known what it would have said.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Timeout)
    }

    /// Whether a [`CircuitBreakerStore`](super::CircuitBreakerStore) refused the operation, so that nothing was sent.
    #[must_use]
    pub fn is_circuit_open(&self) -> bool {
        self.source
            .as_ref()
            .is_some_and(|source| source.is::<super::CircuitOpen>())
    }

    /// Whether the write may have been applied although it failed.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        self.retry == Retry::OutcomeUnknown
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store {}: {}", self.operation, self.kind)?;
        if !self.context.is_empty() {
            write!(f, ": {}", self.context)?;
        }
        if self.is_outcome_unknown() {
            f.write_str(" (it may have been applied)")?;
        }
        Ok(())
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreError")
            .field("kind", &self.kind)
            .field("retry", &self.retry)
            .field("operation", &self.operation)
            .field("context", &self.context)
            .field("source", &self.source)
            .finish()
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<RandomError> for StoreError {
    fn from(source: RandomError) -> Self {
        Self::new(ErrorKind::Other, Operation::Put, "no random bytes for a version").with_source(source)
    }
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A conditional write met another version, or none.
    Conflict,
    /// The backend cannot do what the arguments ask.
    Unsupported,
    /// An argument or the configuration makes no sense.
    InvalidArgument,
    /// The payload is longer than the backend accepts.
    TooLarge,
    /// No answer within the time limit.
    Timeout,
    /// The backend cannot be reached, is busy or is starting.
    Unavailable,
    /// What is stored is not what this backend writes. It was left untouched.
    Corrupt,
    /// What is stored was written by a newer program. It was left untouched.
    NewerSchema,
    /// The backend refuses this user, or a file has unsafe permissions.
    PermissionDenied,
    /// There is no space left.
    Full,
    /// The backend accepts no writes.
    ReadOnly,
    /// The store was closed.
    Closed,
    /// Anything else.
    Other,
}

impl ErrorKind {
    fn usual_retry(self) -> Retry {
        match self {
            Self::Unavailable => Retry::Yes,
            Self::Timeout => Retry::OutcomeUnknown,
            _ => Retry::No,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conflict => "conflict",
            Self::Unsupported => "not supported",
            Self::InvalidArgument => "invalid argument",
            Self::TooLarge => "value too large",
            Self::Timeout => "timed out",
            Self::Unavailable => "unavailable",
            Self::Corrupt => "corrupt",
            Self::NewerSchema => "written by a newer version",
            Self::PermissionDenied => "permission denied",
            Self::Full => "no space left",
            Self::ReadOnly => "read-only",
            Self::Closed => "closed",
            Self::Other => "failed",
        })
    }
}

/// Whether the same operation may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// No: it would fail again.
    No,
    /// Yes: it was certainly not applied and may succeed later.
    Yes,
    /// It may have been applied. Nothing resends it; read and compare.
    OutcomeUnknown,
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Opening or connecting.
    Open,
    /// [`Store::get`](crate::store::Store::get).
    Get,
    /// [`Store::head`](crate::store::Store::head).
    Head,
    /// [`Store::put`](crate::store::Store::put).
    Put,
    /// [`Store::delete`](crate::store::Store::delete).
    Delete,
    /// [`Store::scan`](crate::store::Store::scan).
    Scan,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Get => "get",
            Self::Head => "head",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Scan => "scan",
        })
    }
}
