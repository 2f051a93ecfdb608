//! The servers, however they are arranged.

use std::sync::Arc;

use redis::aio::PubSub;
use redis::{Cmd, Value};

use crate::address::{Endpoint, Topology};
use crate::connector::Connector;
use crate::error::Failure;
use crate::link::Link;
use crate::script::ScriptCall;

/// The way to the server that has a slot.
pub(crate) enum Connection {
    Single(Arc<Link>),
}

impl Connection {
    /// Connects, so that what is wrong with the configuration shows at once.
    pub(crate) async fn open(topology: &Topology, connector: Arc<Connector>) -> Result<Self, Failure> {
        let connection = match topology {
            Topology::Single(endpoint) => Self::Single(Arc::new(Link::new(endpoint.clone(), connector))),
            Topology::Sentinel { .. } | Topology::Cluster(_) => {
                let context = "only single servers can be opened so far";
                return Err(Failure::new(
                    cache_core::store::error::ErrorKind::Unsupported,
                    context,
                ));
            }
        };
        connection.primary(0).await?.connect().await?;
        Ok(connection)
    }

    /// Sends one command to the primary of the slot.
    pub(crate) async fn call(&self, slot: u16, command: &Cmd) -> Result<Value, Failure> {
        let link = self.primary(slot).await?;
        self.checked(&link, link.call(command).await)
    }

    /// Runs a script on the primary of the slot.
    pub(crate) async fn run(&self, slot: u16, call: &ScriptCall<'_>) -> Result<Value, Failure> {
        let link = self.primary(slot).await?;
        self.checked(&link, link.run(call, false).await)
    }

    /// The primaries of all slots, for a walk over all keys.
    pub(crate) async fn primaries(&self) -> Result<Vec<Arc<Link>>, Failure> {
        Ok(vec![self.primary(0).await?])
    }

    /// A connection that only listens, to a server that hears of all changes.
    pub(crate) async fn pub_sub(&self) -> Result<(Endpoint, PubSub), Failure> {
        let link = self.primary(0).await?;
        let pub_sub = link.connector().pub_sub(link.endpoint()).await?;
        Ok((link.endpoint().clone(), pub_sub))
    }

    /// Whether changes are still published at this server.
    pub(crate) async fn still_listens_at(&self, _endpoint: &Endpoint) -> bool {
        true
    }

    /// Forgets all connections.
    pub(crate) async fn close(&self) {
        match self {
            Self::Single(link) => link.disconnect(),
        }
    }

    async fn primary(&self, _slot: u16) -> Result<Arc<Link>, Failure> {
        match self {
            Self::Single(link) => Ok(Arc::clone(link)),
        }
    }

    fn checked(&self, _link: &Arc<Link>, answer: Result<Value, Failure>) -> Result<Value, Failure> {
        answer
    }
}
