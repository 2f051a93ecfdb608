//! Processes that share a store, all of whose tasks need one token at once.
//!
//! A member is this program again. It reads the number of a user from its standard input, a line each, lets its tasks ask for that user's token,
//! and writes what came of it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use benches::harness::{QuestionError, Stopwatch};
use benches::payload::{FakeAuthority, LIFETIME, Payload, fill, open};
use cache_core::cache::{AcquireOptions, AuthorityCall, CallError, CallOutcome, Redemption, TokenCache};
use cache_core::codec::BincodeCodec;
use cache_core::secret::Secret;
use cache_core::store::Store;
use cache_core::strategy::Strategy;
use cache_core::time::{Clock, SystemClock, UnixSeconds};
use cache_sqlite::{SqliteConfig, SqliteStore};
use serde::{Deserialize, Serialize};

/// The environment variable that makes a process a member.
const MEMBER: &str = "TOKENKEEP_STAMPEDE_MEMBER";
/// How long the store may be busy: many processes on a small machine are a crowd.
const PATIENCE: Duration = Duration::from_secs(30);
/// A marker of a member's words, beside whatever else is on its standard output.
const MARK: &str = "member: ";

/// What came of some stampedes.
pub(crate) struct Outcome {
    /// How often the authority was asked, in all of them.
    pub(crate) requests: u64,
    /// The median of how long the last task of the last process waited.
    pub(crate) slowest: Duration,
}

/// Lets `tasks` tasks in each of `processes` processes ask for one expired token, and that `rounds` times.
pub(crate) fn run(
    processes: usize,
    tasks: usize,
    rounds: usize,
    latency: Duration,
) -> Result<Outcome, QuestionError> {
    let folder = tempfile::tempdir()?;
    let told = Member {
        store: folder.path().join("cache.db"),
        requests: folder.path().join("requests"),
        tasks,
        latency,
        expired_since: SystemClock.now().to_seconds().0 - 3600,
    };
    let runtime = told.runtime()?;
    runtime.block_on(told.set_up(rounds))?;
    let mut members = (0..processes)
        .map(|_| Process::start(&told))
        .collect::<Result<Vec<_>, _>>()?;
    for member in &mut members {
        member.answer::<bool>()?;
    }
    let mut times = Vec::new();
    for user in 0..rounds {
        let stopwatch = Stopwatch::start();
        for member in &mut members {
            member.order(user)?;
        }
        let mut tokens = Vec::new();
        for member in &mut members {
            tokens.extend(member.answer::<Option<String>>()?);
        }
        times.push(stopwatch.elapsed());
        if tokens.len() != processes || tokens.iter().any(|token| *token != tokens[0]) {
            return Err("the processes did not all get the same token".into());
        }
    }
    members.into_iter().try_for_each(Process::end)?;
    times.sort_unstable();
    Ok(Outcome {
        requests: std::fs::metadata(&told.requests)?.len(),
        slowest: times[times.len() / 2],
    })
}

/// What a member is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Member {
    store: PathBuf,
    /// A byte for each request at the authority.
    requests: PathBuf,
    tasks: usize,
    latency: Duration,
    expired_since: i64,
}

impl Member {
    /// What this process was told; `None` where it is not a member.
    pub(crate) fn of_this_process() -> Option<Self> {
        serde_json::from_str(&std::env::var(MEMBER).ok()?).ok()
    }

