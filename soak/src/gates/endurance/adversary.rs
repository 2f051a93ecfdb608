//! Who makes things go wrong.

use std::time::Duration;

use cache_core::seal::{KeyState, SealError};
use cache_core::time::{Clock, SystemClock};
use cache_testkit::proxy::Behaviour;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tokio::sync::Mutex;

use super::faults::{Faults, Kind};
use super::process::Process;
use super::{DEADLINE, RETIRED_AFTER};
use crate::child::Task;
use crate::fleet::place::{Backend, Place};
use crate::fleet::scene::Scene;
use crate::gate::{Doing, GateError};
use crate::stage::Stage;
use crate::tally::Tally;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    LoseReplies,
    SendIssuerAway,
    KillWorker,
    StopProcess,
    ResetConnections,
    PauseServer,
    RestartServer,
    LockDatabase,
    RotateKeys,
}

impl Action {
    /// Those that can be done to a store of this kind.
    fn on(backend: Backend) -> Vec<Self> {
        let of_all = [
            Self::LoseReplies,
            Self::StopProcess,
            Self::KillWorker,
            Self::SendIssuerAway,
            Self::RotateKeys,
        ];
        let of_store: &[_] = match backend {
            Backend::Sqlite => &[Self::LockDatabase],
            Backend::Redis => &[Self::ResetConnections, Self::PauseServer, Self::RestartServer],
        };
        [&of_all, of_store].concat()
    }

    fn name(self) -> &'static str {
        match self {
            Self::LoseReplies => "fault: replies of the issuer lost",
            Self::SendIssuerAway => AWAY,
            Self::KillWorker => "fault: a worker killed and started anew",
            Self::StopProcess => "fault: a process stopped past its deadline",
            Self::ResetConnections => "fault: all connections to Redis closed",
            Self::PauseServer => "fault: Redis paused",
            Self::RestartServer => "fault: Redis restarted",
            Self::LockDatabase => "fault: the database locked by another process",
            Self::RotateKeys => "fault: keys of the cache rotated",
        }
    }

    fn kind(self) -> Option<Kind> {
        Some(match self {
            Self::SendIssuerAway => Kind::IssuerAway,
            Self::KillWorker => Kind::ProcessKilled,
            Self::StopProcess => Kind::ProcessStopped,
            Self::ResetConnections | Self::PauseServer | Self::RestartServer => Kind::StoreAway,
            Self::LockDatabase => Kind::StoreLocked,
            // Which replies were lost the proxy tells, and a rotation explains no failure.
            Self::LoseReplies | Self::RotateKeys => return None,
        })
    }
}

/// How it is counted that the issuer was sent away.
pub(super) const AWAY: &str = "fault: the issuer away for seconds";

/// How a reply is lost once the request is through.
const LOSSES: [Behaviour; 4] = [
    Behaviour::DropReply { request_bytes: 1 },
    Behaviour::HalfClose { request_bytes: 1 },
    Behaviour::Reset { request_bytes: 1 },
    Behaviour::CutReply { reply_bytes: 40 },
];
/// How many are lost at once, at most.
const MOST_LOST: usize = 3;
/// How long the longest action takes, and what it leaves behind: the time in which others still wait.
const LONGEST: Duration = DEADLINE.saturating_add(Duration::from_secs(1));

/// Makes things go wrong in one arrangement.
pub(super) struct Adversary<'a> {
    pub(super) stage: &'a Stage,
    pub(super) scene: &'a Scene,
    pub(super) processes: &'a [Process],
    pub(super) faults: &'a Faults,
    /// When keys were rotated last.
    pub(super) rotated: Mutex<Option<Duration>>,
}

