//! The primary that the Sentinels name (<https://redis.io/docs/latest/develop/reference/sentinel-clients/>).

use std::sync::Arc;

use cache_core::store::error::ErrorKind;
use futures_util::future::select_ok;
use redis::Value;

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
        self.primary.get_or_make(self.find()).await
    }

    /// The next request asks the Sentinels anew.
    pub(crate) fn forget(&self, link: &Arc<Link>) {
        self.primary.forget(|primary| Arc::ptr_eq(primary, link));
    }

    pub(crate) fn forget_all(&self) {
        self.primary.forget(|_| true);
    }

    /// Whether the Sentinels still name this server, as far as they can be asked.
    pub(crate) async fn names(&self, endpoint: &Endpoint) -> bool {
        let answers = self.sentinels.iter().map(|sentinel| Box::pin(self.ask(sentinel)));
        match select_ok(answers).await {
            Ok((named, _)) if named != *endpoint => {
                self.primary.forget(|primary| primary.endpoint() != &named);
                false
            }
            Ok(_) | Err(_) => true,
        }
    }

    /// Asks all Sentinels at once and takes the first whose answer is the address of a primary. One that is cut off or has
    /// not heard of a failover yet names a server that is gone, or is a replica.
    async fn find(&self) -> Result<Arc<Link>, Failure> {
        let candidates = self.sentinels.iter().map(|sentinel| {
            Box::pin(async move {
                let endpoint = self.ask(sentinel).await?;
                let link = Arc::new(Link::new(endpoint, Arc::clone(&self.connector)));
                prove_primary(&link).await?;
                Ok(link)
            })
        });
        let (link, _) = select_ok(candidates).await?;
        Ok(link)
    }

    async fn ask(&self, sentinel: &Endpoint) -> Result<Endpoint, Failure> {
        let mut live = self.connector.sentinel(sentinel).await?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.service);
        let answer = live.connection.send_packed_command(&command).await;
        let fields = match answer.map_err(|error| Failure::connecting(sentinel, &error))? {
            Value::Array(fields) => fields,
            Value::Nil => {
                let context = format!("the Sentinels know no service {:?}", self.service);
                return Err(Failure::new(ErrorKind::InvalidArgument, context).at(sentinel));
            }
            Value::ServerError(error) => {
                let details = error.details().unwrap_or_default();
                return Err(Failure::server(error.code(), details).at(sentinel));
            }
            _ => return Err(Failure::unexpected("SENTINEL")),
        };
        let mut texts = fields.into_iter().map(|field| match field {
            Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
            _ => None,
        });
        let (host, port) = (texts.next().flatten(), texts.next().flatten());
        let endpoint = host.zip(port.and_then(|port| port.parse().ok()));
        let (host, port) = endpoint.ok_or_else(|| Failure::unexpected("SENTINEL"))?;
        Ok(Endpoint::Tcp { host, port })
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
