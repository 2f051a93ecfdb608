//! Fleets: processes over one store, each with a cache and a client of its own, that refresh at a real provider, are stopped and killed,
//! count and sign out.
//!
//! A member reads [orders] from its standard input, one JSON object a line, and says on its standard output what came of them.

mod client;
pub mod counter;
mod http;
mod introspection;
mod member;
pub mod orders;
pub mod place;
pub mod provider;
pub mod scene;
pub mod serving;
mod setup;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::time::{SystemClock, with_deadline};
use futures_util::future::{join_all, try_join_all};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};

pub use self::http::micros;
use self::orders::{Answer, Asking, Numbered, Order, Outcome, Said, SignedOut};
use self::serving::diary::Diary;
pub use self::setup::{Issuer, Limits, Program, Setup};
use crate::child::{Task, whole};
use crate::gate::{Doing, GateError};
use crate::stage::Stage;

/// How many processes a large fleet has.
pub const PROCESSES: usize = 16;

/// Far beyond what anything may take: a fleet that hangs is a gate that failed, not a hung one.
const PATIENCE: Duration = Duration::from_secs(300);

/// Processes that share a store.
#[derive(Debug)]
pub struct Fleet {
    /// They.
    pub members: Vec<Member>,
}

impl Fleet {
    /// Starts `size` processes that are told the same, on the current runtime.
    ///
    /// # Errors
    ///
    /// When one of them cannot be started.
    pub fn start(stage: &Stage, setup: &Setup, size: usize) -> Result<Self, GateError> {
        let members = (0..size).map(|_| Member::start(stage, setup));
        Ok(Self {
            members: members.collect::<Result<_, _>>()?,
        })
    }

    /// Has all ask for the same tokens at once; what each got, in the order of the members.
    ///
    /// # Errors
    ///
    /// When one of them could not.
    pub async fn tokens(&self, asking: &Asking) -> Result<Vec<Vec<Outcome>>, GateError> {
        try_join_all(self.members.iter().map(|member| member.tokens(asking.clone()))).await
    }

    /// Ends all processes, each of which must have nothing left to do.
    ///
    /// # Errors
    ///
    /// When one of them had, or failed.
    pub async fn end(self) -> Result<(), GateError> {
        let ends = join_all(self.members.into_iter().map(Member::end)).await;
        ends.into_iter().collect()
    }
}

/// One process, which is killed when this is dropped.
#[derive(Debug)]
pub struct Member {
    child: tokio::sync::Mutex<Child>,
    id: Pid,
    orders: tokio::sync::Mutex<ChildStdin>,
    awaited: Awaited,
    next: Mutex<u64>,
    in_hand: tokio::sync::Mutex<mpsc::UnboundedReceiver<()>>,
}

/// The orders that were not answered yet.
type Awaited = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Answer, String>>>>>;

