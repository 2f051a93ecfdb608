//! Which node of a Cluster has a slot (<https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>).
//!
//! The crate's own Cluster client is not used, for the reason that [`Link`] gives, and because `WAIT` needs a
//! connection to the very node that has the slot.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use cache_core::store::error::ErrorKind;
use futures_util::future::select_ok;
use redis::Value;

use crate::address::Endpoint;
use crate::condition::Redirection;
use crate::connector::Connector;
use crate::error::Failure;
use crate::link::Link;
use crate::shared::Shared;

/// How many nodes are asked for the slots at once, beside those of the URL.
const MOST_ASKED: usize = 5;

pub(crate) struct Cluster {
    seeds: Vec<Endpoint>,
    connector: Arc<Connector>,
    slots: Shared<Arc<SlotMap>>,
    links: Mutex<HashMap<Endpoint, Arc<Link>>>,
}

/// Who has which slots.
#[derive(Debug, Default, PartialEq, Eq)]
struct SlotMap {
    ranges: Vec<SlotRange>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct SlotRange {
    first: u16,
    last: u16,
    primary: Endpoint,
}

impl Cluster {
    /// `seeds` must not be empty.
    pub(crate) fn new(seeds: Vec<Endpoint>, connector: Arc<Connector>) -> Self {
        Self {
            seeds,
            connector,
            slots: Shared::new(),
            links: Mutex::default(),
        }
    }

    pub(crate) async fn primary(&self, slot: u16) -> Result<Arc<Link>, Failure> {
        let slots = self.slots.get_or_make(self.ask_nodes()).await?;
        match slots.primary(slot) {
            Some(endpoint) => Ok(self.link(endpoint)),
            None => {
                self.forget_slots();
                Err(Failure::server("CLUSTERDOWN", "no node has the slot"))
            }
        }
    }

    /// All nodes that have slots, each once.
    pub(crate) async fn primaries(&self) -> Result<Vec<Arc<Link>>, Failure> {
        let slots = self.slots.get_or_make(self.ask_nodes()).await?;
        let endpoints: BTreeSet<_> = slots.ranges.iter().map(|range| &range.primary).collect();
        Ok(endpoints
            .into_iter()
            .map(|endpoint| self.link(endpoint))
            .collect())
    }

    /// The node that a redirection of `asked` names. A lasting one also means that more slots may have moved.
    pub(crate) async fn follow(&self, redirection: &Redirection, asked: &Endpoint) -> Arc<Link> {
        let link = self.link(&redirection.to.clone().named_by(asked));
        if !redirection.once {
            match ask(&link).await {
                Ok(slots) => self.slots.set(Arc::new(slots)),
                Err(_) => self.forget_slots(),
            }
        }
        link
    }

    /// The next request asks the nodes anew who has its slot.
    pub(crate) fn forget_slots(&self) {
        self.slots.forget(|_| true);
    }

    pub(crate) fn close(&self) {
        self.connector.close();
        self.forget_slots();
        self.links.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether a node hears what other nodes publish: it sees most of the Cluster.
    pub(crate) async fn is_connected(&self, endpoint: &Endpoint) -> bool {
        cluster_state_ok(&self.link(endpoint)).await.unwrap_or(false)
    }

    fn link(&self, endpoint: &Endpoint) -> Arc<Link> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let link = links.entry(endpoint.clone()).or_insert_with(|| {
            let connector = Arc::clone(&self.connector);
            Arc::new(Link::new(endpoint.clone(), connector))
        });
        Arc::clone(link)
    }

    /// Takes the first answer of a node that sees most of the Cluster, so that one that is cut off misleads nobody.
    async fn ask_nodes(&self) -> Result<Arc<SlotMap>, Failure> {
        let known: Vec<Endpoint> = {
            let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            links.keys().take(MOST_ASKED).cloned().collect()
        };
        let nodes: BTreeSet<&Endpoint> = known.iter().chain(&self.seeds).collect();
        let answers = nodes.into_iter().map(|node| {
            let link = self.link(node);
            Box::pin(async move { ask(&link).await })
        });
        let (slots, _) = select_ok(answers).await?;
        Ok(Arc::new(slots))
    }
}

impl SlotMap {
    fn primary(&self, slot: u16) -> Option<&Endpoint> {
        let range = self
            .ranges
            .iter()
            .find(|range| (range.first..=range.last).contains(&slot))?;
        Some(&range.primary)
    }

