//! One connection to one server, shared by all who ask, and replaced when it breaks.
//!
//! The crate's own connection manager is not used: it sends some requests again by itself, and a conditional write
//! that may have been applied must not be sent twice.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};

use redis::{Cmd, Pipeline, Value};
use tokio::sync::Mutex;

use crate::address::Endpoint;
use crate::connector::{Connector, Live};
use crate::error::Failure;
use crate::script::ScriptCall;

pub(crate) struct Link {
    endpoint: Endpoint,
    connector: Arc<Connector>,
    current: SyncMutex<Option<Live>>,
    /// Held by whoever connects.
    connecting: Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    count: u64,
    last_failure: Option<Failure>,
}

impl Link {
    pub(crate) fn new(endpoint: Endpoint, connector: Arc<Connector>) -> Self {
        Self {
            endpoint,
            connector,
            current: SyncMutex::default(),
            connecting: Mutex::default(),
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn connector(&self) -> &Arc<Connector> {
        &self.connector
    }

    /// Connects if need be. Nothing was sent when it fails.
    pub(crate) async fn connect(&self) -> Result<(), Failure> {
        self.live().await.map(drop)
    }

    /// Sends one command and waits for its answer.
    ///
    /// Cancellation safe for reads; the server may still carry out a write.
    pub(crate) async fn call(&self, command: &Cmd) -> Result<Value, Failure> {
        let mut live = self.live().await?;
        match live.connection.send_packed_command(command).await {
            Ok(Value::ServerError(error)) => Err(self.refused(&live, &error)),
            Ok(value) => Ok(value),
            Err(error) => {
                self.discard(&live);
                Err(Failure::unanswered(&self.endpoint, &error))
            }
        }
    }

    /// Sends `command` with `ASKING`, for a slot that is moving to this node.
    pub(crate) async fn call_asking(&self, command: &Cmd) -> Result<Value, Failure> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("ASKING").add_command(command.clone());
        let mut live = self.live().await?;
        match live.connection.send_packed_commands(&pipeline, 0, 2).await {
            Ok(mut values) => match values.pop() {
                Some(Value::ServerError(error)) => Err(self.refused(&live, &error)),
                Some(value) => Ok(value),
                None => Err(Failure::unexpected("ASKING")),
            },
            Err(error) => {
                self.discard(&live);
                Err(Failure::unanswered(&self.endpoint, &error))
            }
        }
    }

    /// Runs a script, and teaches it to a server that does not have it: it was flushed, or a replica took over. A script
    /// that is not there was certainly not run.
    pub(crate) async fn run(&self, call: &ScriptCall<'_>, asking: bool) -> Result<Value, Failure> {
        let by_hash = call.by_hash();
        let answer = match asking {
            true => self.call_asking(&by_hash).await,
            false => self.call(&by_hash).await,
        };
        match answer {
            Err(failure) if failure.has_code("NOSCRIPT") => match asking {
                true => self.call_asking(&call.in_full()).await,
                false => self.call(&call.in_full()).await,
            },
            other => other,
        }
    }

    /// Forgets the connection, so that the next request makes another.
    pub(crate) fn disconnect(&self) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn refused(&self, live: &Live, error: &redis::ServerError) -> Failure {
        let failure = Failure::server(error.code(), error.details().unwrap_or_default());
        if failure.doubts_topology() {
            self.discard(live);
        }
        failure
    }

    async fn live(&self) -> Result<Live, Failure> {
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let before = match self.connecting.try_lock() {
            Ok(attempts) => attempts.count,
            // Whoever connects now does so for us too.
            Err(_) => u64::MAX,
        };
        let mut attempts = self.connecting.lock().await;
        if let Some(live) = self.current() {
            return Ok(live);
        }
        if attempts.count != before
            && let Some(failure) = &attempts.last_failure
        {
            // Somebody tried while we waited: a row of callers must not wait one time limit each.
            return Err(failure.clone());
        }
        let connected = self
            .connector
            .server(&self.endpoint, self.connector.response_timeout())
            .await;
        attempts.count += 1;
        attempts.last_failure = connected.as_ref().err().cloned();
        let live = connected?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(live.clone());
        Ok(live)
    }

    fn current(&self) -> Option<Live> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current
            .as_ref()
            .is_some_and(|live| live.broken.load(Ordering::Acquire))
        {
            *current = None;
        }
        current.clone()
    }

    /// Forgets this very connection, unless another replaced it already.
    fn discard(&self, live: &Live) {
        live.broken.store(true, Ordering::Release);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(&current.broken, &live.broken))
        {
            *current = None;
        }
    }
}
