//! The processes of a fleet, as the test that leads them sees them.
//!
//! A member reads orders from its standard input, one JSON object a line, and says what came of them on its standard output,
//! behind a mark: the test harness writes there too.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::time::{SystemClock, with_deadline};
use futures_util::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};

use crate::setup::{SETUP, Setup};

/// What a member puts before everything that is meant for its leader.
pub const MARK: &str = "member says ";

/// Where members begin.
const ENTRY: &str = "members_share_an_account_and_end_with_their_fleet";

/// Far beyond what anything may take: a fleet that hangs is a failed test, not a hung one.
const PATIENCE: Duration = Duration::from_secs(300);

/// Processes that share a store.
pub struct Fleet {
    pub members: Vec<Member>,
}

/// One process, which is killed when this is dropped.
pub struct Member {
    child: tokio::sync::Mutex<Child>,
    id: Pid,
    orders: tokio::sync::Mutex<Option<ChildStdin>>,
    awaited: Awaited,
    next: Mutex<u64>,
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<Value>>,
}

/// The orders that were not answered yet.
type Awaited = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

impl Fleet {
    pub fn start(setup: &Setup, size: usize) -> Self {
        Self {
            members: (0..size).map(|_| Member::start(setup)).collect(),
        }
    }

    /// Gives all the same order at once; their answers, in the order of the members.
    pub async fn ask_all(&self, order: Value) -> Vec<Value> {
        join_all(self.members.iter().map(|member| member.ask(order.clone()))).await
    }

    /// Ends all processes, each of which must have nothing left to do.
    pub async fn end(self) {
        join_all(self.members.iter().map(Member::end)).await;
    }
}

impl Member {
    fn start(setup: &Setup) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", ENTRY, "--nocapture", "--test-threads=1"])
            .env(SETUP, setup.told())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let id = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        let orders = child.stdin.take();
        let output = child.stdout.take().unwrap();
        let awaited = Awaited::default();
        let (happened, events) = mpsc::unbounded_channel();
        tokio::spawn(listen(output, Arc::clone(&awaited), happened));
        Self {
            child: child.into(),
            id,
            orders: orders.into(),
            awaited,
            next: Mutex::default(),
            events: events.into(),
        }
    }

    /// Gives an order and waits for its answer.
    pub async fn ask(&self, order: Value) -> Value {
        self.order(order).await.answer().await
    }

    /// Gives an order, to wait for its answer later.
    pub async fn order(&self, mut order: Value) -> Order {
        let number = {
            let mut next = self.next.lock().unwrap();
            *next += 1;
            *next
        };
        let (answer, answered) = oneshot::channel();
        self.awaited.lock().unwrap().insert(number, answer);
        order["number"] = number.into();
        let mut orders = self.orders.lock().await;
        let line = format!("{order}\n");
        orders.as_mut().unwrap().write_all(line.as_bytes()).await.unwrap();
        Order(answered)
    }

    /// Waits until the member says by itself that this happened.
    pub async fn happened(&self, event: &str) {
        let mut events = self.events.lock().await;
        let awaited = async {
            while let Some(said) = events.recv().await {
                if said["event"] == event {
                    return true;
                }
            }
            false
        };
        let happened = with_deadline(&SystemClock, PATIENCE, awaited).await;
        assert_eq!(happened, Some(true), "{event} never happened");
    }

    /// Stops the process where it stands (`SIGSTOP`).
    pub fn stop(&self) {
        kill_process(self.id, Signal::STOP).unwrap();
    }

    /// Lets it go on (`SIGCONT`).
    pub fn wake(&self) {
        kill_process(self.id, Signal::CONT).unwrap();
    }

    async fn end(&self) {
        drop(self.orders.lock().await.take());
        let mut child = self.child.lock().await;
        let ended = with_deadline(&SystemClock, PATIENCE, child.wait()).await;
        let status = ended.expect("a member does not end").unwrap();
        assert!(status.success(), "a member failed: {status}");
    }
}

/// An order that was given.
pub struct Order(oneshot::Receiver<Value>);

impl Order {
    pub async fn answer(self) -> Value {
        with_deadline(&SystemClock, PATIENCE, self.0)
            .await
            .expect("a member does not answer")
            .expect("a member died before it answered")
    }
}

async fn listen(output: ChildStdout, awaited: Awaited, happened: mpsc::UnboundedSender<Value>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Some((_, said)) = line.split_once(MARK) else {
            continue;
        };
        let said: Value = serde_json::from_str(said).unwrap();
        let order = said["number"].as_u64();
        match order.and_then(|number| awaited.lock().unwrap().remove(&number)) {
            // Nobody waits any more if the test has failed.
            Some(answer) => drop(answer.send(said)),
            None => drop(happened.send(said)),
        }
    }
    // Whoever still waits learns that there will be no answer.
    awaited.lock().unwrap().clear();
}