impl Adversary<'_> {
    /// Does one thing after the other, each kind as often as any other, and some at the same time; all is well again at `until`. What was
    /// done is added to `tally`.
    pub(super) async fn rage(
        &self,
        mut chance: StdRng,
        between: Duration,
        until: Duration,
        tally: &Mutex<Tally>,
    ) -> Result<(), GateError> {
        let mut deck = Vec::new();
        let mut under_way = FuturesUnordered::new();
        loop {
            let wait = between.mul_f64(0.5 + chance.random::<f64>());
            if deck.is_empty() {
                deck = Action::on(self.scene.backend());
                deck.shuffle(&mut chance);
                // What takes longest begins, so that a short life has time for all.
                deck.sort_by_key(|action| *action == Action::StopProcess);
            }
            let takes = match deck.last() {
                Some(Action::StopProcess) => LONGEST,
                _ => LONGEST / 2,
            };
            if SystemClock.monotonic() + wait + takes > until {
                break;
            }
            let mut pause = SystemClock.sleep(wait);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    Some(done) = under_way.next() => done?,
                }
            }
            if let Some(action) = deck.pop() {
                under_way.push(self.act(action, chance.random(), chance.random(), tally));
            }
        }
        while let Some(done) = under_way.next().await {
            done?;
        }
        Ok(())
    }

    async fn act(
        &self,
        action: Action,
        share: f64,
        choice: u32,
        tally: &Mutex<Tally>,
    ) -> Result<(), GateError> {
        let kind = action.kind();
        let from = kind.map(|kind| (kind, self.faults.begin(kind)));
        let done = match action {
            Action::LoseReplies => {
                let first = choice as usize % LOSSES.len();
                let lost = 1 + (share * MOST_LOST as f64) as usize;
                let losses = LOSSES.into_iter().cycle().skip(first).take(lost);
                self.scene.provider.proxy().script(losses);
                Ok(())
            }
            Action::SendIssuerAway => {
                self.scene.provider.proxy().close();
                SystemClock.sleep(seconds(1.0 + 3.0 * share)).await;
                self.scene.provider.proxy().reopen();
                Ok(())
            }
            // The last one alone: the others are to live long.
            Action::KillWorker => match self.processes.last() {
                Some(process) => process.replace(self.stage).await,
                None => Ok(()),
            },
            Action::StopProcess => self.stop(choice as usize % (self.processes.len() - 1)).await,
            Action::ResetConnections => self.reset_connections().await,
            Action::PauseServer => self.pause_server(seconds(0.5 + 3.0 * share)).await,
            Action::RestartServer => self.restart_server().await,
            Action::LockDatabase => self.lock_database(seconds(0.5 + 4.0 * share)).await,
            Action::RotateKeys => {
                let mut rotated = Tally::default();
                if let Err(error) = self.rotate_keys(&mut rotated).await {
                    // Nothing was done; the next one tries again.
                    self.judge_rotation(&error, &mut rotated);
                }
                tally.lock().await.merge(rotated);
                Ok(())
            }
        };
        if let Some((kind, from)) = from {
            self.faults.end(kind, from);
        }
        tally.lock().await.add(action.name(), 1);
        done
    }

    /// Stops a process where it stands, for longer than any marker of it holds.
    async fn stop(&self, process: usize) -> Result<(), GateError> {
        let (_, member) = self.processes[process].current().await;
        member.stop()?;
        SystemClock.sleep(LONGEST).await;
        member.wake()
    }

    async fn reset_connections(&self) -> Result<(), GateError> {
        let Some(server) = self.scene.ground.server() else {
            return Ok(());
        };
        let server = server.lock().await;
        for kind in ["normal", "pubsub"] {
            let killed = server.command(&["CLIENT", "KILL", "TYPE", kind]).await;
            killed.doing("could not close the connections to Redis")?;
        }
        Ok(())
    }

    async fn pause_server(&self, for_long: Duration) -> Result<(), GateError> {
        let Some(server) = self.scene.ground.server() else {
            return Ok(());
        };
        let server = server.lock().await;
        server.pause().doing("could not pause Redis")?;
        SystemClock.sleep(for_long).await;
        server.resume().doing("could not wake Redis")
    }

    async fn restart_server(&self) -> Result<(), GateError> {
        let Some(server) = self.scene.ground.server() else {
            return Ok(());
        };
        let mut server = server.lock().await;
        server.stop().await.doing("could not end Redis")?;
        server.restart().await.doing("could not start Redis again")
    }

    /// Another process holds the lock for writing.
    async fn lock_database(&self, for_long: Duration) -> Result<(), GateError> {
        let Place::Sqlite(path) = self.scene.ground.place() else {
            return Ok(());
        };
        let mut holder = self.stage.start(&Task::HoldDatabase(path))?;
        let held = tokio::task::spawn_blocking(move || holder.line().map(|held| (holder, held)));
        let (mut holder, held) = held.await.doing("nobody waits for the lock")??;
        if held.is_none() {
            return Err(GateError::new("the database could not be locked"));
        }
        SystemClock.sleep(for_long).await;
        holder.kill()
    }

    /// Seals everything under a new key, and retires old ones that no writer can still have.
    async fn rotate_keys(&self, tally: &mut Tally) -> Result<(), SealError> {
        let sealer = self.scene.cache.sealer();
        let mut rotated = self.rotated.lock().await;
        let now = SystemClock.monotonic();
        let is_old = rotated.is_some_and(|rotated| now - rotated > RETIRED_AFTER);
        while !sealer.reseal(u64::MAX).await?.is_complete() {}
        for key in sealer.keys() {
            if is_old && key.state == KeyState::ReadOnly {
                sealer.retire(key.id).await?;
                tally.add("keys of the cache retired", 1);
            }
        }
        sealer.rotate().await?;
        *rotated = Some(now);
        tally.add("rotations of keys", 1);
        Ok(())
    }

    fn judge_rotation(&self, error: &SealError, tally: &mut Tally) {
        let now = super::faults::now();
        let is_explained = self.faults.all().iter().any(|fault| {
            let kinds = [Kind::StoreAway, Kind::StoreLocked, Kind::ProcessStopped];
            kinds.contains(&fault.kind) && fault.is_around(now, now, 15_000_000)
        });
        if matches!(error, SealError::Store(error) if error.is_unavailable()) && is_explained {
            tally.add("rotations put off while the store was away", 1);
        } else {
            tally.violation(format_args!("{}: keys were not rotated: {error:?}", self.scene));
        }
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}
