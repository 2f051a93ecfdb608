//! The primary that the Sentinels name (<https://redis.io/docs/latest/develop/reference/sentinel-clients/>).

use std::sync::Arc;

use cache_core::store::error::ErrorKind;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::{Pipeline, Value};

use crate::address::Endpoint;
use crate::connector::Connector;
use crate::error::Failure;
use crate::link::Link;
use crate::shared::Shared;

pub(crate) struct Sentinel {
    sentinels: Vec<Endpoint>,
    service: String,
    connector: Arc<Connector>,
    primary: Shared<Arc<Link>>,
}

impl Sentinel {
    /// `sentinels` must not be empty.
    pub(crate) fn new(sentinels: Vec<Endpoint>, service: String, connector: Arc<Connector>) -> Self {
        Self {
            sentinels,
            service,
            connector,
            primary: Shared::new(),
        }
    }

    /// The primary, connected and proven to be one.
    pub(crate) async fn primary(&self) -> Result<Arc<Link>, Failure> {
        // It may have lost its connection because it was demoted. Whoever connects again asks who is the primary first, or
        // would read from a replica.
        self.primary.forget(|primary| primary.is_broken());
        self.primary.get_or_make(self.find()).await
    }

    /// The next request asks the Sentinels anew.
    pub(crate) fn forget(&self, link: &Arc<Link>) {
        self.primary.forget(|primary| Arc::ptr_eq(primary, link));
    }

    pub(crate) fn close(&self) {
        self.connector.close();
        self.primary.forget(|_| true);
    }

    /// Whether the Sentinels still name this server, as far as they can be asked.
    pub(crate) async fn names(&self, endpoint: &Endpoint) -> bool {
        match self.ask_all().await {
            Ok(named) if named != *endpoint => {
                // It may still take writes, which the others will never see.
                self.primary.forget(|primary| primary.endpoint() != &named);
                false
            }
            Ok(_) | Err(_) => true,
        }
    }

    async fn find(&self) -> Result<Arc<Link>, Failure> {
        let endpoint = self.ask_all().await?;
        let link = Arc::new(Link::new(endpoint, Arc::clone(&self.connector)));
        prove_primary(&link).await?;
        Ok(link)
    }

    /// Asks all Sentinels at once, until more than half of them have answered, and believes the newest: one that is cut
    /// off with an old primary has not heard of the failover.
    async fn ask_all(&self) -> Result<Endpoint, Failure> {
        let mut answers: FuturesUnordered<_> =
            self.sentinels.iter().map(|sentinel| self.ask(sentinel)).collect();
        let mut named = Vec::new();
        let mut last_failure = None;
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(answer) => named.push(answer),
                Err(failure) => last_failure = Some(failure),
            }
            if named.len() > self.sentinels.len() / 2 {
                break;
            }
        }
        match newest(named) {
            Some(endpoint) => Ok(endpoint),
            None => Err(last_failure.unwrap_or_else(|| Failure::unexpected("SENTINEL"))),
        }
    }

    async fn ask(&self, sentinel: &Endpoint) -> Result<Named, Failure> {
        let mut live = self.connector.sentinel(sentinel).await?;
        let mut pipeline = Pipeline::new();
        // The first knows of a failover a little earlier, the second knows its number.
        pipeline
            .cmd("SENTINEL")
            .arg("GET-MASTER-ADDR-BY-NAME")
            .arg(&self.service);
        pipeline.cmd("SENTINEL").arg("MASTER").arg(&self.service);
        let answers = live.connection.send_packed_commands(&pipeline, 0, 2).await;
        let mut answers = answers
            .map_err(|error| Failure::connecting(sentinel, &error))?
            .into_iter();
        let unexpected = || Failure::unexpected("SENTINEL").at(sentinel);
        let address = match answers.next() {
            Some(Value::Array(address)) => address,
            Some(Value::Nil) => {
                let context = format!("the Sentinels know no service {:?}", self.service);
                return Err(Failure::new(ErrorKind::InvalidArgument, context).at(sentinel));
            }
            Some(Value::ServerError(error)) => return Err(Failure::from(&error).at(sentinel)),
            _ => return Err(unexpected()),
        };
        let mut address = address.into_iter().map(text);
        let (host, port) = (address.next().flatten(), address.next().flatten());
        let (host, port) = host
            .zip(port.and_then(|port| port.parse().ok()))
            .ok_or_else(unexpected)?;
        Ok(Named {
            endpoint: Endpoint::Tcp { host, port },
            epoch: answers.next().and_then(epoch).unwrap_or(0),
        })
    }
}

/// What one Sentinel says.
#[derive(Debug)]
struct Named {
    endpoint: Endpoint,
    /// The number of the failover that this comes from.
    epoch: u64,
}

/// The primary of the newest failover; of several, the one that most Sentinels name.
fn newest(named: Vec<Named>) -> Option<Endpoint> {
    let votes = |endpoint: &Endpoint| named.iter().filter(|other| other.endpoint == *endpoint).count();
    let newest = named.iter().max_by_key(|one| (one.epoch, votes(&one.endpoint)))?;
    Some(newest.endpoint.clone())
}

/// The field `config-epoch` of the answer to `SENTINEL MASTER`, which is a map in RESP3 and a flat list in RESP2.
fn epoch(master: Value) -> Option<u64> {
    let fields: Vec<Value> = match master {
        Value::Map(fields) => fields
            .into_iter()
            .flat_map(|(name, value)| [name, value])
            .collect(),
        Value::Array(fields) => fields,
        _ => return None,
    };
    let texts: Vec<_> = fields.into_iter().map(text).collect();
    let mut pairs = texts.chunks_exact(2);
    let pair = pairs.find(|pair| pair[0].as_deref() == Some("config-epoch"))?;
    pair[1].as_deref()?.parse().ok()
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// Between the failure and the Sentinels' decision, and right after it, the server that they name may be a replica.
async fn prove_primary(link: &Link) -> Result<(), Failure> {
    let Value::Array(role) = link.call(&redis::cmd("ROLE")).await? else {
        return Err(Failure::unexpected("ROLE"));
    };
    match role.first() {
        Some(Value::BulkString(role)) if role == b"master" => Ok(()),
        _ => {
            let context = "the Sentinels name a server that is a replica; a failover is under way, try again";
            Err(Failure::new(ErrorKind::Unavailable, context).at(link.endpoint()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(port: u16, epoch: u64) -> Named {
        let host = "10.0.0.1".to_owned();
        Named {
            endpoint: Endpoint::Tcp { host, port },
            epoch,
        }
    }

    #[test]
    fn the_newest_failover_is_believed_and_then_the_most() {
        let port_of = |named| match newest(named) {
            Some(Endpoint::Tcp { port, .. }) => Some(port),
            _ => None,
        };
        assert_eq!(port_of(vec![named(1, 4), named(1, 4), named(2, 5)]), Some(2));
        assert_eq!(port_of(vec![named(1, 4), named(2, 4), named(1, 4)]), Some(1));
        assert_eq!(port_of(Vec::new()), None);
    }

    #[test]
    fn the_epoch_is_read_from_both_protocols() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let list = Value::Array(vec![text("name"), text("main"), text("config-epoch"), text("7")]);
        assert_eq!(epoch(list), Some(7));
        let map = Value::Map(vec![(text("config-epoch"), text("8"))]);
        assert_eq!(epoch(map), Some(8));
        assert_eq!(epoch(Value::Nil), None);
    }
}
