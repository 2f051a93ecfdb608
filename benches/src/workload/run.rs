//! Runs: a store is filled, processes are started, and what they measured is put together.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use cache_core::random::{OsRandom, random_bytes};
use cache_core::time::{Clock, SystemClock, with_deadline};
use futures_util::future::try_join_all;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Barrier, Mutex, mpsc};

use super::chosen::Chosen;
use super::error::BenchError;
use super::file::{StoreKind, Workload};
use super::filling;
use super::issuer::{Issuer, Redeemed};
use super::link::{FromWorker, Job, ToWorker};
use super::measured::{Measurement, Share};
use super::place::{OwnRedis, StorePlace};
use super::usage;
use super::worker::piece;

/// How much longer than planned the processes of a run may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How to start a process that calls [`serve`](super::serve).
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables of the environment that it must not see.
    pub without: Vec<OsString>,
}

/// What is measured in one run.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The load.
    pub workload: Workload,
    /// Where the tokens are kept.
    pub store: StoreKind,
    /// How the cache is used.
    pub strategy: Chosen,
    /// What the requests are drawn from.
    pub seed: u64,
}

/// Where runs are made: a folder of their own, a Redis if one is needed, and how to start processes.
pub struct Bench {
    launcher: Launcher,
    folder: TempDir,
    /// A server that is there already; runs keep to keys of their own.
    redis_url: Option<String>,
    own_redis: Mutex<Option<OwnRedis>>,
    /// What an interrupted run leaves at a server that is not ours.
    dirty: Mutex<Vec<StorePlace>>,
}

impl Bench {
    /// Runs in a new folder in `within`, or where temporary ones are made, which only this user can enter. Without `redis_url` a Redis
    /// is started when one is needed.
    ///
    /// # Errors
    /// That the folder cannot be made.
    pub fn new(
        launcher: Launcher,
        redis_url: Option<String>,
        within: Option<&Path>,
    ) -> Result<Self, BenchError> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("tokenkeep-bench-");
        let folder = within
            .map_or_else(|| builder.tempdir(), |within| builder.tempdir_in(within))
            .map_err(BenchError::system("make a temporary folder"))?;
        Ok(Self {
            launcher,
            folder,
            redis_url,
            own_redis: Mutex::new(None),
            dirty: Mutex::default(),
        })
    }

    /// Whether a store of this kind can be had here; why not, otherwise.
    ///
    /// # Errors
    /// That there is no Redis, and none can be started.
    pub async fn has(&self, kind: StoreKind) -> Result<(), BenchError> {
        if kind == StoreKind::Redis && self.redis_url.is_none() {
            self.own_redis_url().await?;
        }
        Ok(())
    }

    /// Fills a store, makes the run, and removes the store.
    ///
    /// Not cancellation safe where the Redis is not our own: [`clean_up`](Self::clean_up) afterwards.
    ///
    /// # Errors
    /// [`BenchError`]; the store is removed then, too.
    pub async fn run(&self, trial: &Trial) -> Result<Measurement, BenchError> {
        let place = self.place(trial.store).await?;
        if matches!(place, StorePlace::Redis { .. }) && self.redis_url.is_some() {
            self.dirty.lock().await.push(place.clone());
        }
        let result = self.measure(trial, &place).await;
        let wiped = place.wipe().await;
        self.dirty.lock().await.clear();
        let measurement = result?;
        wiped?;
        Ok(measurement)
    }

    /// Removes what an interrupted run left at a server that is not ours.
    ///
    /// # Errors
    /// That the server cannot be reached any more.
    pub async fn clean_up(&self) -> Result<(), BenchError> {
        let dirty = std::mem::take(&mut *self.dirty.lock().await);
        for place in dirty {
            place.wipe().await?;
        }
        Ok(())
    }

    async fn place(&self, kind: StoreKind) -> Result<StorePlace, BenchError> {
        let mark = random_bytes::<8>(&OsRandom).map_err(|error| BenchError::System {
            doing: "draw a random name".to_owned(),
            source: std::io::Error::other(error),
        })?;
        let mark = mark.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Ok(match kind {
            StoreKind::Memory => StorePlace::Memory,
            StoreKind::Sqlite => StorePlace::Sqlite {
                path: self.folder.path().join(mark).join("cache.db"),
            },
            StoreKind::Redis => StorePlace::Redis {
                url: match &self.redis_url {
                    Some(url) => url.clone(),
                    None => self.own_redis_url().await?,
                },
                prefix: format!("tokenkeep:bench-{mark}:"),
            },
        })
    }

    async fn own_redis_url(&self) -> Result<String, BenchError> {
        let mut own = self.own_redis.lock().await;
        if own.is_none() {
            *own = Some(OwnRedis::start(&self.folder.path().join("redis")).await?);
        }
        Ok(own
            .as_ref()
            .map(|redis| redis.url().to_owned())
            .unwrap_or_default())
    }

    async fn measure(&self, trial: &Trial, place: &StorePlace) -> Result<Measurement, BenchError> {
        let key = random_bytes::<32>(&OsRandom).map_err(|error| BenchError::System {
            doing: "draw a key".to_owned(),
            source: std::io::Error::other(error),
        })?;
        if place.kind() != StoreKind::Memory {
            let open = place.open().await?;
            let cache = filling::open(open.store(), &trial.strategy, &key).await?;
            filling::fill(&cache, &Arc::new(trial.workload.clone()), &trial.strategy, true).await?;
            open.close().await;
        }
        let run = Run {
            launcher: &self.launcher,
            trial,
            place,
            key,
            issuer: Arc::new(Issuer::new(&trial.workload.authority)),
            server: match place.kind() {
                StoreKind::Redis => self.own_redis.lock().await.as_ref().and_then(OwnRedis::process),
                StoreKind::Memory | StoreKind::Sqlite => None,
            },
        };
        if trial.workload.is_short_lived() {
            run.one_after_the_other().await
        } else {
            run.side_by_side().await
        }
    }
}

