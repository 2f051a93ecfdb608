//! Why a fake authority could not be started or asked for something.

use std::error::Error as StdError;

/// A fake authority could not be started, or a test asked it for something that it does not know.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The loopback address could not be bound, usually because the port is taken. Ask for port 0.
    #[error("the fake authority cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port that was asked for.
        port: u16,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A certificate, a TLS configuration or the signing key could not be made.
    #[error("the fake authority cannot make its {what}")]
    Cryptography {
        /// What was being made.
        what: &'static str,
        /// What the cryptographic library said.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A registered public key of a client is not an RSA or P-256 public key in PEM.
    #[error("the public key registered for client {client_id} is not an RSA or P-256 public key in PEM")]
    PublicKey {
        /// The client whose registration is wrong.
        client_id: String,
    },
    /// The configuration names no such user.
    #[error("the fake authority knows no user {username}; add it to `Config::users`")]
    UnknownUser {
        /// The name that was asked for.
        username: String,
    },
    /// No device code with this user code is waiting: it was never handed out, was answered, or has expired.
    #[error("no sign-in is waiting for the user code {user_code}")]
    UnknownUserCode {
        /// The code that was asked for.
        user_code: String,
    },
}

impl AuthorityError {
    pub(super) fn cryptography(
        what: &'static str,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::Cryptography {
            what,
            source: source.into(),
        }
    }
}
