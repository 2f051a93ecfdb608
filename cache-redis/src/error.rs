//! From what servers, sockets and TLS say to [`StoreError`].

use std::borrow::Cow;
use std::sync::Arc;

use cache_core::store::StoreError;
use cache_core::store::error::{ErrorKind, Operation, Retry};
use redis::{RedisError, ServerError};

use crate::address::Endpoint;
use crate::condition::{Redirection, classify, embedded_code, redirection, without_arguments};

/// Why a request failed, before it is known whose operation it was.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    kind: ErrorKind,
    retry: Option<Retry>,
    context: Cow<'static, str>,
    cause: Option<Cause>,
    /// The request was sent and not answered: a write may have been applied.
    unanswered: bool,
    redirection: Option<Redirection>,
}

/// The cause, in terms that are not another crate's.
#[derive(Clone, Debug, thiserror::Error)]
enum Cause {
    #[error("the server answered {code} {message}")]
    Server { code: Arc<str>, message: Arc<str> },
    #[error("{0}")]
    Driver(Arc<str>),
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            retry: None,
            context: context.into(),
            cause: None,
            unanswered: false,
            redirection: None,
        }
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the store was closed; open it again")
    }

    /// The server answered what this program does not understand.
    pub(crate) fn unexpected(what: &'static str) -> Self {
        Self::new(
            ErrorKind::Other,
            format!("the server's answer to {what} makes no sense"),
        )
    }

    /// What is stored under the key is not a record.
    pub(crate) fn foreign() -> Self {
        Self::new(
            ErrorKind::Corrupt,
            "the Redis key holds what is not a record of this store; it was left as it is: remove it, or choose another \
             key prefix",
        )
    }

    /// The configuration is refused before any connection.
    pub(crate) fn configuration(error: &RedisError) -> Self {
        let context = "the CA certificates, the client certificate or its key cannot be used";
        Self::new(ErrorKind::InvalidArgument, context).caused_by(error)
    }

    /// No connection came about, so nothing was sent.
    pub(crate) fn connecting(endpoint: &Endpoint, error: &RedisError) -> Self {
        if let Some(code) = error.code() {
            return Self::server(code, error.detail().unwrap_or_default()).at(endpoint);
        }
        if error.kind() == redis::ErrorKind::AuthenticationFailed {
            let context = "the server refuses the user name or the password";
            return Self::new(ErrorKind::PermissionDenied, context)
                .caused_by(error)
                .at(endpoint);
        }
        if matches!(
            error.kind(),
            redis::ErrorKind::Client | redis::ErrorKind::InvalidClientConfig
        ) {
            // Refused before anything was sent.
            let context = "the TLS configuration cannot be used; does the key belong to the certificate?";
            return Self::new(ErrorKind::InvalidArgument, context)
                .caused_by(error)
                .at(endpoint);
        }
        if let Some(tls) = tls_error(error) {
            return tls_failure(tls).at(endpoint);
        }
        let context = if error.is_timeout() {
            "no connection within the time limit; is the server reachable?"
        } else if error.is_connection_refusal() {
            "nothing listens there; is the server running?"
        } else {
            "no connection"
        };
        Self::new(ErrorKind::Unavailable, context)
            .caused_by(error)
            .at(endpoint)
    }

    /// The connection failed after the request had been handed to it.
    pub(crate) fn unanswered(endpoint: &Endpoint, error: &RedisError) -> Self {
        let (kind, context) = if error.is_timeout() {
            (ErrorKind::Timeout, "no answer within the time limit")
        } else if error.kind() == redis::ErrorKind::Parse {
            (
                ErrorKind::Other,
                "what answers there does not speak Redis' protocol",
            )
        } else {
            (ErrorKind::Unavailable, "the connection was lost")
        };
        Self {
            unanswered: true,
            ..Self::new(kind, context).caused_by(error).at(endpoint)
        }
    }

    /// The server answered with an error.
    pub(crate) fn server(code: &str, message: &str) -> Self {
        let message = without_arguments(message);
        // Redis 6.2 wraps the error of a command in a script: "ERR Error running script (...): @user_script:1: CODE ...".
        let code = match code {
            "ERR" if message.contains("@user_script") => embedded_code(message).unwrap_or(code),
            code => code,
        };
        let redirection = matches!(code, "MOVED" | "ASK")
            .then(|| redirection(message, code == "ASK"))
            .flatten();
        let (kind, retry, context) = classify(code, message);
        Self {
            retry,
            redirection,
            cause: Some(Cause::Server {
                code: code.into(),
                message: message.into(),
            }),
            ..Self::new(kind, context)
        }
    }

    #[must_use]
    pub(crate) fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Replaces the sentence.
    #[must_use]
    pub(crate) fn because(mut self, context: String) -> Self {
        self.context = context.into();
        self
    }

    /// Names the Redis key, where what is stored there is to blame.
    #[must_use]
    pub(crate) fn about(mut self, key: &str) -> Self {
        if self.kind == ErrorKind::Corrupt {
            self.context = format!("{key}: {}", self.context).into();
        }
        self
    }

    /// Names the server.
    #[must_use]
    pub(crate) fn at(mut self, endpoint: &Endpoint) -> Self {
        self.context = format!("{endpoint}: {}", self.context).into();
        self
    }

    fn caused_by(mut self, error: &RedisError) -> Self {
        self.cause = Some(Cause::Driver(without_arguments(&error.to_string()).into()));
        self
    }

    #[cfg(test)]
    pub(crate) fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where a Cluster has the slot.
    pub(crate) fn redirection(&self) -> Option<&Redirection> {
        self.redirection.as_ref()
    }

    pub(crate) fn has_code(&self, wanted: &str) -> bool {
        matches!(&self.cause, Some(Cause::Server { code, .. }) if **code == *wanted)
    }

    /// Whether the server does not know the command that begins a connection with RESP3.
    pub(crate) fn refuses_hello(&self) -> bool {
        let Some(Cause::Server { code, message }) = &self.cause else {
            return false;
        };
        &**code == "NOPROTO" || &**code == "ERR" && message.to_ascii_uppercase().contains("UNKNOWN COMMAND")
    }

    /// Whether the server could not be reached, or did not answer.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Timeout)
    }

    /// Whether another server may be in charge by now: this one is gone, was demoted, or lost sight of the others. One
    /// that is merely busy still is in charge.
    pub(crate) fn doubts_topology(&self) -> bool {
        match &self.cause {
            Some(Cause::Server { code, .. }) => {
                matches!(&**code, "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" | "NOAUTH")
            }
            Some(Cause::Driver(_)) | None => self.unanswered || self.kind == ErrorKind::Unavailable,
        }
    }

    /// The error to hand to a caller.
    pub(crate) fn during(&self, operation: Operation) -> StoreError {
        let mut error = StoreError::new(self.kind, operation, &*self.context);
        let writes = matches!(operation, Operation::Put | Operation::Delete);
        match self.retry {
            Some(retry) => error = error.with_retry(retry),
            None if self.unanswered && writes => error = error.with_retry(Retry::OutcomeUnknown),
            // A read that was not answered changed nothing.
            None if self.unanswered => error = error.with_retry(Retry::Yes),
            None => {}
        }
        match &self.cause {
            Some(cause) => error.with_source(cause.clone()),
            None => error,
        }
    }
}