struct Run<'a> {
    launcher: &'a Launcher,
    trial: &'a Trial,
    place: &'a StorePlace,
    key: [u8; 32],
    issuer: Arc<Issuer>,
    /// The process of the store's own server, whose processor time counts too.
    server: Option<u32>,
}

impl Run<'_> {
    /// Processes that live on.
    async fn side_by_side(&self) -> Result<Measurement, BenchError> {
        let load = &self.trial.workload.load;
        let (warm_up, measured) = (
            Duration::from_secs_f64(load.warm_up_seconds),
            Duration::from_secs_f64(load.seconds),
        );
        let start = Barrier::new(usize::try_from(load.processes).unwrap_or(1) + 1);
        let workers = (0..load.processes).map(|process| self.work(process, 0, Some(&start)));
        let counting = async {
            start.wait().await;
            SystemClock.sleep(warm_up).await;
            self.issuer.count(true);
            let before = self.server_time();
            SystemClock.sleep(measured).await;
            self.issuer.count(false);
            Ok(self.server_time().saturating_sub(before))
        };
        let both = async { tokio::try_join!(try_join_all(workers), counting) };
        let limit = warm_up + measured + PATIENCE;
        let (shares, of_server) = with_deadline(&SystemClock, limit, both)
            .await
            .ok_or(BenchError::Stuck)??;
        let mut measurement = Measurement::new(self.trial.seed, load.seconds, false);
        shares.iter().for_each(|share| measurement.add(share));
        measurement.add_processor_time(of_server);
        measurement.authority = self.issuer.counts();
        Ok(measurement)
    }

    fn server_time(&self) -> Duration {
        self.server.and_then(usage::processor_time_of).unwrap_or_default()
    }

    /// Processes that end after a few requests, in as many rows as there are processes.
    async fn one_after_the_other(&self) -> Result<Measurement, BenchError> {
        let clock = SystemClock;
        let load = &self.trial.workload.load;
        let warm = clock.monotonic() + Duration::from_secs_f64(load.warm_up_seconds);
        let end = warm + Duration::from_secs_f64(load.seconds);
        let rows = (0..load.processes).map(|row| async move {
            let (mut shares, mut before) = (Vec::new(), 0);
            for number in 0_u32.. {
                let now = clock.monotonic();
                if now >= end {
                    break;
                }
                let since = now.checked_sub(warm);
                self.issuer.count(since.is_some());
                let part = since.map_or(0.0, |since| since.as_secs_f64() / load.seconds);
                let process = row * 1_000_000 + number;
                let work = self.work(process, piece(part), None);
                let share = with_deadline(&clock, PATIENCE, work)
                    .await
                    .ok_or(BenchError::Stuck)??;
                match since {
                    Some(_) => shares.push(share),
                    None => before += share.calls.count(),
                }
            }
            Ok::<_, BenchError>((shares, before))
        });
        let before = self.server_time();
        let rows = try_join_all(rows).await?;
        let of_server = self.server_time().saturating_sub(before);
        let mut measurement = Measurement::new(self.trial.seed, load.seconds, true);
        for (shares, before) in rows {
            shares.iter().for_each(|share| measurement.add(share));
            measurement.calls.warm_up += before;
        }
        measurement.add_processor_time(of_server);
        measurement.authority = self.issuer.counts();
        Ok(measurement)
    }

    /// Starts one process and answers what it asks, until it is done. It is killed when this is dropped.
    async fn work(&self, process: u32, piece: usize, start: Option<&Barrier>) -> Result<Share, BenchError> {
        let mut child = self.launch()?;
        let (Some(mut input), Some(output), Some(mut complaints)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(BenchError::Orphaned);
        };
        let (to_worker, mut messages) = mpsc::unbounded_channel::<ToWorker>();
        let writing = tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                let Ok(mut line) = serde_json::to_vec(&message) else {
                    break;
                };
                line.push(b'\n');
                if input.write_all(&line).await.is_err() {
                    break;
                }
            }
        });
        let told = tokio::spawn(async move {
            let mut told = String::new();
            let _ = complaints.read_to_string(&mut told).await;
            told
        });
        let _ = to_worker.send(ToWorker::Job(Box::new(self.job(process, piece))));
        let mut lines = BufReader::new(output).lines();
        while let Some(line) = lines
            .next_line()
            .await
            .map_err(BenchError::system("read from a worker"))?
        {
            match serde_json::from_str(&line).map_err(BenchError::Protocol)? {
                FromWorker::Ready => {
                    if let Some(start) = start {
                        start.wait().await;
                    }
                    let _ = to_worker.send(ToWorker::Go);
                }
                FromWorker::Redeem {
                    question,
                    user,
                    serial,
                } => {
                    let (issuer, reply) = (Arc::clone(&self.issuer), to_worker.clone());
                    tokio::spawn(async move {
                        let granted = match issuer.redeem(user, serial).await {
                            Redeemed::Granted(serial) => Some(serial),
                            Redeemed::Refused => None,
                        };
                        let _ = reply.send(ToWorker::Answer { question, granted });
                    });
                }
                FromWorker::Obtain { question } => {
                    let (issuer, reply) = (Arc::clone(&self.issuer), to_worker.clone());
                    tokio::spawn(async move {
                        issuer.obtain().await;
                        let _ = reply.send(ToWorker::Answer {
                            question,
                            granted: Some(0),
                        });
                    });
                }
                FromWorker::Done(share) => {
                    writing.abort();
                    let _ = child.wait().await;
                    return Ok(*share);
                }
            }
        }
        let how = child
            .wait()
            .await
            .map_or_else(|error| error.to_string(), |status| status.to_string());
        let told = told.await.unwrap_or_default();
        Err(BenchError::Worker {
            how,
            told: told.split_whitespace().collect::<Vec<_>>().join(" "),
        })
    }

    fn job(&self, process: u32, piece: usize) -> Job {
        Job {
            workload: self.trial.workload.clone(),
            strategy: self.trial.strategy,
            place: self.place.clone(),
            key: self.key,
            seed: self.trial.seed,
            process,
            piece,
            fills: self.place.kind() == StoreKind::Memory,
        }
    }

    fn launch(&self) -> Result<Child, BenchError> {
        let mut command = Command::new(&self.launcher.program);
        command
            .args(&self.launcher.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for name in &self.launcher.without {
            command.env_remove(name);
        }
        command
            .spawn()
            .map_err(BenchError::system("start a worker process"))
    }
}
