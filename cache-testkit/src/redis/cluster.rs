//! A Redis Cluster.

use std::fmt;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use tokio::process::Command;

use super::network::Network;
use super::replication::streaming_replicas;
use super::server::{LIMIT, wait};
use super::{Error, Program, RedisServer, RedisServerBuilder, program};

const SLOTS: usize = 16_384;

/// Servers that share the 16,384 slots of a cluster. All end when this is dropped.
///
/// A server is taken for dead after a second.
pub struct RedisCluster {
    servers: Vec<RedisServer>,
    replicas_per_primary: usize,
    /// The wires between them, where they can be cut.
    network: Option<Network>,
}

impl RedisCluster {
    /// A cluster with as many `primaries` (three at least), each with `replicas_per_primary`. Returns when every
    /// server knows that all slots are served.
    ///
    /// # Errors
    /// As [`RedisServerBuilder::start`](super::RedisServerBuilder::start); [`Error::Command`] and
    /// [`Error::NotReached`] when they do not form a cluster.
    pub async fn start(primaries: usize, replicas_per_primary: usize) -> Result<Self, Error> {
        Self::start_with(Program::Redis, primaries, replicas_per_primary).await
    }

    /// The same of another program.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(
        program: Program,
        primaries: usize,
        replicas_per_primary: usize,
    ) -> Result<Self, Error> {
        let mut servers = Vec::new();
        for _ in 0..primaries * (1 + replicas_per_primary) {
            servers.push(node(program).start().await?);
        }
        let cluster = Self {
            servers,
            replicas_per_primary,
            network: None,
        };
        cluster.create().await?;
        Ok(cluster)
    }

    /// As [`start`](Self::start), but the servers and their clients reach each server through proxies, so that one can be
    /// [cut off](Self::cut_off), with those clients that use [`url_beside`](Self::url_beside) on its side of the cut.
    ///
    /// It takes addresses of 127.0.0.0/8 beside 127.0.0.1, which Linux has without being told, and no other system has; and
    /// Redis from 7.0, as the servers tell who they are by the address that they connect from (`bind-source-addr`).
    ///
    /// # Errors
    /// As [`start`](Self::start); [`Error::Start`] where these addresses cannot be had.
    pub async fn start_with_proxies(primaries: usize, replicas_per_primary: usize) -> Result<Self, Error> {
        let (mut servers, mut network) = (Vec::new(), Network::default());
        for _ in 0..primaries * (1 + replicas_per_primary) {
            let node = network.join(node(Program::Redis)).start().await?;
            network.wire(&node).await?;
            servers.push(node);
        }
        let cluster = Self {
            servers,
            replicas_per_primary,
            network: Some(network),
        };
        cluster.create().await?;
        Ok(cluster)
    }

    /// `redis-cluster://` with every server.
    #[must_use]
    pub fn url(&self) -> String {
        let addresses = (0..self.servers.len()).map(|index| format!("127.0.0.1:{}", self.port(index)));
        format!("redis-cluster://{}", addresses.collect::<Vec<_>>().join(","))
    }

    /// The URL for clients that stay with this server when it is [cut off](Self::cut_off): it names no other, and where the
    /// servers name each other, such a client reaches them by wires of its own. The same as the server's without
    /// [proxies](Self::start_with_proxies).
    #[must_use]
    pub fn url_beside(&self, index: usize) -> String {
        let host = match self.network {
            Some(_) => Network::HOST_BESIDE,
            None => Ipv4Addr::LOCALHOST,
        };
        format!("redis-cluster://{host}:{}", self.port(index))
    }

    /// Cuts a server off from all others and from clients at [`url`](Self::url), and clients beside it off from the others, as
    /// if a cable had been pulled: nothing is refused, nothing passes. What is asked of the cluster here, such as
    /// [`primary_of`](Self::primary_of), the others are asked. It does nothing without
    /// [proxies](Self::start_with_proxies).
    pub fn cut_off(&mut self, index: usize) {
        self.network.iter_mut().for_each(|network| network.cut_off(index));
    }

    /// Plugs the cable in again.
    pub fn rejoin(&mut self) {
        self.network.iter_mut().for_each(Network::rejoin);
    }

    /// The servers. Their order never changes, whatever their roles are.
    #[must_use]
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The same, to end or restart them.
    pub fn servers_mut(&mut self) -> &mut [RedisServer] {
        &mut self.servers
    }

    /// The slot of a key.
    ///
    /// # Errors
    /// [`Error::Command`] when no server runs.
    pub async fn slot_of(&self, key: &str) -> Result<u16, Error> {
        let slot = self.ask(&["CLUSTER", "KEYSLOT", key]).await?;
        slot.parse().map_err(|_| unknown("the slot"))
    }

    /// Which of the [`servers`](Self::servers) owns the slot of `key`, as the first that runs sees it.
    ///
    /// # Errors
    /// [`Error::Unknown`] when nobody does.
    pub async fn primary_of(&self, key: &str) -> Result<usize, Error> {
        let slot = self.slot_of(key).await?;
        let nodes = self.ask(&["CLUSTER", "NODES"]).await?;
        let owner = nodes.lines().filter_map(Node::parse).find(|node| {
            node.slots
                .iter()
                .any(|&(first, last)| (first..=last).contains(&slot))
        });
        let port = owner.ok_or_else(|| unknown(&format!("slot {slot}")))?.port;
        self.index_at(port)
    }

    /// Kills the server (`SIGKILL`) that owns the slot of `key` and says which of the [`servers`](Self::servers) it was.
    ///
    /// # Errors
    /// As [`primary_of`](Self::primary_of).
    pub async fn kill_primary_of(&mut self, key: &str) -> Result<usize, Error> {
        let primary = self.primary_of(key).await?;
        self.servers[primary].kill();
        Ok(primary)
    }

    /// Waits until another server than `old` owns the slot of `key`, and returns which.
    ///
    /// # Errors
    /// [`Error::NotReached`] when nobody takes it over in time.
    pub async fn wait_for_new_primary_of(&self, key: &str, old: usize) -> Result<usize, Error> {
        let mut waited = Duration::ZERO;
        loop {
            if let Some(new) = self.primary_of(key).await.ok().filter(|&new| new != old) {
                return Ok(new);
            }
            waited = wait(waited, "another owner of the slot").await?;
        }
    }

    /// Waits until every server runs, all slots are served and every replica has caught up. Restart what was killed
    /// first.
    ///
    /// # Errors
    /// [`Error::NotReached`] when that does not come about in time.
    pub async fn wait_until_whole(&self) -> Result<(), Error> {
        let mut waited = Duration::ZERO;
        while !self.is_whole().await {
            waited = wait(waited, "a cluster that serves every slot").await?;
        }
        Ok(())
    }

    /// Makes `target` ready to take the slot of `key` from its owner, so that either may be asked for its keys
    /// (`ASK`), and returns the owner. Nothing is moved yet.
    ///
    /// # Errors
    /// [`Error::Command`] when a server refuses.
    pub async fn begin_migration(&self, key: &str, target: usize) -> Result<usize, Error> {
        let slot = self.slot_of(key).await?.to_string();
        let source = self.primary_of(key).await?;
        let (from, to) = (self.id(source).await?, self.id(target).await?);
        let import = ["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from];
        self.servers[target].command(&import).await?;
        let migrate = ["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to];
        self.servers[source].command(&migrate).await?;
        Ok(source)
    }

    /// Moves the keys of the slot that [`begin_migration`](Self::begin_migration) was about, and then the slot (`MOVED`).
    ///
    /// # Errors
    /// [`Error::Command`] when a server refuses.
    pub async fn finish_migration(&self, key: &str, source: usize, target: usize) -> Result<(), Error> {
        let slot = self.slot_of(key).await?.to_string();
        let port = self.servers[target].port().to_string();
        loop {
            let some = ["CLUSTER", "GETKEYSINSLOT", &slot, "100"];
            let keys = self.servers[source].command(&some).await?;
            if keys.is_empty() {
                break;
            }
            let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            migrate.extend(keys.lines());
            self.servers[source].command(&migrate).await?;
        }
        let owner = self.id(target).await?;
        for index in [target, source] {
            let assign = ["CLUSTER", "SETSLOT", &slot, "NODE", &owner];
            self.servers[index].command(&assign).await?;
        }
        Ok(())
    }

    async fn create(&self) -> Result<(), Error> {
        self.divide_slots().await?;
        self.wait_until_whole().await
    }

    async fn divide_slots(&self) -> Result<(), Error> {
        let address = |index: usize| {
            let bus = self.network.as_ref().map(|network| network.bus_port(index));
            let bus = bus.map_or_else(String::new, |port| format!("@{port}"));
            format!("127.0.0.1:{}{bus}", self.port(index))
        };
        let mut command = Command::new(program::client()?);
        command
            .args(["--cluster", "create"])
            .args((0..self.servers.len()).map(address))
            .args([
                "--cluster-replicas",
                &self.replicas_per_primary.to_string(),
                "--cluster-yes",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let name = || "--cluster create".to_owned();
        let output = tokio::select! {
            output = command.output() => output.map_err(Error::start("redis-cli"))?,
            () = SystemClock.sleep(LIMIT) => return Err(Error::Unanswered { command: name() }),
        };
        if output.status.success() {
            return Ok(());
        }
        Err(Error::Command {
            command: name(),
            reply: String::from_utf8_lossy(&output.stdout).into_owned(),
        })
    }

    async fn is_whole(&self) -> bool {
        let mut views = Vec::new();
        for (index, server) in self.servers.iter().enumerate() {
            let Ok(info) = server.command(&["CLUSTER", "INFO"]).await else {
                return false;
            };
            let has = |line: &str| info.lines().any(|other| other.trim() == line);
            let served = format!("cluster_slots_ok:{SLOTS}");
            let known = format!("cluster_known_nodes:{}", self.servers.len());
            if !(has("cluster_state:ok") && has(&served) && has(&known)) {
                return false;
            }
            let nodes = server.command(&["CLUSTER", "NODES"]).await.unwrap_or_default();
            if nodes.contains("fail") || nodes.contains("handshake") {
                return false;
            }
            let mut view: Vec<_> = nodes.lines().filter_map(Node::parse).collect();
            view.sort_by_key(|node| node.port);
            let own = view.iter().find(|node| node.port == self.port(index));
            let owns_slots = own.is_some_and(|node| !node.slots.is_empty());
            let replication = server.command(&["INFO", "replication"]).await;
            let replicas = streaming_replicas(&replication.unwrap_or_default());
            if replicas != if owns_slots { self.replicas_per_primary } else { 0 } {
                return false;
            }
            views.push(view);
        }
        // Everybody must see the same owners.
        views.windows(2).all(|pair| pair[0] == pair[1])
    }

    /// Executes a command on the first server that runs and is not cut off.
    async fn ask(&self, arguments: &[&str]) -> Result<String, Error> {
        let mut result = Err(unknown("the cluster"));
        let cut_off = self.network.as_ref().and_then(Network::who_is_cut_off);
        let reachable = self.servers.iter().enumerate();
        for (_, server) in reachable.filter(|(index, _)| Some(*index) != cut_off) {
            result = server.command(arguments).await;
            if result.is_ok() {
                break;
            }
        }
        result
    }

    async fn id(&self, index: usize) -> Result<String, Error> {
        self.servers[index].command(&["CLUSTER", "MYID"]).await
    }

    /// Where clients and the others find a server.
    fn port(&self, index: usize) -> u16 {
        match &self.network {
            Some(network) => network.port(index),
            None => self.servers[index].port(),
        }
    }

    fn index_at(&self, port: u16) -> Result<usize, Error> {
        let index = (0..self.servers.len()).find(|&index| self.port(index) == port);
        index.ok_or_else(|| unknown(&format!("port {port}")))
    }
}

fn node(program: Program) -> RedisServerBuilder {
    RedisServer::builder()
        .program(program)
        .directive("cluster-enabled", "yes")
        .directive("cluster-node-timeout", "1000")
        // A primary that has lost its replicas would be given one of another's for ever, which then has too few for writes that all
        // of its replicas must have.
        .directive("cluster-migration-barrier", "100")
}

impl fmt::Debug for RedisCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCluster")
            .field("servers", &self.servers)
            .finish()
    }
}

/// One line of what `CLUSTER NODES` says, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Node {
    port: u16,
    is_primary: bool,
    slots: Vec<(u16, u16)>,
}

