//! A primary, its replicas, and the Sentinels that watch them.

use std::fmt;
use std::time::Duration;

use rustix::process::Signal;

use super::cli::Administrator;
use super::process::{Process, base_configuration};
use super::replication::{field, streaming_replicas};
use super::server::wait;
use super::{Error, Program, RedisServer, port};
use crate::proxy::Proxy;

/// The name that the Sentinels know the primary by.
pub const SERVICE: &str = "tokenkeep";

const ATTEMPTS: usize = 5;

/// Servers of which one is the primary, and Sentinels that choose another when it is gone. All end when this is dropped.
///
/// A primary is taken for dead after a second. On a machine that is so busy that a live server does not answer for that
/// long, the Sentinels replace it too.
pub struct Sentinels {
    sentinels: Vec<Sentinel>,
    servers: Vec<RedisServer>,
    /// In front of each server, if any; nobody but this test's clients reaches it by another way.
    proxies: Vec<Proxy>,
}

/// One Sentinel.
#[derive(Debug)]
struct Sentinel {
    // It ends with this.
    process: Process,
    port: u16,
    administrator: Administrator,
}

impl Sentinels {
    /// A primary with `replicas`, and as many `sentinels`, of which the majority decides. Returns when every Sentinel
    /// knows of everybody.
    ///
    /// # Errors
    /// As [`RedisServerBuilder::start`](super::RedisServerBuilder::start); [`Error::NotReached`] when they do not find
    /// each other.
    pub async fn start(replicas: usize, sentinels: usize) -> Result<Self, Error> {
        let mut servers = vec![RedisServer::start().await?];
        for _ in 0..replicas {
            servers.push(RedisServer::builder().replica_of(&servers[0]).start().await?);
        }
        Self::watched(servers, Vec::new(), sentinels).await
    }

