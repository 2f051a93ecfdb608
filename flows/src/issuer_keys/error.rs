//! Why an issuer's keys could not be had.

use std::fmt;

use crate::http::HttpError;

/// The keys that would verify an ID token's signature could not be had, so the token is not believed.
#[derive(Debug)]
pub struct IssuerKeysError {
    kind: IssuerKeysErrorKind,
    host: String,
    source: Option<HttpError>,
}

/// Why the keys could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IssuerKeysErrorKind {
    /// The authority's metadata names no keys (`jwks_uri`).
    NotOffered,
    /// There was no complete reply.
    Unreachable,
    /// They could not be had a moment ago, and are not asked for again so soon.
    JustFailed,
    /// The reply was this HTTP status.
    Status(u16),
    /// The reply was a redirect, which is never followed.
    Redirected,
    /// The reply was no key set.
    Unreadable,
}

impl IssuerKeysError {
    pub(super) fn new(kind: IssuerKeysErrorKind, host: impl Into<String>) -> Self {
        Self {
            kind,
            host: host.into(),
            source: None,
        }
    }

    pub(super) fn unreachable(source: HttpError) -> Self {
        Self {
            source: Some(source),
            ..Self::new(IssuerKeysErrorKind::Unreachable, "")
        }
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> IssuerKeysErrorKind {
        self.kind
    }
}

impl fmt::Display for IssuerKeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the signature of the ID token cannot be checked: ")?;
        let host = &self.host;
        match self.kind {
            IssuerKeysErrorKind::NotOffered => write!(f, "the metadata of {host} names no keys (jwks_uri)"),
            IssuerKeysErrorKind::Unreachable => {
                f.write_str("the issuer's keys could not be fetched; try again later")
            }
            IssuerKeysErrorKind::JustFailed => {
                write!(
                    f,
                    "the keys at {host} could not be fetched a moment ago; try again later"
                )
            }
            IssuerKeysErrorKind::Status(status) => {
                write!(f, "{host} answered with HTTP status {status} instead of its keys")
            }
            IssuerKeysErrorKind::Redirected => {
                write!(
                    f,
                    "{host} answered with a redirect instead of its keys, which is never followed"
                )
            }
            IssuerKeysErrorKind::Unreadable => write!(f, "what {host} names as its keys is no key set"),
        }
    }
}

impl std::error::Error for IssuerKeysError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