impl From<&ServerError> for Failure {
    fn from(error: &ServerError) -> Self {
        Self::server(error.code(), error.details().unwrap_or_default())
    }
}

fn tls_error(error: &RedisError) -> Option<&rustls::Error> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        // Both hide themselves: their sources are those of what they hold.
        source = if let Some(shared) = error.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>() {
            Some(&**shared)
        } else if let Some(io) = error.downcast_ref::<std::io::Error>() {
            io.get_ref().map(|inner| inner as _)
        } else {
            error.source()
        };
    }
    None
}

fn tls_failure(error: &rustls::Error) -> Failure {
    use rustls::Error as E;
    let (kind, context) = match error {
        E::InvalidCertificate(_) | E::NoCertificatesPresented => (
            ErrorKind::PermissionDenied,
            "the server's certificate is not trusted; give its authority as a CA certificate, and use the host name \
             that it was made for",
        ),
        E::AlertReceived(_) => (
            ErrorKind::PermissionDenied,
            "the server ended the TLS handshake; does it want a client certificate, or another one?",
        ),
        _ => (
            ErrorKind::Unavailable,
            "the TLS handshake failed; does the server speak TLS on this port?",
        ),
    };
    Failure {
        cause: Some(Cause::Driver(error.to_string().into())),
        ..Failure::new(kind, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_that_the_server_repeats_is_not_shown() {
        let message = "unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'user' 'canary' ";
        let failure = Failure::server("ERR", message);
        assert!(failure.refuses_hello());
        assert!(!format!("{failure:?}").contains("canary"));
        let error = failure.during(Operation::Open);
        assert!(!format!("{error:?} {error}").contains("canary"));
    }

    #[test]
    fn an_unanswered_write_is_unknown_and_an_unanswered_read_is_not() {
        let endpoint = Endpoint::Unix("/run/redis.sock".into());
        let timed_out = std::io::Error::from(std::io::ErrorKind::TimedOut);
        let failure = Failure::unanswered(&endpoint, &timed_out.into());
        assert_eq!(failure.during(Operation::Put).retry(), Retry::OutcomeUnknown);
        assert_eq!(failure.during(Operation::Delete).retry(), Retry::OutcomeUnknown);
        assert_eq!(failure.during(Operation::Get).retry(), Retry::Yes);
        assert_eq!(failure.during(Operation::Get).kind(), ErrorKind::Timeout);
        assert!(failure.doubts_topology());
    }

    #[test]
    fn an_untrusted_certificate_is_named() {
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let error = RedisError::from(std::io::Error::new(std::io::ErrorKind::InvalidData, tls));
        let endpoint = Endpoint::Unix("/run/redis.sock".into());
        let failure = Failure::connecting(&endpoint, &error);
        assert_eq!(failure.kind(), ErrorKind::PermissionDenied);
        assert!(
            failure
                .during(Operation::Open)
                .to_string()
                .contains("certificate")
        );
    }
}
