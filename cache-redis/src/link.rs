//! One connection to one server, shared by all who ask, and replaced when it breaks.
//!
//! The crate's own connection manager is not used: it sends some requests again by itself, and a conditional write
//! that may have been applied must not be sent twice.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use redis::{Cmd, Pipeline, Value};

use crate::address::Endpoint;
use crate::connector::{Connector, Live};
use crate::error::Failure;
use crate::script::ScriptCall;
use crate::shared::Shared;

pub(crate) struct Link {
    endpoint: Endpoint,
    connector: Arc<Connector>,
    current: Shared<Live>,
}

impl Link {
    pub(crate) fn new(endpoint: Endpoint, connector: Arc<Connector>) -> Self {
        Self {
            endpoint,
            connector,
            current: Shared::new(),
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn connector(&self) -> &Arc<Connector> {
        &self.connector
    }

    /// Whether there was a connection, and it is known to be lost.
    pub(crate) fn is_broken(&self) -> bool {
        self.current.is(|live| live.broken.load(Ordering::Acquire))
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
        self.current.forget(|_| true);
    }

    fn refused(&self, live: &Live, error: &redis::ServerError) -> Failure {
        let failure = Failure::from(error).at(&self.endpoint);
        if failure.doubts_topology() {
            self.discard(live);
        }
        failure
    }

    async fn live(&self) -> Result<Live, Failure> {
        if let Some(live) = self.current.current()
            && !live.broken.load(Ordering::Acquire)
        {
            return Ok(live);
        }
        // Boxed: a future with all that connecting takes in it would be moved about by every request.
        Box::pin(self.connect()).await
    }

    async fn connect(&self) -> Result<Live, Failure> {
        self.current.forget(|live| live.broken.load(Ordering::Acquire));
        let timeout = self.connector.response_timeout();
        self.current
            .get_or_make(self.connector.server(&self.endpoint, timeout))
            .await
    }

    /// Forgets this very connection, unless another replaced it already.
    fn discard(&self, live: &Live) {
        live.broken.store(true, Ordering::Release);
        self.current
            .forget(|current| Arc::ptr_eq(&current.broken, &live.broken));
    }
}
