//! What a resource answers when it wants another token: `WWW-Authenticate`, claims challenges, nonces.
//!
//! A resource that evaluates access continuously (CAE) accepts a long-lived token until something happens: the user's
//! password changes, the network does, an administrator revokes a session. It then answers 401 with a *claims challenge*,
//! and the next token has to be asked for with those claims. Two things are needed: the client says that it can handle this
//! ([`client_capabilities`](crate::client::ClientBuilder::client_capabilities) with `cp1`), and the caller passes the
//! challenge on ([`BearerChallenge`]).

mod bearer;
mod claims_request;
mod nonce;
mod parser;

pub use bearer::BearerChallenge;
pub(crate) use claims_request::{ClientCapabilities, check as check_claims};
pub use nonce::{next_nonce, nonce};
pub use parser::Challenge;

/// Why a challenge could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChallengeError {
    /// A header is not what RFC 9110 describes.
    #[error("the resource's WWW-Authenticate header cannot be read")]
    Malformed,
    /// A header, a list in it or its claims are longer than any honest one.
    #[error("the resource's WWW-Authenticate header is too long")]
    TooLong,
    /// The claims are no JSON object in base64.
    #[error("the claims that the resource asks for cannot be read")]
    Claims,
}

#[cfg(test)]
mod tests;
