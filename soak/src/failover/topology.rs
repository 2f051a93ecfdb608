//! Servers of which one is taken away.

use cache_testkit::redis::{RedisCluster, RedisServer, Sentinels};

use super::{Arrangement, Deciders};
use crate::gate::{Doing, GateError};
use crate::tally::Tally;

/// How many Sentinels there are, and how many parts the Cluster has.
const THREE: usize = 3;

/// How servers reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wires {
    /// As they are.
    Fixed,
    /// So that one can be cut off.
    Cuttable,
}

/// How a server comes back that was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// As its service manager would start it: empty, and a primary until somebody tells it otherwise. (In a Cluster every server
    /// finds out by itself.)
    Unprepared,
    /// As a replica of who is the primary now.
    AsReplica,
}

/// Servers, and who decides which of them is the primary.
#[derive(Debug)]
pub enum Topology {
    /// One primary, which Sentinels watch.
    Sentinel(Sentinels),
    /// Three primaries.
    Cluster(RedisCluster),
}

impl Topology {
    /// Starts them, each primary with so many replicas.
    ///
    /// # Errors
    ///
    /// When they cannot be started.
    pub async fn start(arrangement: Arrangement, replicas: usize, wires: Wires) -> Result<Self, GateError> {
        let started = match (arrangement.deciders, wires) {
            (Deciders::Sentinel, Wires::Fixed) => Sentinels::start(replicas, THREE).await.map(Self::Sentinel),
            (Deciders::Sentinel, Wires::Cuttable) => Sentinels::start_with_proxies(replicas, THREE)
                .await
                .map(Self::Sentinel),
            (Deciders::Cluster, Wires::Fixed) => {
                RedisCluster::start(THREE, replicas).await.map(Self::Cluster)
            }
            (Deciders::Cluster, Wires::Cuttable) => RedisCluster::start_with_proxies(THREE, replicas)
                .await
                .map(Self::Cluster),
        };
        started.doing("could not start the servers")
    }

    /// What clients are configured with.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Sentinel(sentinels) => sentinels.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    /// The same for clients on the side of a server that is cut off: they know of no Sentinel, and reach no other server.
    #[must_use]
    pub fn url_beside(&self, server: usize) -> String {
        match self {
            Self::Sentinel(sentinels) => sentinels.servers()[server].url(),
            Self::Cluster(cluster) => cluster.url_beside(server),
        }
    }

    /// The server that has the record of this name.
    ///
    /// # Errors
    ///
    /// When nobody has it.
    pub async fn primary_of(&self, record: &str) -> Result<usize, GateError> {
        match self {
            Self::Sentinel(sentinels) => sentinels.primary().await.doing("no primary"),
            Self::Cluster(cluster) => {
                let place = place(cluster, record).await?;
                cluster.primary_of(&place).await.doing("no primary")
            }
        }
    }

    /// Kills a server without warning.
    pub fn kill(&mut self, server: usize) {
        match self {
            Self::Sentinel(sentinels) => sentinels.servers_mut()[server].kill(),
            Self::Cluster(cluster) => cluster.servers_mut()[server].kill(),
        }
    }

    /// Waits until another server than `old` is the primary of this record.
    ///
    /// # Errors
    ///
    /// When none becomes it.
    pub async fn until_replaced(&self, record: &str, old: usize) -> Result<(), GateError> {
        let replaced = match self {
            Self::Sentinel(sentinels) => sentinels.wait_for_new_primary(old).await,
            Self::Cluster(cluster) => {
                let place = place(cluster, record).await?;
                cluster.wait_for_new_primary_of(&place, old).await
            }
        };
        replaced.map(|_| ()).doing("the primary was not replaced")
    }

    /// Starts a killed server again.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn restart(&mut self, server: usize, how: Return) -> Result<(), GateError> {
        let restarted = match (self, how) {
            (Self::Sentinel(sentinels), Return::AsReplica) => sentinels.restart_as_replica(server).await,
            (Self::Sentinel(sentinels), Return::Unprepared) => {
                sentinels.servers_mut()[server].restart().await
            }
            (Self::Cluster(cluster), _) => cluster.servers_mut()[server].restart().await,
        };
        restarted.doing("a server did not come back")
    }

    /// Pulls the cable between a server with its clients and everybody else.
    pub fn cut_off(&mut self, server: usize) {
        match self {
            Self::Sentinel(sentinels) => sentinels.cut_off(server),
            Self::Cluster(cluster) => cluster.cut_off(server),
        }
    }

    /// Plugs it in again.
    pub fn rejoin(&mut self, server: usize) {
        match self {
            Self::Sentinel(sentinels) => sentinels.rejoin(server),
            Self::Cluster(cluster) => cluster.rejoin(),
        }
    }

    /// Waits until every server is there and every replica has everything.
    ///
    /// # Errors
    ///
    /// When that does not come about.
    pub async fn until_whole(&self) -> Result<(), GateError> {
        let whole = match self {
            Self::Sentinel(sentinels) => sentinels.wait_until_whole().await,
            Self::Cluster(cluster) => cluster.wait_until_whole().await,
        };
        whole.doing("the servers did not find together again")
    }

    /// Names the version of the servers.
    ///
    /// # Errors
    ///
    /// When they do not say.
    pub async fn version(&self, tally: &mut Tally) -> Result<(), GateError> {
        let info = self.servers()[0].command(&["INFO", "server"]).await;
        let info = info.doing("could not ask Redis for its version")?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        tally.version("Redis", version.unwrap_or_default().trim());
        Ok(())
    }

    /// What each server says of its place among the others: why nobody can write where a replica is missing, no client can tell.
    pub async fn places(&self) -> String {
        const TELLING: [&str; 4] = ["role", "master_", "connected_slaves", "slave"];
        let mut places = String::new();
        for server in self.servers() {
            let info = server.command(&["INFO", "replication"]).await;
            let info = info.unwrap_or_else(|error| error.to_string());
            let telling = |line: &&str| TELLING.iter().any(|name| line.starts_with(name));
            let lines: Vec<_> = info.lines().map(str::trim).filter(telling).collect();
            places += &format!("[{}: {}] ", server.port(), lines.join(", "));
        }
        places
    }

    fn servers(&self) -> &[RedisServer] {
        match self {
            Self::Sentinel(sentinels) => sentinels.servers(),
            Self::Cluster(cluster) => cluster.servers(),
        }
    }
}

/// The key in Redis of a record.
async fn place(cluster: &RedisCluster, record: &str) -> Result<String, GateError> {
    let pattern = format!("*:{record}");
    for server in cluster.servers() {
        let found = server.command(&["KEYS", &pattern]).await.unwrap_or_default();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(GateError::new(format!("no server has {record}")))
}
