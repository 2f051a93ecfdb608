//! How connections are made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cache_core::secret::Secret;
use cache_core::store::error::ErrorKind;
use cache_core::time::{Clock, with_deadline};
use redis::aio::{MultiplexedConnection, PubSub};
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, ProtocolVersion,
    PushInfo, PushKind, RedisConnectionInfo, TlsCertificates,
};
use rustls::crypto::CryptoProvider;

use crate::address::Endpoint;
use crate::config::RedisConfig;
use crate::error::Failure;

/// How long a connection is idle before the operating system probes it.
const IDLE: Duration = Duration::from_secs(30);

/// How often it probes then.
const PROBE: Duration = Duration::from_secs(10);

/// Makes connections to any server of the configuration.
pub(crate) struct Connector {
    tls: Option<TlsCertificates>,
    server: Login,
    sentinel: Login,
    connect_timeout: Duration,
    response_timeout: Duration,
    clock: Arc<dyn Clock>,
    /// The server refused RESP3.
    resp2: AtomicBool,
    /// The store is closed, and nobody may connect any more: neither who reads a listing on, nor who was connecting.
    closed: AtomicBool,
}

/// Who logs in, and to which database.
struct Login {
    username: Option<String>,
    password: Option<Secret>,
    database: u32,
}

/// A connection, and whether it is known to be broken.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) connection: MultiplexedConnection,
    pub(crate) broken: Arc<AtomicBool>,
}

impl Connector {
    pub(crate) fn new(config: &RedisConfig) -> Self {
        let client_tls = config
            .client_certificate
            .as_ref()
            .map(|(certificate, key)| ClientTlsConfig {
                client_cert: certificate.clone(),
                client_key: key.expose().to_vec(),
            });
        if config.address.tls && CryptoProvider::get_default().is_none() {
            // The driver asks for the process's provider, and would panic where features of other crates leave open which
            // that is. An error only says that somebody else was quicker.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        Self {
            tls: config.address.tls.then(|| TlsCertificates {
                client_tls,
                root_cert: config.ca_certificates.clone(),
            }),
            server: Login {
                username: config.address.username.clone(),
                password: config.address.password.clone(),
                database: config.address.database,
            },
            sentinel: Login {
                username: config.sentinel_username.clone(),
                password: config.sentinel_password.clone(),
                database: 0,
            },
            connect_timeout: config.connect_timeout,
            response_timeout: config.response_timeout,
            clock: Arc::clone(&config.clock),
            resp2: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// Refuses all connections from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// A connection whose requests may take `response_timeout`.
    pub(crate) async fn server(
        &self,
        endpoint: &Endpoint,
        response_timeout: Duration,
    ) -> Result<Live, Failure> {
        self.connect(endpoint, &self.server, response_timeout).await
    }

    pub(crate) async fn sentinel(&self, endpoint: &Endpoint) -> Result<Live, Failure> {
        self.connect(endpoint, &self.sentinel, self.response_timeout)
            .await
    }

    /// A connection that only listens.
    pub(crate) async fn pub_sub(&self, endpoint: &Endpoint) -> Result<PubSub, Failure> {
        let client = self.client(endpoint, &self.server)?;
        match with_deadline(&*self.clock, self.connect_timeout, client.get_async_pubsub()).await {
            Some(connected) => connected.map_err(|error| Failure::connecting(endpoint, &error)),
            None => {
                let context = "no connection within the time limit; is the server reachable?";
                Err(Failure::new(ErrorKind::Unavailable, context).at(endpoint))
            }
        }
    }

    async fn connect(&self, endpoint: &Endpoint, login: &Login, timeout: Duration) -> Result<Live, Failure> {
        if self.is_closed() {
            return Err(Failure::closed());
        }
        let spoke_resp2 = self.resp2.load(Ordering::Relaxed);
        match self.try_connect(endpoint, login, timeout).await {
            // Each of several that were refused at once tries again.
            Err(failure) if failure.refuses_hello() && !spoke_resp2 => {
                self.resp2.store(true, Ordering::Relaxed);
                self.try_connect(endpoint, login, timeout).await
            }
            other => other,
        }
    }

    async fn try_connect(
        &self,
        endpoint: &Endpoint,
        login: &Login,
        timeout: Duration,
    ) -> Result<Live, Failure> {
        let broken = Arc::new(AtomicBool::new(false));
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(timeout));
        if !self.resp2.load(Ordering::Relaxed) {
            let broken = Arc::clone(&broken);
            config = config.set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    broken.store(true, Ordering::Release);
                }
                Ok::<_, redis::aio::SendError>(())
            });
        }
        let connected = self
            .client(endpoint, login)?
            .get_multiplexed_async_connection_with_config(&config)
            .await;
        let connection = connected.map_err(|error| Failure::connecting(endpoint, &error))?;
        if self.is_closed() {
            return Err(Failure::closed());
        }
        Ok(Live { connection, broken })
    }

    fn client(&self, endpoint: &Endpoint, login: &Login) -> Result<Client, Failure> {
        let address = match endpoint {
            Endpoint::Tcp { host, port } if self.tls.is_some() => ConnectionAddr::TcpTls {
                host: host.clone(),
                port: *port,
                insecure: false,
                tls_params: None,
            },
            Endpoint::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
            Endpoint::Unix(path) => ConnectionAddr::Unix(path.clone()),
        };
        let protocol = if self.resp2.load(Ordering::Relaxed) {
            ProtocolVersion::RESP2
        } else {
            ProtocolVersion::RESP3
        };
        let mut settings = RedisConnectionInfo::default()
            .set_db(i64::from(login.database))
            .set_protocol(protocol)
            .set_lib_name("tokenkeep", env!("CARGO_PKG_VERSION"));
        if let Some(username) = &login.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &login.password {
            settings = settings.set_password(password.expose());
        }
        let invalid = |error: redis::RedisError| Failure::configuration(&error);
        let info = address
            .into_connection_info()
            .map_err(invalid)?
            .set_redis_settings(settings)
            .set_tcp_settings(tcp_settings());
        match &self.tls {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()).map_err(invalid),
            None => Client::open(info).map_err(invalid),
        }
    }
}

fn tcp_settings() -> TcpSettings {
    // An idle connection that a firewall forgot is noticed before a write is lost on it.
    let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(PROBE);
    // Without `nodelay`, small requests wait for the acknowledgement of the one before.
    TcpSettings::default().set_nodelay(true).set_keepalive(keepalive)
}
