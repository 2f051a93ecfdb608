//! From what servers, sockets and TLS say to [`StoreError`].

use std::borrow::Cow;
use std::sync::Arc;

use cache_core::store::StoreError;
use cache_core::store::error::{ErrorKind, Operation, Retry};
use redis::RedisError;

use crate::address::Endpoint;

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

/// A Cluster node says that a slot is somewhere else. The request was certainly not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirection {
    pub(crate) slot: u16,
    pub(crate) to: Endpoint,
    /// Only this once (ASK), because the slot is moving.
    pub(crate) once: bool,
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
        if let Some(tls) = tls_error(error) {
            return tls_failure(tls).at(endpoint);
        }
        if error.kind() == redis::ErrorKind::Client {
            // rustls refused the configuration before anything was sent.
            let context = "the TLS configuration cannot be used";
            return Self::new(ErrorKind::InvalidArgument, context)
                .caused_by(error)
                .at(endpoint);
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

    /// Whether the server is the wrong one by now: it was demoted, it lost its primary, or nothing is known of it.
    pub(crate) fn doubts_topology(&self) -> bool {
        self.unanswered
            || self.kind == ErrorKind::Unavailable
            || ["READONLY", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH"]
                .iter()
                .any(|code| self.has_code(code))
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

/// An unknown command is answered with its arguments, and those of a login are the password.
fn without_arguments(message: &str) -> &str {
    message
        .split(", with args beginning with")
        .next()
        .unwrap_or_default()
}

/// The code of the error that a script of Redis 6.2 ended with.
fn embedded_code(message: &str) -> Option<&str> {
    let codes = [
        "OOM",
        "READONLY",
        "WRONGTYPE",
        "NOPERM",
        "MISCONF",
        "NOREPLICAS",
        "MASTERDOWN",
    ];
    let mut words = message.split(|byte: char| !byte.is_ascii_uppercase());
    words.find(|word| codes.contains(word)).or_else(|| {
        // Two of its messages have no code.
        (message.contains("can't run this command") || message.contains("can't publish")).then_some("NOPERM")
    })
}

fn redirection(message: &str, once: bool) -> Option<Redirection> {
    let mut words = message.split_ascii_whitespace();
    let slot = words.next()?.parse().ok()?;
    let to = Endpoint::from_redirection(words.next()?)?;
    Some(Redirection { slot, to, once })
}

/// What a server's error means (<https://redis.io/docs/latest/develop/reference/protocol-spec/>, and the table of
/// shared errors in Redis' `server.c`).
fn classify(code: &str, message: &str) -> (ErrorKind, Option<Retry>, &'static str) {
    use ErrorKind as K;
    match code {
        "OOM" => (
            K::Full,
            None,
            "the server's memory is used up (maxmemory); raise the limit or remove what is not needed",
        ),
        // Certainly not applied; the next attempt asks anew who the primary is.
        "READONLY" => (
            K::ReadOnly,
            Some(Retry::Yes),
            "the server is a replica, or was demoted to one; try again, or connect to the primary",
        ),
        "LOADING" => (
            K::Unavailable,
            None,
            "the server is loading its data; try again later",
        ),
        "MASTERDOWN" => (
            K::Unavailable,
            None,
            "the replica has lost its primary; try again later",
        ),
        "BUSY" => (
            K::Unavailable,
            None,
            "somebody's script blocks the server; SCRIPT KILL ends it",
        ),
        "CLUSTERDOWN" => (
            K::Unavailable,
            None,
            "the Cluster has a slot without a primary; try again later",
        ),
        "TRYAGAIN" => (
            K::Unavailable,
            None,
            "the slot is moving to another node; try again",
        ),
        "MOVED" | "ASK" => (
            K::Unavailable,
            None,
            "the slot is at another node; if the URL is not one of redis-cluster://, use that",
        ),
        "NOREPLICAS" => (
            K::Unavailable,
            None,
            "the server has fewer replicas than its min-replicas-to-write; try again later",
        ),
        "MISCONF" => (
            K::Full,
            None,
            "the server cannot save to its disk and refuses writes; free some space there",
        ),
        "NOPERM" => (
            K::PermissionDenied,
            None,
            "the user may not do this; see the permissions in the documentation of cache-redis",
        ),
        "NOAUTH" => (
            K::PermissionDenied,
            None,
            "the server wants a login; give a user name and a password",
        ),
        "WRONGPASS" => (
            K::PermissionDenied,
            None,
            "the server refuses the user name or the password",
        ),
        "DENIED" => (
            K::PermissionDenied,
            None,
            "the server is in protected mode, which lets in local connections only; give it a password",
        ),
        "WRONGTYPE" => (
            K::Corrupt,
            None,
            "the Redis key holds what is not a record of this store; it was left as it is: remove it, or choose another \
             key prefix",
        ),
        "ERR"
            if message.contains("max number of clients") || message.contains("max + cluster connections") =>
        {
            (
                K::Unavailable,
                None,
                "the server has no connection left (maxclients); try again later",
            )
        }
        "ERR"
            if message.contains("DB index is out of range") || message.contains("SELECT is not allowed") =>
        {
            (
                K::InvalidArgument,
                None,
                "the server has no database of this number",
            )
        }
        "ERR" if message.contains("invalid DB index") => (
            K::InvalidArgument,
            None,
            "the server has no database of this number",
        ),
        "ERR" if message.to_ascii_lowercase().contains("unknown command") => (
            K::Unsupported,
            None,
            "the server does not know a command; it must be Redis 6.2 or Valkey 7.2, or newer",
        ),
        "ERR" if message.contains("cluster support disabled") => (
            K::InvalidArgument,
            None,
            "the server is not part of a Cluster; use a redis:// URL",
        ),
        _ => (K::Other, None, "the server refuses the request"),
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
    fn every_server_condition_has_its_kind() {
        use ErrorKind as K;
        let cases = [
            ("OOM", "command not allowed", K::Full, Retry::No),
            (
                "READONLY",
                "You can't write against a read only replica.",
                K::ReadOnly,
                Retry::Yes,
            ),
            (
                "LOADING",
                "Redis is loading the dataset in memory",
                K::Unavailable,
                Retry::Yes,
            ),
            (
                "MASTERDOWN",
                "Link with MASTER is down",
                K::Unavailable,
                Retry::Yes,
            ),
            (
                "BUSY",
                "Redis is busy running a script.",
                K::Unavailable,
                Retry::Yes,
            ),
            ("CLUSTERDOWN", "The cluster is down", K::Unavailable, Retry::Yes),
            (
                "TRYAGAIN",
                "Multiple keys request during rehashing of slot",
                K::Unavailable,
                Retry::Yes,
            ),
            (
                "NOREPLICAS",
                "Not enough good replicas to write.",
                K::Unavailable,
                Retry::Yes,
            ),
            (
                "MISCONF",
                "Redis is configured to save RDB snapshots",
                K::Full,
                Retry::No,
            ),
            (
                "NOPERM",
                "No permissions to access a key",
                K::PermissionDenied,
                Retry::No,
            ),
            (
                "NOAUTH",
                "Authentication required.",
                K::PermissionDenied,
                Retry::No,
            ),
            (
                "WRONGPASS",
                "invalid username-password pair",
                K::PermissionDenied,
                Retry::No,
            ),
            (
                "DENIED",
                "Redis is running in protected mode",
                K::PermissionDenied,
                Retry::No,
            ),
            ("WRONGTYPE", "Operation against a key", K::Corrupt, Retry::No),
            ("ERR", "max number of clients reached", K::Unavailable, Retry::Yes),
            ("ERR", "DB index is out of range", K::InvalidArgument, Retry::No),
            ("ERR", "unknown command 'HMGET'", K::Unsupported, Retry::No),
            (
                "ERR",
                "This instance has cluster support disabled",
                K::InvalidArgument,
                Retry::No,
            ),
            ("ERR", "something new", K::Other, Retry::No),
        ];
        for (code, message, kind, retry) in cases {
            let error = Failure::server(code, message).during(Operation::Put);
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{code} {message}");
        }
    }

    #[test]
    fn errors_inside_a_script_of_an_old_server_are_found() {
        let cases = [
            (
                "Error running script (call to f_1): @user_script:22: @user_script: 22: -OOM command not allowed when used \
                 memory > 'maxmemory'.",
                ErrorKind::Full,
            ),
            (
                "Error running script (call to f_1): @user_script:9: WRONGTYPE Operation against a key holding",
                ErrorKind::Corrupt,
            ),
            (
                "Error running script (call to f_1): @user_script:9: The user executing the script can't publish to the \
                 channel mentioned in the script",
                ErrorKind::PermissionDenied,
            ),
        ];
        for (message, kind) in cases {
            assert_eq!(Failure::server("ERR", message).kind(), kind, "{message}");
        }
    }

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
    fn redirections_are_read() {
        let failure = Failure::server("MOVED", "3999 127.0.0.1:6381");
        let redirection = failure.redirection().unwrap();
        assert_eq!((redirection.slot, redirection.once), (3999, false));
        assert_eq!(redirection.to.to_string(), "127.0.0.1:6381");
        let failure = Failure::server("ASK", "7 ::1:6381");
        assert!(failure.redirection().unwrap().once);
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
