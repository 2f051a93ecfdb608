//! The servers, however they are arranged.

use std::sync::Arc;

use cache_core::store::error::ErrorKind;
use redis::aio::PubSub;
use redis::{Cmd, Value};

use crate::address::{Endpoint, Topology};
use crate::cluster::Cluster;
use crate::connector::Connector;
use crate::durability::Waiting;
use crate::error::Failure;
use crate::link::Link;
use crate::script::ScriptCall;
use crate::sentinel::Sentinel;

/// How many redirections of one request are followed. A Cluster that settles needs one or two.
const REDIRECTIONS: usize = 5;

/// The way to the server that has a slot.
pub(crate) enum Connection {
    Single(Arc<Link>),
    Sentinel(Sentinel),
    Cluster(Cluster),
}

/// What is sent.
#[derive(Clone, Copy)]
pub(crate) enum Request<'a> {
    Command(&'a Cmd),
    Script(&'a ScriptCall<'a>),
    /// A script whose write must reach replicas.
    Replicated(&'a ScriptCall<'a>, &'a Waiting),
}

impl Connection {
    pub(crate) fn new(topology: &Topology, connector: Arc<Connector>) -> Self {
        match topology.clone() {
            Topology::Single(endpoint) => Self::Single(Arc::new(Link::new(endpoint, connector))),
            Topology::Sentinel { sentinels, service } => {
                Self::Sentinel(Sentinel::new(sentinels, service, connector))
            }
            Topology::Cluster(seeds) => Self::Cluster(Cluster::new(seeds, connector)),
        }
    }

    /// Sends one command to the primary of the slot.
    pub(crate) async fn call(&self, slot: u16, command: &Cmd) -> Result<Value, Failure> {
        self.send(slot, Request::Command(command)).await
    }

    /// Sends a request to the primary of the slot, and follows the Cluster's redirections: who answers with one has
    /// certainly not carried out the request. Nothing else is sent twice.
    pub(crate) async fn send(&self, slot: u16, request: Request<'_>) -> Result<Value, Failure> {
        let mut link = self.primary(slot).await?;
        let mut asking = false;
        for _ in 0..=REDIRECTIONS {
            let failure = match request.send_to(&link, asking).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let Some(redirection) = failure.redirection() else {
                self.doubt(&link, &failure);
                return Err(failure);
            };
            let Self::Cluster(cluster) = self else {
                return Err(is_cluster(link.endpoint()));
            };
            asking = redirection.once;
            link = cluster.follow(redirection, link.endpoint()).await;
        }
        let context = "the nodes of the Cluster disagree about who has a slot; try again later";
        Err(Failure::new(ErrorKind::Unavailable, context))
    }

    /// All primaries, each once.
    pub(crate) async fn primaries(&self) -> Result<Vec<Arc<Link>>, Failure> {
        match self {
            Self::Single(link) => Ok(vec![Arc::clone(link)]),
            Self::Sentinel(sentinel) => Ok(vec![sentinel.primary().await?]),
            Self::Cluster(cluster) => cluster.primaries().await,
        }
    }

    /// A connection that only listens, to a server that hears of all changes: the primary, or any node of a Cluster,
    /// from the `first` on.
    pub(crate) async fn pub_sub(&self, first: usize) -> Result<(Endpoint, PubSub), Failure> {
        let mut last_failure = Failure::server("CLUSTERDOWN", "no node has any slot");
        let mut links = self.primaries().await?;
        let first = first.checked_rem(links.len()).unwrap_or(0);
        links.rotate_left(first);
        for link in links {
            match link.connector().pub_sub(link.endpoint()).await {
                Ok(pub_sub) => return Ok((link.endpoint().clone(), pub_sub)),
                Err(failure) => {
                    self.doubt(&link, &failure);
                    last_failure = failure;
                }
            }
        }
        Err(last_failure)
    }

    /// Whether changes are still published at this server, as far as that can be known.
    pub(crate) async fn still_hears(&self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Single(_) => true,
            Self::Sentinel(sentinel) => sentinel.names(endpoint).await,
            Self::Cluster(cluster) => cluster.is_connected(endpoint).await,
        }
    }

    /// Forgets all connections, and makes no more.
    pub(crate) fn close(&self) {
        match self {
            Self::Single(link) => {
                link.connector().close();
                link.disconnect();
            }
            Self::Sentinel(sentinel) => sentinel.close(),
            Self::Cluster(cluster) => cluster.close(),
        }
    }

    async fn primary(&self, slot: u16) -> Result<Arc<Link>, Failure> {
        match self {
            Self::Single(link) => Ok(Arc::clone(link)),
            Self::Sentinel(sentinel) => sentinel.primary().await,
            Self::Cluster(cluster) => cluster.primary(slot).await,
        }
    }

    /// After a failure that another server may be in charge of by now, the next request asks who is.
    fn doubt(&self, link: &Arc<Link>, failure: &Failure) {
        if !failure.doubts_topology() {
            return;
        }
        match self {
            // The name may stand for another server by now.
            Self::Single(link) => link.disconnect(),
            Self::Sentinel(sentinel) => sentinel.forget(link),
            Self::Cluster(cluster) => cluster.forget_slots(),
        }
    }
}

impl Request<'_> {
    async fn send_to(self, link: &Link, asking: bool) -> Result<Value, Failure> {
        match self {
            Self::Command(command) if asking => link.call_asking(command).await,
            Self::Command(command) => link.call(command).await,
            Self::Script(script) => link.run(script, asking).await,
            Self::Replicated(script, waiting) => waiting.run(link.endpoint(), script, asking).await,
        }
    }
}

/// The URL says that the server is alone, and it is not.
pub(crate) fn is_cluster(endpoint: &Endpoint) -> Failure {
    let context = "the server is part of a Cluster; use a redis-cluster:// URL";
    Failure::new(ErrorKind::InvalidArgument, context).at(endpoint)
}
