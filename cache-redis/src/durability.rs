//! Writes that wait for replicas.
//!
//! `WAIT` counts the replicas that have the writes *of its own connection*, and blocks that connection until they are
//! enough. So such a write goes over a connection of its own, to the node that has its slot, followed at once by `WAIT`.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cache_core::store::error::{ErrorKind, Retry};
use redis::{Pipeline, Value};
use tokio::sync::Semaphore;

use crate::address::Endpoint;
use crate::connector::{Connector, Live};
use crate::error::Failure;
use crate::script::ScriptCall;

/// How many writes wait at the same time; each has a connection meanwhile.
const AT_ONCE: usize = 16;

/// Connections on which one write at a time waits for replicas.
pub(crate) struct Waiting {
    replicas: usize,
    timeout: Duration,
    connector: Arc<Connector>,
    idle: Mutex<HashMap<Endpoint, Vec<Live>>>,
    places: Semaphore,
}

impl Waiting {
    pub(crate) fn new(replicas: usize, timeout: Duration, connector: Arc<Connector>) -> Self {
        Self {
            replicas,
            timeout,
            connector,
            idle: Mutex::default(),
            places: Semaphore::new(AT_ONCE),
        }
    }

    /// Runs a script on the server and, if it wrote, waits until enough replicas have the write.
    pub(crate) async fn run(
        &self,
        endpoint: &Endpoint,
        call: &ScriptCall<'_>,
        asking: bool,
    ) -> Result<Value, Failure> {
        let _place = self.places.acquire().await.map_err(|_| Failure::closed())?;
        let mut live = self.take(endpoint).await?;
        let mut answers = self.send(endpoint, &mut live, call.by_hash(), asking).await?;
        if matches!(&answers.0, Value::ServerError(error) if error.code() == "NOSCRIPT") {
            answers = self.send(endpoint, &mut live, call.in_full(), asking).await?;
        }
        let settled = self.settled(endpoint, answers);
        if !settled.as_ref().is_err_and(Failure::doubts_topology) {
            self.put_back(endpoint, live);
        }
        settled
    }

    pub(crate) fn disconnect(&self) {
        self.idle().clear();
    }

    /// The answers to the script and to `WAIT`.
    async fn send(
        &self,
        endpoint: &Endpoint,
        live: &mut Live,
        script: redis::Cmd,
        asking: bool,
    ) -> Result<(Value, Value), Failure> {
        let mut pipeline = Pipeline::new();
        if asking {
            pipeline.cmd("ASKING");
        }
        pipeline.add_command(script);
        pipeline
            .cmd("WAIT")
            .arg(self.replicas)
            .arg(self.timeout.as_millis().to_string());
        let count = pipeline.len();
        let sent = live.connection.send_packed_commands(&pipeline, 0, count).await;
        let mut answers = sent.map_err(|error| Failure::unanswered(endpoint, &error))?;
        match (answers.pop(), answers.pop()) {
            (Some(wait), Some(script)) => Ok((script, wait)),
            _ => Err(Failure::unexpected("WAIT")),
        }
    }

    fn settled(&self, endpoint: &Endpoint, (script, wait): (Value, Value)) -> Result<Value, Failure> {
        match script {
            Value::Int(1) => {}
            Value::ServerError(error) => return Err(Failure::from(&error).at(endpoint)),
            // Nothing was written.
            other => return Ok(other),
        }
        let acknowledged = match wait {
            Value::Int(count) => usize::try_from(count).unwrap_or(0),
            Value::ServerError(error) => {
                let failure = Failure::from(&error).at(endpoint);
                return Err(failure.with_retry(Retry::OutcomeUnknown));
            }
            _ => return Err(Failure::unexpected("WAIT").with_retry(Retry::OutcomeUnknown)),
        };
        if acknowledged >= self.replicas {
            return Ok(Value::Int(1));
        }
        let context = format!(
            "{acknowledged} of {} replicas have the write after {:?}; it stands on the primary, and a failover may lose it",
            self.replicas, self.timeout
        );
        let failure = Failure::new(ErrorKind::Timeout, context).at(endpoint);
        Err(failure.with_retry(Retry::OutcomeUnknown))
    }

    async fn take(&self, endpoint: &Endpoint) -> Result<Live, Failure> {
        while let Some(live) = self.pop(endpoint) {
            if !live.broken.load(Ordering::Acquire) {
                return Ok(live);
            }
        }
        let timeout = self.connector.response_timeout().saturating_add(self.timeout);
        self.connector.server(endpoint, timeout).await
    }

    fn pop(&self, endpoint: &Endpoint) -> Option<Live> {
        self.idle().get_mut(endpoint)?.pop()
    }

    fn put_back(&self, endpoint: &Endpoint, live: Live) {
        if self.connector.is_closed() {
            return;
        }
        self.idle().entry(endpoint.clone()).or_default().push(live);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, HashMap<Endpoint, Vec<Live>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