    /// As [`start`](Self::start), but replicas, Sentinels and whoever asks those reach each server through a proxy, so that it
    /// can be [cut off](Self::cut_off) while clients at its own [`url`](RedisServer::url) still reach it.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with_proxies(replicas: usize, sentinels: usize) -> Result<Self, Error> {
        let (mut servers, mut proxies) = (Vec::new(), Vec::<Proxy>::new());
        for _ in 0..=replicas {
            let server = RedisServer::builder().directive("replica-announce-ip", "127.0.0.1");
            let server = server.start().await?;
            let proxy = Proxy::start(server.address()).await;
            let proxy = proxy.map_err(Error::start("the proxy"))?;
            let port = proxy.address().port().to_string();
            server
                .command(&["CONFIG", "SET", "replica-announce-port", &port])
                .await?;
            // Not before: a replica says once where it is.
            if let Some(primary) = proxies.first() {
                let primary = primary.address().port().to_string();
                server.command(&["REPLICAOF", "127.0.0.1", &primary]).await?;
            }
            servers.push(server);
            proxies.push(proxy);
        }
        Self::watched(servers, proxies, sentinels).await
    }

    async fn watched(
        servers: Vec<RedisServer>,
        proxies: Vec<Proxy>,
        sentinels: usize,
    ) -> Result<Self, Error> {
        let mut topology = Self {
            sentinels: Vec::new(),
            servers,
            proxies,
        };
        for _ in 0..sentinels {
            let sentinel = Sentinel::start(topology.port(0), sentinels / 2 + 1).await?;
            topology.sentinels.push(sentinel);
        }
        topology.wait_until_whole().await?;
        Ok(topology)
    }

    /// `redis-sentinel://` with every Sentinel and the service's name.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self
            .sentinels
            .iter()
            .map(|sentinel| format!("127.0.0.1:{}", sentinel.port))
            .collect();
        format!("redis-sentinel://{}/{SERVICE}", hosts.join(","))
    }

    /// The servers, the first primary first. Their order never changes.
    #[must_use]
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The same, to end or restart them.
    pub fn servers_mut(&mut self) -> &mut [RedisServer] {
        &mut self.servers
    }

    /// Which of the [`servers`](Self::servers) the first Sentinel calls the primary.
    ///
    /// # Errors
    /// [`Error::Command`] when that Sentinel does not answer; [`Error::Unknown`] when it names somebody else.
    pub async fn primary(&self) -> Result<usize, Error> {
        match self.sentinels.first() {
            Some(sentinel) => self.index_at(sentinel.primary_port().await?),
            None => Err(unknown("a Sentinel")),
        }
    }

    /// Kills the primary (`SIGKILL`) and says which of the [`servers`](Self::servers) it was.
    ///
    /// # Errors
    /// As [`primary`](Self::primary).
    pub async fn kill_primary(&mut self) -> Result<usize, Error> {
        let primary = self.primary().await?;
        self.servers[primary].kill();
        Ok(primary)
    }

    /// Has the Sentinels replace the primary although nothing is wrong with it, as before a maintenance: it goes on as a
    /// replica. Says which of the [`servers`](Self::servers) it was; [`wait_until_whole`](Self::wait_until_whole) waits until
    /// it is one.
    ///
    /// # Errors
    /// As [`primary`](Self::primary), and [`wait_for_new_primary`](Self::wait_for_new_primary).
    pub async fn fail_over(&self) -> Result<usize, Error> {
        let old = self.primary().await?;
        let sentinel = self.sentinels.first().ok_or_else(|| unknown("a Sentinel"))?;
        sentinel
            .administrator
            .command(&["SENTINEL", "FAILOVER", SERVICE])
            .await?;
        self.wait_for_new_primary(old).await?;
        Ok(old)
    }

    /// Has all Sentinels let in only who knows `password`. They cannot be asked for anything here afterwards.
    ///
    /// # Errors
    /// As [`primary`](Self::primary).
    pub async fn require_password(&self, password: &str) -> Result<(), Error> {
        for sentinel in &self.sentinels {
            let user = ["ACL", "SETUSER", "default", "resetpass", &format!(">{password}")];
            sentinel.administrator.command(&user).await?;
        }
        Ok(())
    }

    /// Stops all Sentinels (`SIGSTOP`): they accept connections, and never answer.
    ///
    /// # Errors
    /// [`Error::Signal`] when one does not run.
    pub fn pause_sentinels(&self) -> Result<(), Error> {
        self.sentinels
            .iter()
            .try_for_each(|sentinel| sentinel.process.signal(Signal::STOP, "SIGSTOP"))
    }

    /// Starts a killed server again, as a replica of the primary.
    ///
    /// Simply [restarted](RedisServer::restart), it would be a primary with old data or none until the Sentinels correct it, and
    /// they might even choose it when another failover is due.
    ///
    /// # Errors
    /// As [`primary`](Self::primary) and [`RedisServer::restart`].
    pub async fn restart_as_replica(&mut self, index: usize) -> Result<(), Error> {
        let primary = self.port(self.primary().await?);
        self.servers[index].add_directive(&format!("replicaof 127.0.0.1 {primary}"))?;
        self.servers[index].restart().await
    }

    /// Waits until every Sentinel announces another primary than `old`, one that accepts writes, and returns which.
    ///
    /// # Errors
    /// [`Error::NotReached`] when they do not agree in time.
    pub async fn wait_for_new_primary(&self, old: usize) -> Result<usize, Error> {
        let mut waited = Duration::ZERO;
        loop {
            let new = self.agreed_primary().await.filter(|&new| new != old);
            if let Some(new) = new
                && self.role(new).await == "master"
                && self.is_calm().await
            {
                return Ok(new);
            }
            waited = wait(waited, "another primary").await?;
        }
    }

    /// Waits until all Sentinels name the same primary and know each other and every server, and every other server is a
    /// replica that has caught up. Restart what was killed first.
    ///
    /// # Errors
    /// [`Error::NotReached`] when that does not come about in time.
    pub async fn wait_until_whole(&self) -> Result<(), Error> {
        let mut waited = Duration::ZERO;
        while !self.is_whole().await {
            waited = wait(
                waited,
                "a primary, its replicas and its Sentinels, all known to each other",
            )
            .await?;
        }
        Ok(())
    }

    /// Cuts a server off from the others, as if a cable had been pulled: nothing is refused, nothing passes.
    /// It does nothing without [proxies](Self::start_with_proxies).
    pub fn cut_off(&self, index: usize) {
        self.proxies.get(index).into_iter().for_each(Proxy::pause);
    }

    /// Plugs the cable in again.
    pub fn rejoin(&self, index: usize) {
        self.proxies.get(index).into_iter().for_each(Proxy::resume);
    }

    async fn is_whole(&self) -> bool {
        let Some(primary) = self.agreed_primary().await else {
            return false;
        };
        for sentinel in &self.sentinels {
            let known = sentinel.view().await;
            if known.replicas != self.servers.len() - 1 || known.sentinels != self.sentinels.len() - 1 {
                return false;
            }
        }
        if !self.is_calm().await {
            return false;
        }
        let replication = self.info(primary).await;
        field(&replication, "role") == "master" && streaming_replicas(&replication) == self.servers.len() - 1
    }

    /// Whether no Sentinel thinks that its primary is down, or is replacing it.
    async fn is_calm(&self) -> bool {
        for sentinel in &self.sentinels {
            if sentinel.view().await.flags != "master" {
                return false;
            }
        }
        true
    }

    /// Which server all Sentinels call the primary, if they agree.
    async fn agreed_primary(&self) -> Option<usize> {
        let mut agreed = None;
        for sentinel in &self.sentinels {
            let index = self.index_at(sentinel.primary_port().await.ok()?).ok()?;
            if agreed.replace(index).is_some_and(|other| other != index) {
                return None;
            }
        }
        agreed
    }

    async fn role(&self, index: usize) -> String {
        field(&self.info(index).await, "role").to_owned()
    }

    async fn info(&self, index: usize) -> String {
        let info = self.servers[index].command(&["INFO", "replication"]).await;
        info.unwrap_or_default()
    }

    /// Where the others find a server.
    fn port(&self, index: usize) -> u16 {
        match self.proxies.get(index) {
            Some(proxy) => proxy.address().port(),
            None => self.servers[index].port(),
        }
    }

    fn index_at(&self, port: u16) -> Result<usize, Error> {
        let index = (0..self.servers.len()).find(|&index| self.port(index) == port);
        index.ok_or_else(|| unknown(&format!("port {port}")))
    }
}

