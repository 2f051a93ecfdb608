//! Where the servers are and how to use them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::random::{OsRandom, Random};
use cache_core::secret::{Secret, SecretBytes};
use cache_core::store::StoreError;
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::time::{Clock, SystemClock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::address::Address;
use crate::error::Failure;

const DEFAULT_KEY_PREFIX: &str = "tokenkeep:";

/// What [`RedisStore::open`](crate::RedisStore::open) opens. Only the URL is required.
///
/// ```
/// use std::time::Duration;
/// use cache_core::secret::Secret;
/// use cache_redis::{DurabilityMode, RedisConfig};
///
/// let config = RedisConfig::from_url("rediss-sentinel://sentinel-1,sentinel-2,sentinel-3/main")?
///     .username("front-end")
///     .password(Secret::new("from a secret manager"))
///     .key_prefix("tokens:")
///     .durability(DurabilityMode::Replicated { replicas: 1, timeout: Duration::from_millis(500) });
/// // Credentials are never shown.
/// assert!(!format!("{config:?}").contains("secret manager"));
/// # Ok::<(), cache_core::store::StoreError>(())
/// ```
#[derive(Clone)]
pub struct RedisConfig {
    pub(crate) address: Address,
    pub(crate) key_prefix: String,
    pub(crate) sentinel_username: Option<String>,
    pub(crate) sentinel_password: Option<Secret>,
    pub(crate) ca_certificates: Option<Vec<u8>>,
    pub(crate) client_certificate: Option<(Vec<u8>, SecretBytes)>,
    pub(crate) durability: DurabilityMode,
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) watch_ping_interval: Duration,
    pub(crate) require_server: bool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

impl RedisConfig {
    /// The servers at `url`:
    ///
    /// | URL | servers |
    /// |---|---|
    /// | `redis://[user:password@]host[:port][/database]` | one server |
    /// | `rediss://…` | one server, over TLS |
    /// | `redis+unix://[user:password@]/path/to/socket[?db=N]` | one server, by its unix socket |
    /// | `redis-sentinel://[user:password@]host[:port],…/SERVICE[/database]` | the primary that these Sentinels name |
    /// | `redis-cluster://[user:password@]host[:port],…` | the Cluster that these nodes belong to |
    /// | `rediss-sentinel://…`, `rediss-cluster://…` | the same, over TLS |
    ///
    /// The port is 6379, and 26379 for Sentinels. User and password are percent-encoded; rather than in
    /// a URL, which ends up in shell histories and process lists, give them to [`username`](Self::username) and
    /// [`password`](Self::password).
    ///
    /// # Errors
    /// `InvalidArgument` for a URL that is not like these. The error never shows the URL.
    pub fn from_url(url: &str) -> Result<Self, StoreError> {
        let address = Address::parse(url).map_err(|failure| failure.during(Operation::Open))?;
        Ok(Self {
            address,
            key_prefix: DEFAULT_KEY_PREFIX.to_owned(),
            sentinel_username: None,
            sentinel_password: None,
            ca_certificates: None,
            client_certificate: None,
            durability: DurabilityMode::Acknowledged,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(5),
            watch_ping_interval: Duration::from_secs(5),
            require_server: true,
            clock: Arc::new(SystemClock),
            random: Arc::new(OsRandom),
        })
    }

    /// What all Redis keys and channels of the store start with; `tokenkeep:` by default. Stores with different
    /// prefixes see nothing of each other. At most 128 bytes of printable ASCII without spaces and braces.
    #[must_use]
    pub fn key_prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.key_prefix);
        self
    }

    /// The ACL user; replaces that of the URL. Without one it is the server's `default` user.
    #[must_use]
    pub fn username(mut self, name: &str) -> Self {
        self.address.username = Some(name.to_owned());
        self
    }

    /// The user's password; replaces that of the URL.
    #[must_use]
    pub fn password(mut self, password: Secret) -> Self {
        self.address.password = Some(password);
        self
    }

    /// How to log in to the Sentinels, whose users are not those of the servers. They are asked without a login by
    /// default. An empty name is the `default` user.
    #[must_use]
    pub fn sentinel_login(mut self, username: &str, password: Secret) -> Self {
        self.sentinel_username = (!username.is_empty()).then(|| username.to_owned());
        self.sentinel_password = Some(password);
        self
    }

    /// The certificate authorities (PEM) that the servers' certificates must come from, *instead of* those of the
    /// operating system. Only with a TLS scheme.
    #[must_use]
    pub fn ca_certificates(mut self, pem: Vec<u8>) -> Self {
        self.ca_certificates = Some(pem);
        self
    }

    /// The certificate chain and its private key (PEM both) by which this client proves who it is. Only with a TLS
    /// scheme.
    #[must_use]
    pub fn client_certificate(mut self, pem: Vec<u8>, key_pem: SecretBytes) -> Self {
        self.client_certificate = Some((pem, key_pem));
        self
    }

    /// What a durable write waits for; [`DurabilityMode::Acknowledged`] by default.
    #[must_use]
    pub fn durability(mut self, mode: DurabilityMode) -> Self {
        self.durability = mode;
        self
    }

    /// How long connecting may take, TLS and login included; 5 s by default. In real time.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the server may take to answer one request; 5 s by default. In real time. A write that is not answered
    /// in time may have been applied.
    #[must_use]
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// How often the channel of changes is tested; 5 s by default. A connection that died without a word is noticed
    /// after this and the response timeout at the latest.
    #[must_use]
    pub fn watch_ping_interval(mut self, interval: Duration) -> Self {
        self.watch_ping_interval = interval;
        self
    }

    /// Whether [`RedisStore::open`](crate::RedisStore::open) fails while no server can be reached; true by default. With
    /// `false` the store opens, warns, and serves as soon as a server answers: for programs that must start during an
    /// outage, which a fallback store helps them through. What `open` else refuses (a login, a forbidden channel) then
    /// fails each operation, and [`eviction`](crate::RedisStore::eviction) stays unknown.
    #[must_use]
    pub fn require_server(mut self, require: bool) -> Self {
        self.require_server = require;
        self
    }

    /// Replaces the system's clock, which expiries are compared with.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Replaces the system's randomness, which versions are made of.
    #[must_use]
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    /// Whether the caller has chosen a key prefix.
    pub(crate) fn has_key_prefix(&self) -> bool {
        self.key_prefix != DEFAULT_KEY_PREFIX
    }

    pub(crate) fn validate(&self) -> Result<(), Failure> {
        let invalid = |context: &'static str| Err(Failure::new(ErrorKind::InvalidArgument, context));
        if !self.address.tls && (self.ca_certificates.is_some() || self.client_certificate.is_some()) {
            return invalid("certificates are given, but the URL's scheme is not one of TLS (rediss)");
        }
        let certificates = self
            .ca_certificates
            .iter()
            .chain(self.client_certificate.iter().map(|(chain, _)| chain));
        for pem in certificates {
            if CertificateDer::pem_slice_iter(pem)
                .next()
                .is_none_or(|first| first.is_err())
            {
                return invalid("the CA certificates or the client certificate are no PEM certificates");
            }
        }
        if self.address.username.is_some() && self.address.password.is_none() {
            return invalid("a user is given without a password");
        }
        if self.connect_timeout.is_zero() || self.response_timeout.is_zero() {
            return invalid("the timeouts must be longer than nothing");
        }
        if self.watch_ping_interval.is_zero() {
            return invalid("the ping interval must be longer than nothing");
        }
        if let DurabilityMode::Replicated { replicas, timeout } = self.durability {
            // WAIT takes 0 ms for "for ever".
            if replicas == 0 || timeout.as_millis() == 0 || i64::try_from(timeout.as_millis()).is_err() {
                return invalid(
                    "replicated durability needs at least one replica and a timeout of at least 1 ms",
                );
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("address", &self.address)
            .field("key_prefix", &self.key_prefix)
            .field("sentinel_username", &self.sentinel_username)
            .field("sentinel_password", &self.sentinel_password)
            .field("ca_certificates", &self.ca_certificates.is_some())
            .field("client_certificate", &self.client_certificate.is_some())
            .field("durability", &self.durability)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("require_server", &self.require_server)
            .field("watch_ping_interval", &self.watch_ping_interval)
            .finish_non_exhaustive()
    }
}

/// What a durable write and every delete wait for. [Relaxed](cache_core::store::Durability::Relaxed) puts never wait
/// for replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurabilityMode {
    /// The primary's answer. The write survives the end of this process. It is lost when the primary fails over
    /// before its replicas have it, and a crash of the server undoes what its persistence (`appendfsync`) had not
    /// written.
    Acknowledged,
    /// The primary's answer and, by `WAIT`, that of so many replicas. When they do not answer in time, the
    /// write fails with an outcome that is not known: it stands on the primary and may be lost by a failover.
    Replicated {
        /// How many replicas must have the write; at least 1.
        replicas: usize,
        /// How long they may take; at least 1 ms.
        timeout: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> RedisConfig {
        RedisConfig::from_url(url).unwrap()
    }

    #[test]
    fn nothing_secret_is_shown() {
        let config = config("rediss://user:canary-1@h")
            .sentinel_login("s", Secret::new("canary-2"))
            .client_certificate(b"pem".to_vec(), SecretBytes::new(b"canary-3".to_vec()));
        let shown = format!("{config:?}");
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let replicated = |replicas, timeout| DurabilityMode::Replicated { replicas, timeout };
        let second = Duration::from_secs(1);
        for config in [
            config("redis://h").ca_certificates(Vec::new()),
            config("rediss://h").ca_certificates(b"no certificate".to_vec()),
            config("redis://h").username("without-password"),
            config("redis://h").connect_timeout(Duration::ZERO),
            config("redis://h").response_timeout(Duration::ZERO),
            config("redis://h").watch_ping_interval(Duration::ZERO),
            config("redis://h").durability(replicated(0, second)),
            config("redis://h").durability(replicated(1, Duration::from_micros(999))),
        ] {
            let refused = config.validate().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidArgument, "{config:?}");
        }
        assert!(
            config("redis://h")
                .durability(replicated(2, second))
                .validate()
                .is_ok()
        );
    }
}
