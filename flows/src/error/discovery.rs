//! Why metadata was refused.

use std::fmt;

/// Why an authority's metadata was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryError {
    kind: DiscoveryErrorKind,
    host: String,
}

impl DiscoveryError {
    pub(crate) fn new(kind: DiscoveryErrorKind, host: &str) -> Self {
        Self {
            kind,
            host: host.to_owned(),
        }
    }

    /// What is wrong with it.
    #[must_use]
    pub fn kind(&self) -> &DiscoveryErrorKind {
        &self.kind
    }
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the metadata of {} is refused: ", self.host)?;
        match &self.kind {
            DiscoveryErrorKind::Status(status) => {
                write!(f, "HTTP status {status}; check the authority's URL")
            }
            DiscoveryErrorKind::Redirected => f.write_str("it redirects; check the authority's URL"),
            DiscoveryErrorKind::Unreadable => f.write_str("it is no JSON object"),
            DiscoveryErrorKind::Missing(name) => write!(f, "it has no `{name}`"),
            DiscoveryErrorKind::Issuer(found) => {
                write!(
                    f,
                    "it names the issuer `{found}`, which is not the one that was asked"
                )
            }
            DiscoveryErrorKind::Endpoint(name) => {
                write!(f, "its `{name}` is no HTTPS URL that the authority may name")
            }
            DiscoveryErrorKind::NotOffered(name) => {
                write!(f, "it has no `{name}`, so the authority does not offer this flow")
            }
            DiscoveryErrorKind::NoS256 => f.write_str("it offers PKCE, but not by S256"),
        }
    }
}

impl std::error::Error for DiscoveryError {}

/// What is wrong with an authority's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiscoveryErrorKind {
    /// The document could not be had: the HTTP status.
    Status(u16),
    /// The document's address redirects.
    Redirected,
    /// The document is no JSON object.
    Unreadable,
    /// A required member is missing.
    Missing(&'static str),
    /// It speaks for another issuer: the one that it names.
    Issuer(String),
    /// An endpoint is not one that the authority may name.
    Endpoint(&'static str),
    /// The flow needs an endpoint that the authority does not have.
    NotOffered(&'static str),
    /// PKCE is offered, but only by a method that protects nothing.
    NoS256,
}