    /// Does what it is told until its standard input ends.
    pub(crate) fn run(&self) -> ExitCode {
        match self.obey() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        }
    }

    fn obey(&self) -> Result<(), QuestionError> {
        let runtime = self.runtime()?;
        let cache = runtime.block_on(self.cache())?;
        say(&true)?;
        for line in std::io::stdin().lock().lines() {
            say(&runtime.block_on(self.stampede(&cache, line?.parse()?)))?;
        }
        runtime.block_on(cache.shutdown(PATIENCE));
        Ok(())
    }

    /// A name of the one token that all tasks got.
    async fn stampede(&self, cache: &TokenCache, user: usize) -> Option<String> {
        let request = self.payload().request(user, 0);
        let authority = Arc::new(Counting {
            requests: self.requests.clone(),
            inner: FakeAuthority::granting(
                Arc::new(SystemClock),
                self.latency,
                self.payload().response(user, 0),
                LIFETIME,
            ),
        });
        let tasks: Vec<_> = (0..self.tasks)
            .map(|_| {
                let (cache, request, authority) =
                    (cache.clone(), Arc::clone(&request), Arc::clone(&authority));
                tokio::spawn(async move {
                    let acquired = cache.acquire(request, AcquireOptions::default(), authority).await;
                    acquired.ok().map(|acquired| acquired.token().secret.sha256())
                })
            })
            .collect();
        let mut token = None;
        for task in tasks {
            let got = task.await.ok()??;
            if *token.get_or_insert(got) != got {
                return None;
            }
        }
        token.map(|hash| hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    async fn set_up(&self, users: usize) -> Result<(), QuestionError> {
        File::create(&self.requests)?;
        let cache = self.cache().await?;
        let payload = self.payload();
        let partitions = (0..users).map(|user| payload.partition(user, 1));
        fill(cache.store(), cache.sealer(), &BincodeCodec, partitions).await?;
        cache.shutdown(PATIENCE).await;
        Ok(())
    }

    async fn cache(&self) -> Result<TokenCache, QuestionError> {
        let config = SqliteConfig::new(&self.store).busy_timeout(PATIENCE);
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(config).await?);
        Ok(open(store, Strategy::web_front_end()).await?)
    }

    /// Tokens that have expired.
    fn payload(&self) -> Payload {
        let lifetime = i64::try_from(LIFETIME.as_secs()).unwrap_or(i64::MAX);
        Payload::new(5, UnixSeconds(self.expired_since - lifetime))
    }

    fn runtime(&self) -> std::io::Result<tokio::runtime::Runtime> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    }
}

fn say(said: &impl Serialize) -> Result<(), QuestionError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{MARK}{}", serde_json::to_string(said)?)?;
    Ok(out.flush()?)
}

/// An authority that all processes share: its requests are counted in a file.
struct Counting {
    requests: PathBuf,
    inner: FakeAuthority,
}

#[async_trait]
impl AuthorityCall for Counting {
    async fn prepare(&self, limit: Duration) -> Result<(), CallError> {
        self.inner.prepare(limit).await
    }

    async fn redeem(&self, redemption: Redemption) -> CallOutcome {
        match note(&self.requests) {
            Ok(()) => self.inner.redeem(redemption).await,
            Err(error) => {
                CallOutcome::NotSent(CallError::new("the request could not be counted").with_source(error))
            }
        }
    }

    async fn discard(&self, refresh_token: Secret, limit: Duration) {
        self.inner.discard(refresh_token, limit).await;
    }
}

fn note(requests: &Path) -> std::io::Result<()> {
    OpenOptions::new().append(true).open(requests)?.write_all(b".")
}

/// A member, as who leads it sees it. It ends with its standard input.
struct Process {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Process {
    fn start(told: &Member) -> Result<Self, QuestionError> {
        let mut child = Command::new(std::env::current_exe()?)
            .env(MEMBER, serde_json::to_string(told)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = child.stdout.take().ok_or("a member has no standard output")?;
        Ok(Self {
            child,
            said: BufReader::new(said),
        })
    }

    fn order(&mut self, user: usize) -> Result<(), QuestionError> {
        let orders = self.child.stdin.as_mut().ok_or("a member takes no more orders")?;
        Ok(writeln!(orders, "{user}")?)
    }

    fn answer<T: for<'a> Deserialize<'a>>(&mut self) -> Result<T, QuestionError> {
        let mut line = String::new();
        while self.said.read_line(&mut line)? > 0 {
            if let Some(said) = line.strip_prefix(MARK) {
                return Ok(serde_json::from_str(said)?);
            }
            line.clear();
        }
        Err("a member ended".into())
    }

    fn end(mut self) -> Result<(), QuestionError> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        status
            .success()
            .then_some(())
            .ok_or_else(|| "a member failed".into())
    }
}
