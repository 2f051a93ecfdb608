//! What the errors of a server mean.

use cache_core::store::error::{ErrorKind, Retry};

use crate::address::Endpoint;

/// A Cluster node says that a slot is somewhere else. The request was certainly not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirection {
    pub(crate) slot: u16,
    pub(crate) to: Endpoint,
    /// Only this once (ASK), because the slot is moving.
    pub(crate) once: bool,
}

/// An unknown command is answered with its arguments, and those of a login are the password.
pub(crate) fn without_arguments(message: &str) -> &str {
    message
        .split(", with args beginning with")
        .next()
        .unwrap_or_default()
}

/// The code of the error that a script of Redis 6.2 ended with.
pub(crate) fn embedded_code(message: &str) -> Option<&str> {
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

pub(crate) fn redirection(message: &str, once: bool) -> Option<Redirection> {
    let mut words = message.split_ascii_whitespace();
    let slot = words.next()?.parse().ok()?;
    let to = Endpoint::from_redirection(words.next()?)?;
    Some(Redirection { slot, to, once })
}

/// What a server's error means (<https://redis.io/docs/latest/develop/reference/protocol-spec/>, and the table of
/// shared errors in Redis' `server.c`).
pub(crate) fn classify(code: &str, message: &str) -> (ErrorKind, Option<Retry>, &'static str) {
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

#[cfg(test)]
mod tests {
    use cache_core::store::error::Operation;

    use super::*;
    use crate::error::Failure;

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
    fn redirections_are_read() {
        let failure = Failure::server("MOVED", "3999 127.0.0.1:6381");
        let redirection = failure.redirection().unwrap();
        assert_eq!((redirection.slot, redirection.once), (3999, false));
        assert_eq!(redirection.to.to_string(), "127.0.0.1:6381");
        let failure = Failure::server("ASK", "7 ::1:6381");
        assert!(failure.redirection().unwrap().once);
    }
}