impl Node {
    fn parse(line: &str) -> Option<Self> {
        // Identity, address (ip:port@bus,host), flags, primary, ping, pong, epoch, link, and slots or ranges of them.
        let mut words = line.split_whitespace();
        let address = words.nth(1)?;
        let port = address.split_once(':')?.1.split_once('@')?.0.parse().ok()?;
        let is_primary = words.next()?.contains("master");
        let slots = words.skip(5).filter_map(slot_range).collect();
        Some(Self {
            port,
            is_primary,
            slots,
        })
    }
}

/// The slots of `7` or `7-9`. Slots on the way (`[7->-…]`) belong to others still.
fn slot_range(word: &str) -> Option<(u16, u16)> {
    match word.split_once('-') {
        None => word.parse().ok().map(|slot| (slot, slot)),
        Some((first, last)) => Some((first.parse().ok()?, last.parse().ok()?)),
    }
}

fn unknown(place: &str) -> Error {
    Error::Unknown {
        place: place.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_slots_is_read_from_the_list_of_nodes() {
        let line = "07c3 127.0.0.1:30004@31004,host myself,master - 0 1426238317239 4 connected 0-5460 7000 [93->-292f]";
        let node = Node::parse(line).unwrap();
        assert_eq!(node.port, 30_004);
        assert!(node.is_primary);
        assert_eq!(node.slots, [(0, 5460), (7000, 7000)]);
        assert_eq!(Node::parse("07c3"), None);
    }
}
