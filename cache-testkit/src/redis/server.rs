//! One server.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cache_core::secret::Secret;
use cache_core::time::{Clock, SystemClock};
use rustix::process::Signal;

use super::cli::Administrator;
use super::process::Process;
use super::tls::{Certificates, ClientCertificate};
use super::{Error, RedisServerBuilder};

pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// A server is ready after a few milliseconds and Sentinels agree after some seconds; on a loaded machine it takes longer.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// A running server. Its process and its files end when this is dropped.
pub struct RedisServer {
    process: Process,
    endpoint: Endpoint,
    port: u16,
    administrator: Administrator,
    /// Whether the default user is off.
    is_protected: bool,
    certificates: Option<Certificates>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Tcp,
    Tls,
    Socket,
}

impl RedisServer {
    /// Redis on a free port of 127.0.0.1, without persistence and passwords.
    ///
    /// # Errors
    /// As [`RedisServerBuilder::start`].
    pub async fn start() -> Result<Self, Error> {
        Self::builder().start().await
    }

    /// Another kind of server.
    pub fn builder() -> RedisServerBuilder {
        RedisServerBuilder::default()
    }

    pub(super) fn new(
        process: Process,
        endpoint: Endpoint,
        port: u16,
        administrator: Administrator,
        is_protected: bool,
        certificates: Option<Certificates>,
    ) -> Self {
        Self {
            process,
            endpoint,
            port,
            administrator,
            is_protected,
            certificates,
        }
    }

    /// The URL of the server, without user and password: `redis://`, `rediss://` or `redis+unix://`.
    #[must_use]
    pub fn url(&self) -> String {
        match self.endpoint {
            Endpoint::Tcp => format!("redis://127.0.0.1:{}", self.port),
            Endpoint::Tls => format!("rediss://127.0.0.1:{}", self.port),
            Endpoint::Socket => format!("redis+unix://{}", self.socket_path().display()),
        }
    }

    /// Its port on 127.0.0.1. It says nothing where the server has a socket only.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address on 127.0.0.1.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its unix socket. Every server has one, for [`command`](Self::command).
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        self.process.folder().join("server.sock")
    }

    /// The certificate of the authority that signed the server's, PEM; `None` without TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.certificates
            .as_ref()
            .map(|certificates| certificates.ca_pem.as_str())
    }

    /// A certificate that the server accepts from clients; `None` without TLS.
    #[must_use]
    pub fn client_certificate(&self) -> Option<ClientCertificate> {
        self.certificates
            .as_ref()
            .map(|certificates| certificates.client.clone())
    }

    /// The folder with its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.process.folder()
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Executes a command as an administrator and returns the reply as `redis-cli` prints it: a line for each element.
    ///
    /// # Errors
    /// [`Error::Command`] with the server's refusal, or when it does not run; [`Error::Unanswered`] while it is paused.
    pub async fn command(&self, arguments: &[&str]) -> Result<String, Error> {
        self.administrator.command(arguments).await
    }

    /// Ends the server as its service would (`SIGTERM`), so that it writes what it must, and waits.
    ///
    /// # Errors
    /// [`Error::Signal`] when it does not run, [`Error::NotReached`] when it does not end.
    pub async fn stop(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::TERM, "SIGTERM")?;
        let mut waited = Duration::ZERO;
        while self.process.is_running() {
            waited = wait(waited, "the server's end").await?;
        }
        self.process.kill();
        Ok(())
    }

    /// Kills the server (`SIGKILL`) and waits until it is gone. A dead server stays dead.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Whether the process is there, paused or not.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Stops the process in its tracks (`SIGSTOP`): connections stay open, and nothing is answered.
    ///
    /// # Errors
    /// [`Error::Signal`] when it does not run.
    pub fn pause(&self) -> Result<(), Error> {
        self.process.signal(Signal::STOP, "SIGSTOP")
    }

    /// Ends a [`pause`](Self::pause).
    ///
    /// # Errors
    /// [`Error::Signal`] when it does not run.
    pub fn resume(&self) -> Result<(), Error> {
        self.process.signal(Signal::CONT, "SIGCONT")
    }

    /// Starts the server again where it was, with the configuration that it had at the end, and waits until it answers.
    ///
    /// # Errors
    /// [`Error::NotReady`] when it ended or loads its data for too long.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.launch()?;
        let mut waited = Duration::ZERO;
        while self.command(&["PING"]).await.ok().as_deref() != Some("PONG") {
            if !self.process.is_running() {
                return Err(self.process.not_ready());
            }
            waited = wait(waited, "").await.map_err(|_| self.process.not_ready())?;
        }
        Ok(())
    }

    /// As [`restart`](Self::restart), without waiting: the server may still load its data.
    ///
    /// # Errors
    /// [`Error::Start`] when the program is gone.
    pub fn launch(&mut self) -> Result<(), Error> {
        self.process.launch()
    }

    /// Adds a line to the configuration, for the next start. The last line of a name counts.
    pub(super) fn add_directive(&self, line: &str) -> Result<(), Error> {
        self.process.add_directive(line)
    }

    /// What a replica must know of a server whose default user is off.
    pub(super) fn replication_password(&self) -> Option<Secret> {
        match &self.administrator {
            Administrator::Socket { password, .. } if self.is_protected => Some(password.clone()),
            _ => None,
        }
    }
}

impl fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisServer")
            .field("program", &self.process.program())
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

/// Pauses, and counts how long it has been.
pub(super) async fn wait(waited: Duration, state: &'static str) -> Result<Duration, Error> {
    if waited > LIMIT {
        return Err(Error::NotReached { state });
    }
    SystemClock.sleep(PAUSE).await;
    Ok(waited + PAUSE)
}
