//! A process of the scene, and whoever takes its place when it is killed.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::fleet::orders::Order;
use crate::fleet::serving::Serving;
use crate::fleet::{Member, Setup};
use crate::gate::GateError;
use crate::stage::Stage;

/// A place in the scene.
pub(super) struct Process {
    /// What it is called in results.
    pub(super) name: &'static str,
    setup: Setup,
    serving: Serving,
    /// How often it was killed, and who has the place now.
    member: Mutex<(u64, Arc<Member>)>,
}

impl Process {
    /// Starts it, and tells it to serve.
    pub(super) async fn start(
        stage: &Stage,
        name: &'static str,
        setup: Setup,
        serving: Serving,
    ) -> Result<Self, GateError> {
        let member = Member::start(stage, &setup)?;
        member.ask(Order::Serve(serving.clone())).await?;
        Ok(Self {
            name,
            setup,
            serving,
            member: Mutex::new((0, Arc::new(member))),
        })
    }

    /// How often it was killed, and who has the place now.
    pub(super) async fn current(&self) -> (u64, Arc<Member>) {
        let member = self.member.lock().await;
        (member.0, Arc::clone(&member.1))
    }

    /// Kills it, and starts another in its place.
    pub(super) async fn replace(&self, stage: &Stage) -> Result<(), GateError> {
        let mut place = self.member.lock().await;
        place.1.kill().await?;
        let member = Member::start(stage, &self.setup)?;
        *place = (place.0 + 1, Arc::new(member));
        // Until the store is there again it may not begin.
        place.1.order(Order::Serve(self.serving.clone())).await?;
        Ok(())
    }

    /// Ends it, when nobody else holds it.
    pub(super) async fn end(self) -> Result<(), GateError> {
        let (_, member) = self.member.into_inner();
        let member = Arc::into_inner(member);
        let member = member.ok_or_else(|| GateError::new("a process is still in use"))?;
        member.end().await
    }
}
