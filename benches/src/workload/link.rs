//! How a worker process and its parent speak: JSON, a line each, over the worker's standard input and output. Nothing listens on
//! any port, and a worker whose parent is gone sees the end of its input and ends too.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines, Stdin};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::chosen::Chosen;
use super::error::BenchError;
use super::file::Workload;
use super::measured::Share;
use super::place::StorePlace;

/// What a worker is to do. It holds the key of a temporary cache, so it is never shown.
#[derive(Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) workload: Workload,
    pub(super) strategy: Chosen,
    pub(super) place: StorePlace,
    pub(super) key: [u8; 32],
    pub(super) seed: u64,
    pub(super) process: u32,
    /// Of a short-lived process: in which piece of the measured time it lives.
    pub(super) piece: usize,
    /// Whether the worker's store is its own and empty.
    pub(super) fills: bool,
}

/// From the parent to a worker.
#[derive(Serialize, Deserialize)]
pub(super) enum ToWorker {
    Job(Box<Job>),
    Go,
    /// The answer to a question; the serial number of the new refresh token, or a refusal.
    Answer {
        question: u64,
        granted: Option<u64>,
    },
}

/// From a worker to its parent.
#[derive(Serialize, Deserialize)]
pub(super) enum FromWorker {
    Ready,
    /// Redeem the refresh token of a user that has this serial number.
    Redeem {
        question: u64,
        user: u32,
        serial: u64,
    },
    /// Grant the application a token of its own.
    Obtain {
        question: u64,
    },
    Done(Box<Share>),
}

/// A worker's end.
pub(super) struct Link {
    to_parent: mpsc::UnboundedSender<FromWorker>,
    questions: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Option<u64>>>>,
    go: Notify,
    orphaned: Notify,
}

impl Link {
    /// Reads the job, and listens from then on. The task ends when everything was written that the link was given.
    pub(super) async fn open() -> Result<(Arc<Self>, Job, JoinHandle<()>), BenchError> {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        let first = lines
            .next_line()
            .await
            .map_err(BenchError::system("read standard input"))?
            .ok_or(BenchError::Orphaned)?;
        let ToWorker::Job(job) = serde_json::from_str(&first).map_err(BenchError::Protocol)? else {
            return Err(BenchError::Orphaned);
        };
        let (to_parent, mut messages) = mpsc::unbounded_channel::<FromWorker>();
        let link = Arc::new(Self {
            to_parent,
            questions: AtomicU64::new(0),
            waiting: Mutex::default(),
            go: Notify::new(),
            orphaned: Notify::new(),
        });
        let writing = tokio::spawn(async move {
            let mut output = tokio::io::stdout();
            while let Some(message) = messages.recv().await {
                let is_last = matches!(message, FromWorker::Done(_));
                let Ok(mut line) = serde_json::to_vec(&message) else {
                    break;
                };
                line.push(b'\n');
                if output.write_all(&line).await.is_err() || output.flush().await.is_err() || is_last {
                    break;
                }
            }
        });
        let listening = Arc::clone(&link);
        tokio::spawn(async move { listening.listen(lines).await });
        Ok((link, *job, writing))
    }

    async fn listen(&self, mut lines: Lines<BufReader<Stdin>>) {
        while let Ok(Some(line)) = lines.next_line().await {
            match serde_json::from_str(&line) {
                Ok(ToWorker::Go) => self.go.notify_one(),
                Ok(ToWorker::Answer { question, granted }) => {
                    let waiting = self
                        .waiting
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(&question);
                    if let Some(waiting) = waiting {
                        let _ = waiting.send(granted);
                    }
                }
                Ok(ToWorker::Job(_)) | Err(_) => break,
            }
        }
        self.orphaned.notify_one();
    }

    /// Says that everything is open, and waits until the others are ready too.
    pub(super) async fn ready(&self) {
        self.say(FromWorker::Ready);
        self.go.notified().await;
    }

    /// Waits until the parent is gone.
    pub(super) async fn orphaned(&self) {
        self.orphaned.notified().await;
    }

    pub(super) fn done(&self, share: Share) {
        self.say(FromWorker::Done(Box::new(share)));
    }

    /// Redeems a refresh token: the serial number of the new one, `None` if it is refused.
    pub(super) async fn redeem(&self, user: u32, serial: u64) -> Option<u64> {
        self.ask(|question| FromWorker::Redeem {
            question,
            user,
            serial,
        })
        .await
    }

    /// Obtains a token for the application itself.
    pub(super) async fn obtain(&self) -> Option<u64> {
        self.ask(|question| FromWorker::Obtain { question }).await
    }

    async fn ask(&self, message: impl FnOnce(u64) -> FromWorker) -> Option<u64> {
        let question = self.questions.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(question, sender);
        self.say(message(question));
        answer.await.ok().flatten()
    }

    fn say(&self, message: FromWorker) {
        // Nobody to hear it is seen at the other end of the link.
        let _ = self.to_parent.send(message);
    }
}