impl Sentinel {
    async fn start(primary: u16, quorum: usize) -> Result<Self, Error> {
        let mut attempt = 1;
        loop {
            match Self::attempt(primary, quorum).await {
                Err(Error::NotReady { .. }) if attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn attempt(primary: u16, quorum: usize) -> Result<Self, Error> {
        let mut process = Process::new(Program::Redis)?;
        let port = port::free()?;
        let base = base_configuration(process.folder());
        let configuration = format!(
            "{base}port {port}\nbind 127.0.0.1\nprotected-mode no\n\
             sentinel monitor {SERVICE} 127.0.0.1 {primary} {quorum}\n\
             sentinel down-after-milliseconds {SERVICE} 1000\n\
             sentinel failover-timeout {SERVICE} 5000\n\
             sentinel parallel-syncs {SERVICE} 8\n"
        );
        process.configure(&configuration, &["--sentinel"])?;
        process.launch()?;
        let administrator = Administrator::Port(port);
        let mut waited = Duration::ZERO;
        // Its own identity, so that a stranger who took the port is not taken for it.
        while administrator.command(&["SENTINEL", "MYID"]).await.is_err() {
            if !process.is_running() {
                return Err(process.not_ready());
            }
            waited = wait(waited, "").await.map_err(|_| process.not_ready())?;
        }
        if !process.is_running() {
            return Err(process.not_ready());
        }
        Ok(Self {
            process,
            port,
            administrator,
        })
    }

    async fn primary_port(&self) -> Result<u16, Error> {
        let query = ["SENTINEL", "get-master-addr-by-name", SERVICE];
        let address = self.administrator.command(&query).await?;
        let port = address.lines().nth(1).and_then(|port| port.parse().ok());
        port.ok_or_else(|| unknown("what the Sentinel says"))
    }

    async fn view(&self) -> View {
        let query = ["SENTINEL", "MASTER", SERVICE];
        let state = self.administrator.command(&query).await.unwrap_or_default();
        // Names and values alternate.
        let lines: Vec<_> = state.lines().collect();
        let value = |name: &str| lines.chunks(2).find(|pair| pair[0] == name)?.get(1).copied();
        let number = |name: &str| value(name)?.parse().ok();
        View {
            flags: value("flags").unwrap_or_default().to_owned(),
            replicas: number("num-slaves").unwrap_or_default(),
            sentinels: number("num-other-sentinels").unwrap_or_default(),
        }
    }
}

/// What a Sentinel knows of the service.
#[derive(Debug)]
struct View {
    /// `master`, and more words when that is in doubt.
    flags: String,
    replicas: usize,
    sentinels: usize,
}

impl fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinels")
            .field("url", &self.url())
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

fn unknown(place: &str) -> Error {
    Error::Unknown {
        place: place.to_owned(),
    }
}