    /// Reads the answer to `CLUSTER SLOTS` that `asked` gave.
    fn read(answer: Value, asked: &Endpoint) -> Option<Self> {
        let Value::Array(ranges) = answer else {
            return None;
        };
        let ranges = ranges
            .into_iter()
            .map(|range| SlotRange::read(range, asked))
            .collect::<Option<_>>()?;
        Some(Self { ranges })
    }
}

impl SlotRange {
    fn read(range: Value, asked: &Endpoint) -> Option<Self> {
        let Value::Array(fields) = range else {
            return None;
        };
        let mut fields = fields.into_iter();
        let (Some(Value::Int(first)), Some(Value::Int(last)), Some(Value::Array(node))) =
            (fields.next(), fields.next(), fields.next())
        else {
            return None;
        };
        let mut node = node.into_iter();
        let (host, Some(Value::Int(port))) = (node.next()?, node.next()) else {
            return None;
        };
        let host = match host {
            Value::BulkString(host) => String::from_utf8(host).ok()?,
            Value::SimpleString(host) => host,
            _ => String::new(),
        };
        let port = u16::try_from(port).ok()?;
        Some(Self {
            first: u16::try_from(first).ok()?,
            last: u16::try_from(last).ok()?,
            primary: Endpoint::Tcp { host, port }.named_by(asked),
        })
    }
}

async fn ask(link: &Link) -> Result<SlotMap, Failure> {
    if !cluster_state_ok(link).await? {
        let context = "the Cluster is down as this node sees it; try again later";
        return Err(Failure::new(ErrorKind::Unavailable, context).at(link.endpoint()));
    }
    let answer = link.call(redis::cmd("CLUSTER").arg("SLOTS")).await?;
    SlotMap::read(answer, link.endpoint()).ok_or_else(|| Failure::unexpected("CLUSTER SLOTS"))
}

async fn cluster_state_ok(link: &Link) -> Result<bool, Failure> {
    let answer = link.call(redis::cmd("CLUSTER").arg("INFO")).await?;
    Ok(crate::info::text(answer)?.contains("cluster_state:ok"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: Value, port: i64) -> Value {
        Value::Array(vec![host, Value::Int(port), Value::BulkString(b"id".to_vec())])
    }

    fn name(host: &str) -> Value {
        Value::BulkString(host.as_bytes().to_vec())
    }

    fn tcp(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn slots_are_read_with_their_primaries() {
        let range = |first, last, nodes: Vec<Value>| {
            Value::Array(
                [Value::Int(first), Value::Int(last)]
                    .into_iter()
                    .chain(nodes)
                    .collect(),
            )
        };
        let answer = Value::Array(vec![
            range(
                0,
                99,
                vec![node(name("10.0.0.1"), 7000), node(name("10.0.0.9"), 7009)],
            ),
            range(100, 199, vec![node(Value::Nil, 7001)]),
            range(300, 16_383, vec![node(name(""), 7002)]),
        ]);
        let slots = SlotMap::read(answer, &tcp("asked", 1)).unwrap();
        assert_eq!(slots.primary(99), Some(&tcp("10.0.0.1", 7000)));
        assert_eq!(slots.primary(100), Some(&tcp("asked", 7001)));
        assert_eq!(slots.primary(16_383), Some(&tcp("asked", 7002)));
        assert_eq!(slots.primary(200), None);
    }

    #[test]
    fn other_answers_are_refused() {
        let asked = tcp("asked", 1);
        let short = Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(1)])]);
        let far = Value::Array(vec![Value::Array(vec![
            Value::Int(0),
            Value::Int(-1),
            node(name("h"), 1),
        ])]);
        for answer in [Value::Okay, short, far] {
            assert_eq!(SlotMap::read(answer, &asked), None);
        }
    }
}