impl Member {
    /// Starts a process on the current runtime.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(stage: &Stage, setup: &Setup) -> Result<Self, GateError> {
        let command = stage.command(&Task::Member(Box::new(setup.clone())))?;
        let mut child = Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .doing("could not start a member")?;
        let missing = || GateError::new("a member has no pipes");
        let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let orders = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        let awaited = Awaited::default();
        let (says, in_hand) = mpsc::unbounded_channel();
        tokio::spawn(listen(output, Arc::clone(&awaited), says));
        Ok(Self {
            child: child.into(),
            id: id.ok_or_else(|| GateError::new("a member ended at once"))?,
            orders: orders.into(),
            awaited,
            next: Mutex::default(),
            in_hand: in_hand.into(),
        })
    }

    /// Gives an order and waits for its answer.
    ///
    /// # Errors
    ///
    /// When it could not be done.
    pub async fn ask(&self, order: Order) -> Result<Answer, GateError> {
        self.order(order).await?.answer().await
    }

    /// Gives an order, to wait for its answer later.
    ///
    /// # Errors
    ///
    /// When the process is gone.
    pub async fn order(&self, order: Order) -> Result<Given, GateError> {
        let number = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            *next += 1;
            *next
        };
        let (answer, answered) = oneshot::channel();
        awaited(&self.awaited).insert(number, answer);
        let line = serde_json::to_string(&Numbered { number, order }).doing("could not write an order")?;
        let mut orders = self.orders.lock().await;
        let given = orders.write_all(format!("{line}\n").as_bytes()).await;
        given.doing("could not give a member an order")?;
        Ok(Given(answered))
    }

    /// Asks for tokens; of each account what came of it, in the order in which they were asked for.
    ///
    /// # Errors
    ///
    /// When it could not be done.
    pub async fn tokens(&self, asking: Asking) -> Result<Vec<Outcome>, GateError> {
        self.order(Order::Tokens(asking)).await?.tokens().await
    }

    /// Signs accounts out, each after its time.
    ///
    /// # Errors
    ///
    /// When it could not be done.
    pub async fn sign_out(
        &self,
        accounts: &[String],
        after: Vec<Duration>,
    ) -> Result<Vec<SignedOut>, GateError> {
        let accounts = accounts.to_vec();
        match self.ask(Order::SignOut { accounts, after }).await? {
            Answer::SignedOut(signed_out) => Ok(signed_out),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until the member has the replies in hand that it was told to hold.
    ///
    /// # Errors
    ///
    /// When it never has.
    pub async fn has_replies_in_hand(&self) -> Result<(), GateError> {
        let mut in_hand = self.in_hand.lock().await;
        match with_deadline(&SystemClock, PATIENCE, in_hand.recv()).await {
            Some(Some(())) => Ok(()),
            _ => Err(GateError::new("a member never had the replies in hand")),
        }
    }

    /// What has happened since this was last asked, where the member [serves](Order::Serve).
    ///
    /// # Errors
    ///
    /// When it could not be done.
    pub async fn diary(&self) -> Result<Diary, GateError> {
        match self.ask(Order::Diary).await? {
            Answer::Diary(diary) => Ok(diary),
            other => Err(unexpected(&other)),
        }
    }

    /// Its process ID.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.id.as_raw_nonzero().get()
    }

    /// Stops the process where it stands (`SIGSTOP`).
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn stop(&self) -> Result<(), GateError> {
        kill_process(self.id, Signal::STOP).doing("could not stop a member")
    }

    /// Lets it go on (`SIGCONT`).
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn wake(&self) -> Result<(), GateError> {
        kill_process(self.id, Signal::CONT).doing("could not wake a member")
    }

    /// Kills it without warning (`SIGKILL`) and waits for its end.
    ///
    /// # Errors
    ///
    /// When it cannot be killed.
    pub async fn kill(&self) -> Result<(), GateError> {
        let mut child = self.child.lock().await;
        child.kill().await.doing("could not kill a member")
    }

    /// Tells it that there are no more orders, and waits for its end.
    ///
    /// # Errors
    ///
    /// When it failed, or had something left to do.
    pub async fn end(self) -> Result<(), GateError> {
        drop(self.orders);
        let mut child = self.child.lock().await;
        let ended = with_deadline(&SystemClock, PATIENCE, child.wait()).await;
        let ended = ended.ok_or_else(|| GateError::new("a member does not end"))?;
        let status = ended.doing("could not wait for a member")?;
        if status.success() {
            return Ok(());
        }
        Err(GateError::new(format!("a member failed ({status})")))
    }
}

/// An order that was given.
#[derive(Debug)]
pub struct Given(oneshot::Receiver<Result<Answer, String>>);

impl Given {
    /// What came of it.
    ///
    /// # Errors
    ///
    /// When it could not be done.
    pub async fn answer(self) -> Result<Answer, GateError> {
        let answer = with_deadline(&SystemClock, PATIENCE, self.0).await;
        let answer = answer.ok_or_else(|| GateError::new("a member does not answer"))?;
        let answer = answer.doing("a member died before it answered")?;
        answer.map_err(|failed| GateError::new(format!("a member could not: {failed}")))
    }

    /// What came of asking for tokens.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub async fn tokens(self) -> Result<Vec<Outcome>, GateError> {
        match self.answer().await? {
            Answer::Tokens(tokens) => Ok(tokens),
            other => Err(unexpected(&other)),
        }
    }
}

pub(crate) fn unexpected(answer: &Answer) -> GateError {
    GateError::new(format!("a member answered something else: {answer:?}"))
}

fn awaited(awaited: &Awaited) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Result<Answer, String>>>> {
    awaited.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen(output: ChildStdout, orders: Awaited, in_hand: mpsc::UnboundedSender<()>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match whole(&line).and_then(|said| serde_json::from_str(said).ok()) {
            // Nobody waits any more if the gate could not go on.
            Some(Said::Answer { number, answer }) => {
                let order = awaited(&orders).remove(&number);
                drop(order.map(|order| order.send(answer)));
            }
            Some(Said::InHand) => drop(in_hand.send(())),
            None => {}
        }
    }
    // Whoever still waits learns that there will be no answer.
    awaited(&orders).clear();
}
