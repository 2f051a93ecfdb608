//! What the servers say of themselves.

use cache_core::store::error::ErrorKind;
use redis::Value;

use crate::address::Endpoint;
use crate::connection::is_cluster;
use crate::error::Failure;
use crate::link::Link;

/// What [`RedisStore::describe`](crate::RedisStore::describe) tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// `redis` or `valkey`.
    pub product: String,
    /// The version of that product, as `7.0.15`.
    pub version: String,
    /// How the servers are arranged.
    pub arrangement: Arrangement,
    /// The primary, or each of a Cluster, as `host:port` or the path of a socket.
    pub primaries: Vec<String>,
    /// Whether that server takes writes: `false` for a replica.
    pub writable: bool,
    /// How many replicas are connected to the primary that has the fewest.
    pub connected_replicas: usize,
    /// Whether the server may remove records to make room.
    pub eviction: Eviction,
    /// Whether every primary writes a log of its changes (`appendonly`). Without one, a crash of a server undoes what came
    /// after its last snapshot, or everything.
    pub append_only_file: bool,
}

/// How the servers are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arrangement {
    /// One server, and maybe replicas that nothing fails over to by itself.
    Single,
    /// A primary that Sentinels choose.
    Sentinel,
    /// A Cluster.
    Cluster,
}

/// Whether the server may remove records to make room: `maxmemory-policy`. A record that was evicted is a user who has to
/// sign in again, and an evicted index hides records from scans until they are next written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Eviction {
    /// Never: the policy is `noeviction`, or the memory has no limit. The only right setting.
    Never,
    /// Records with an expiry only (`volatile-…`).
    Expiring,
    /// Any record (`allkeys-…`).
    Any,
    /// The user may not ask (`INFO`).
    Unknown,
}

impl Eviction {
    fn of(policy: Option<&str>, limit: Option<&str>) -> Self {
        match (policy, limit) {
            (Some("noeviction"), _) | (Some(_), Some("0")) => Self::Never,
            (Some(policy), _) if policy.starts_with("volatile-") => Self::Expiring,
            (Some(_), _) => Self::Any,
            (None, _) => Self::Unknown,
        }
    }

    /// The worse of two.
    pub(crate) fn or(self, other: Self) -> Self {
        let severity = |eviction| match eviction {
            Self::Never => 0,
            Self::Unknown => 1,
            Self::Expiring => 2,
            Self::Any => 3,
        };
        if severity(self) >= severity(other) {
            self
        } else {
            other
        }
    }
}

/// The answer to `INFO` of one server.
pub(crate) struct Info(String);

impl Info {
    pub(crate) async fn ask(link: &Link) -> Result<Self, Failure> {
        Ok(Self(text(link.call(&redis::cmd("INFO")).await?)?))
    }

    /// Refuses what this crate cannot work with.
    pub(crate) fn check(&self, endpoint: &Endpoint, arrangement: Arrangement) -> Result<(), Failure> {
        match self.field("redis_mode") {
            Some("cluster") if arrangement != Arrangement::Cluster => return Err(is_cluster(endpoint)),
            Some("sentinel") => {
                let context = "the server is a Sentinel; use a redis-sentinel:// URL";
                return Err(Failure::new(ErrorKind::InvalidArgument, context).at(endpoint));
            }
            _ => {}
        }
        // Valkey says which Redis it is compatible with.
        let version = self.field("redis_version").unwrap_or_default();
        if is_older_than_6_2(version) {
            let context = format!("Redis {version} is too old; it must be 6.2 or newer");
            return Err(Failure::new(ErrorKind::Unsupported, context).at(endpoint));
        }
        Ok(())
    }

    pub(crate) fn product(&self) -> &str {
        self.field("server_name").unwrap_or("redis")
    }

    pub(crate) fn version(&self) -> &str {
        let valkey = self.field("valkey_version");
        valkey.or_else(|| self.field("redis_version")).unwrap_or_default()
    }

    pub(crate) fn is_primary(&self) -> bool {
        self.field("role") == Some("master")
    }

    pub(crate) fn connected_replicas(&self) -> usize {
        self.field("connected_slaves")
            .and_then(|count| count.parse().ok())
            .unwrap_or(0)
    }

    pub(crate) fn has_append_only_file(&self) -> bool {
        self.field("aof_enabled") == Some("1")
    }

    pub(crate) fn eviction(&self) -> Eviction {
        Eviction::of(self.field("maxmemory_policy"), self.field("maxmemory"))
    }

    fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.0.lines().filter_map(|line| line.split_once(':'));
        lines.find_map(|(field, value)| (field == name).then_some(value))
    }
}

fn is_older_than_6_2(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < (6, 2),
        // Whoever counts otherwise is newer.
        _ => false,
    }
}

/// A long text, which RESP2 and RESP3 have different types for.
pub(crate) fn text(value: Value) -> Result<String, Failure> {
    match value {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Value::VerbatimString { text, .. } | Value::SimpleString(text) => Ok(text),
        _ => Err(Failure::unexpected("INFO")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eviction_is_read_from_policy_and_limit() {
        for (policy, limit, eviction) in [
            ("noeviction", "100", Eviction::Never),
            ("allkeys-lru", "0", Eviction::Never),
            ("allkeys-lru", "100", Eviction::Any),
            ("volatile-ttl", "100", Eviction::Expiring),
        ] {
            assert_eq!(
                Eviction::of(Some(policy), Some(limit)),
                eviction,
                "{policy} {limit}"
            );
        }
        assert_eq!(Eviction::of(None, None), Eviction::Unknown);
        assert_eq!(
            Eviction::Never.or(Eviction::Any).or(Eviction::Unknown),
            Eviction::Any
        );
    }

    #[test]
    fn old_servers_and_wrong_modes_are_refused() {
        let endpoint = Endpoint::Unix("/s".into());
        let info = |text: &str| Info(text.to_owned());
        let kind = |text: &str, arrangement| info(text).check(&endpoint, arrangement).map_err(|f| f.kind());
        let single = Arrangement::Single;
        assert_eq!(
            kind("redis_version:6.2.0\r\nredis_mode:standalone\r\n", single),
            Ok(())
        );
        assert_eq!(kind("redis_version:10.0.0\r\n", single), Ok(()));
        assert_eq!(
            kind("redis_version:6.0.16\r\n", single),
            Err(ErrorKind::Unsupported)
        );
        assert_eq!(
            kind("redis_mode:cluster\r\n", single),
            Err(ErrorKind::InvalidArgument)
        );
        assert_eq!(kind("redis_mode:cluster\r\n", Arrangement::Cluster), Ok(()));
        assert_eq!(
            kind("redis_mode:sentinel\r\n", single),
            Err(ErrorKind::InvalidArgument)
        );
        let valkey = info("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\n");
        assert_eq!((valkey.product(), valkey.version()), ("valkey", "8.1.1"));
    }
}
