//! A commit that a store carries out, beside the bare write of its bytes.
#![allow(
    clippy::unwrap_used,
    reason = "a failure ends the measurement, and says where"
)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use benches::harness::{
    Core, Operation, Question, QuestionError, Row, answer, at_least, at_most, on, pinned, tasks,
};
use benches::payload::{Payload, open};
use bytes::Bytes;
use cache_core::store::{Durability, PutOptions, Store, StoreKey, Version};
use cache_core::strategy::Strategy;
use cache_core::time::{Clock, SystemClock};
use cache_redis::{RedisConfig, RedisStore};
use cache_sqlite::{SqliteConfig, SqliteStore};
use cache_testkit::redis::RedisServer;
use redis::IntoConnectionInfo;
use redis::io::tcp::TcpSettings;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Row as _};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

fn main() -> ExitCode {
    answer("commits", "What does a commit to a store cost?", |question| {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        pinned(Core(0), || redis(question, &runtime))?;
        pinned(Core(0), || sqlite(question, &runtime, Durability::Relaxed))?;
        pinned(Core(0), || sqlite(question, &runtime, Durability::Durable))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        contention(question, &runtime)?;
        for paragraph in MEANS {
            question.means(paragraph);
        }
        Ok(())
    })
}

const MEANS: [&str; 3] = [
    "A commit is a compare-and-swap of one record of 4 KB: it applies only to the version that was read. All threads and the server of Redis share \
     one processor, so that no hop waits for one to wake; the disk takes its time wherever they run.",
    "Durable commits of SQLite wait for the disk. Those that come while others wait are committed together, so eight tasks that write pay \
     little more than one.",
    "Commits of one partition through the TokenCache are combined before they reach the store: contention within a process costs less than \
     writing to different partitions, and between processes it costs a conflict and another read.",
];

/// How many records each task writes in turn.
const RECORDS: usize = 16;

const BYTES: usize = 4096;

/// Other bytes each time: SQLite does not write a page that stays as it was, and a commit without pages does not wait for the disk.
fn fresh() -> Bytes {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    Bytes::from(number.to_le_bytes().repeat(BYTES / 8))
}

/// How long a turn of an operation that waits for the disk is.
const DISK_BATCH: Duration = Duration::from_millis(20);

/// The same for one that waits for a server: some fifty commits, so that what the first finds in the processor's caches does not matter.
const SERVER_BATCH: Duration = Duration::from_millis(3);

/// The records of some tasks, each with the version that the next commit expects.
struct Records {
    store: Arc<dyn Store>,
    options: PutOptions,
    of_tasks: Vec<Mutex<Vec<(StoreKey, Version)>>>,
}

impl Records {
    async fn new(
        store: Arc<dyn Store>,
        name: &str,
        count: usize,
        options: PutOptions,
    ) -> Result<Arc<Self>, QuestionError> {
        let mut of_tasks = Vec::new();
        for task in 0..count {
            let mut records = Vec::new();
            for record in 0..RECORDS {
                let key = StoreKey::new(format!("tokenkeep/user/{name}/{task:02}/{record:048}"))?;
                let created = PutOptions {
                    durability: Durability::Relaxed,
                    ..options
                };
                records.push((key.clone(), store.put(&key, fresh(), created).await?));
            }
            of_tasks.push(Mutex::new(records));
        }
        Ok(Arc::new(Self {
            store,
            options,
            of_tasks,
        }))
    }

    /// Commits to the task's record that was written longest ago.
    async fn commit(&self, task: usize) {
        let (key, version) = self.of_tasks[task].lock().unwrap().remove(0);
        let options = PutOptions {
            mode: PutOptions::update(version).mode,
            ..self.options
        };
        let version = self.store.put(&key, fresh(), options).await.unwrap();
        self.of_tasks[task].lock().unwrap().push((key, version));
    }
}

fn commits<'a>(runtime: &'a Runtime, records: &Arc<Records>, count: usize) -> Operation<'a> {
    let records = Arc::clone(records);
    tasks(runtime, count, move |task| {
        let records = Arc::clone(&records);
        async move { records.commit(task).await }
    })
}

fn redis(question: &mut Question, runtime: &Runtime) -> Result<(), QuestionError> {
    // Started by a pinned thread, the server is pinned too.
    let server = runtime.block_on(RedisServer::start())?;
    let store: Arc<dyn Store> =
        Arc::new(runtime.block_on(RedisStore::open(RedisConfig::from_url(&server.url())?))?);
    let tcp = TcpSettings::default().set_nodelay(true);
    let client = redis::Client::open(server.url().into_connection_info()?.set_tcp_settings(tcp))?;
    let mut connection = runtime.block_on(client.get_multiplexed_async_connection())?;
    let soon = SystemClock.now().saturating_add(Duration::from_secs(30 * 86_400));
    let kept = PutOptions::overwrite();
    let forever = runtime.block_on(Records::new(Arc::clone(&store), "forever", 1, kept))?;
    let expiring = kept.expires_at(Some(soon));
    let expiring = runtime.block_on(Records::new(Arc::clone(&store), "expiring", 1, expiring))?;
    let mut turn = 0;
    let measured = question
        .compare("Redis, 1 task")
        .limit("SET", {
            on(runtime, async || {
                turn += 1;
                let mut set = redis::cmd("SET");
                set.arg(format!("raw:{:064}", turn % RECORDS)).arg(&fresh()[..]);
                set.query_async::<()>(&mut connection).await.unwrap();
            })
        })
        .variant("compare-and-swap", on(runtime, async || forever.commit(0).await))
        .variant(
            "compare-and-swap, expiring",
            on(runtime, async || expiring.commit(0).await),
        )
        .batch(SERVER_BATCH)
        .run();
    for entry in ["compare-and-swap", "compare-and-swap, expiring"] {
        let _ = question
            .target(Row::ColdRedis, &format!("{entry} × SET"), at_most(1.7), measured.ratio(entry))
            .reason("handing 4 KB to a script takes the server 4 µs, a byte of the text at a time; comparing, the index and the announcement take as long; and the announcement comes back to this store's own listener, on a connection of its own")
            .next_idea("listen on the connection that commands use (RESP3), so that the echo travels with the answer; pass the payload by a command of its own in the same packet, and let the script only move it");
    }
    Ok(())
}

fn sqlite(question: &mut Question, runtime: &Runtime, durability: Durability) -> Result<(), QuestionError> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let store = runtime.block_on(SqliteStore::open(SqliteConfig::new(path("cache.db"))))?;
    let store: Arc<dyn Store> = Arc::new(store);
    let options = PutOptions::overwrite().durability(durability);
    let is_durable = durability == Durability::Durable;
    let named = |count: usize| {
        let word = if is_durable { "durable" } else { "relaxed" };
        let unit = if count == 1 { "task" } else { "tasks" };
        format!("SQLite, {word}, {count} {unit}")
    };

    let one = runtime.block_on(Records::new(Arc::clone(&store), "one", 1, options))?;
    let bare = runtime.block_on(group_commit(&path("bare1.db"), durability))?;
    let comparison = question.compare(&named(1)).batch(DISK_BATCH);
    let comparison = if is_durable {
        comparison.limit("write, fdatasync and the hop", synced(runtime, &path("bare"))?)
    } else {
        comparison
    };
    let comparison = match is_durable {
        true => comparison.variant("bare group-commit writer", bare_commits(runtime, bare, 1)),
        false => comparison.limit("bare group-commit writer", bare_commits(runtime, bare, 1)),
    };
    let alone = comparison
        .variant("compare-and-swap", commits(runtime, &one, 1))
        .run();

    let eight = runtime.block_on(Records::new(Arc::clone(&store), "eight", 8, options))?;
    let bare = runtime.block_on(group_commit(&path("bare8.db"), durability))?;
    let pool = runtime.block_on(pool(&path("pool.db"), durability))?;
    let together = question
        .compare(&named(8))
        .batch(DISK_BATCH)
        .limit("bare group-commit writer", bare_commits(runtime, bare, 8))
        .variant("compare-and-swap", commits(runtime, &eight, 8))
        .peer("pool of 8, a transaction each", pooled(runtime, pool))
        .run();
    if is_durable {
        let _ = question
            .target(Row::DurableCommit, "1 task × fdatasync plus the hop", at_most(2.0), alone.ratio("compare-and-swap"))
            .reason("the log has four pages of a commit, and SQLite as it is bundled calls fsync, which also writes the file's times")
            .next_idea("a SQLite with HAVE_FDATASYNC: libsqlite3-sys has no feature for it, only a variable in the environment of whoever builds the program (LIBSQLITE3_FLAGS)");
        let _ = question
            .target(
                Row::DurableCommit,
                "8 tasks × a bare group-commit writer",
                at_most(1.3),
                together.ratio("compare-and-swap"),
            )
            .reason("a commit also reads the versions and logs the change for other processes")
            .next_idea("decide the condition within the statement that writes");
        let _ = question
            .target(
                Row::DurableCommit,
                "8 tasks, times faster than a pool of 8",
                at_least(4.0),
                together.ratio_of("pool of 8, a transaction each", "compare-and-swap"),
            )
            .reason("the disk's own time is most of both")
            .next_idea("none: it grows with the time that the disk takes");
    }
    Ok(())
}

/// The same bytes to a file of the same file system, by a thread that is asked.
fn synced<'a>(runtime: &'a Runtime, path: &Path) -> Result<Operation<'a>, QuestionError> {
    const BLOCKS: u64 = 1024;
    let file = File::create(path)?;
    let block = vec![0x5a; BYTES];
    for place in 0..BLOCKS {
        file.write_all_at(&block, place * BYTES as u64)?;
    }
    file.sync_all()?;
    let (ask, mut asked) = mpsc::channel::<oneshot::Sender<std::io::Result<()>>>(1);
    std::thread::spawn(move || {
        let mut place = 0;
        while let Some(answer) = asked.blocking_recv() {
            place = (place + 1) % BLOCKS;
            let written = file.write_all_at(&block, place * BYTES as u64);
            let _ = answer.send(written.and_then(|()| file.sync_data()));
        }
    });
    Ok(on(runtime, async move || {
        let (answer, answered) = oneshot::channel();
        ask.send(answer).await.unwrap();
        answered.await.unwrap().unwrap();
    }))
}

type Job = (String, Bytes, oneshot::Sender<()>);

/// One task, one connection, no condition and no log of changes: it commits what waits in one transaction.
async fn group_commit(path: &Path, durability: Durability) -> Result<mpsc::Sender<Job>, QuestionError> {
    let mut connection = options(path, durability).connect().await?;
    prepare(&mut connection).await?;
    // As the setting is checked nowhere else: a bench that does not sync would be no limit.
    let level = match durability {
        Durability::Durable => "PRAGMA synchronous = FULL",
        Durability::Relaxed => "PRAGMA synchronous = NORMAL",
    };
    sqlx::raw_sql(level).execute(&mut connection).await?;
    let row = sqlx::raw_sql("PRAGMA synchronous")
        .fetch_one(&mut connection)
        .await?;
    let found: i64 = row.try_get(0)?;
    if found != if durability == Durability::Durable { 2 } else { 1 } {
        return Err(format!("synchronous is {found}").into());
    }
    let (sender, mut receiver) = mpsc::channel::<Job>(1024);
    tokio::spawn(async move {
        let mut batch = Vec::new();
        while receiver.recv_many(&mut batch, 128).await > 0 {
            sqlx::query("BEGIN IMMEDIATE")
                .execute(&mut connection)
                .await
                .unwrap();
            for (key, payload, _) in &batch {
                let write = sqlx::query(WRITE).bind(key.as_str()).bind(&payload[..]);
                write.execute(&mut connection).await.unwrap();
            }
            sqlx::query("COMMIT").execute(&mut connection).await.unwrap();
            for (_, _, done) in batch.drain(..) {
                let _ = done.send(());
            }
        }
    });
    Ok(sender)
}

const WRITE: &str =
    "INSERT INTO kv (key, payload) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET payload = excluded.payload";

fn options(path: &Path, durability: Durability) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(match durability {
            Durability::Durable => SqliteSynchronous::Full,
            Durability::Relaxed => SqliteSynchronous::Normal,
        })
        .disable_statement_logging()
}

async fn prepare(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let table = "CREATE TABLE IF NOT EXISTS kv (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, payload BLOB NOT NULL)";
    sqlx::raw_sql(table).execute(connection).await?;
    Ok(())
}

fn bare_commits(runtime: &Runtime, writer: mpsc::Sender<Job>, count: usize) -> Operation<'_> {
    let turns: Arc<[Mutex<usize>]> = (0..count).map(|_| Mutex::new(0)).collect();
    tasks(runtime, count, move |task| {
        let (writer, payload) = (writer.clone(), fresh());
        let key = next_key(&turns, task);
        async move {
            let (done, answer) = oneshot::channel();
            writer.send((key, payload, done)).await.unwrap();
            answer.await.unwrap();
        }
    })
}

fn next_key(turns: &[Mutex<usize>], task: usize) -> String {
    let mut turn = turns[task].lock().unwrap();
    *turn = (*turn + 1) % RECORDS;
    format!("tokenkeep/user/bare/{task:02}/{:048}", *turn)
}

async fn pool(path: &Path, durability: Durability) -> Result<SqlitePool, QuestionError> {
    let pool = SqlitePoolOptions::new().max_connections(8);
    let pool = pool.connect_with(options(path, durability)).await?;
    prepare(&mut *pool.acquire().await?).await?;
    Ok(pool)
}

fn pooled(runtime: &Runtime, pool: SqlitePool) -> Operation<'_> {
    let turns: Arc<[Mutex<usize>]> = (0..8).map(|_| Mutex::new(0)).collect();
    tasks(runtime, 8, move |task| {
        let (pool, payload) = (pool.clone(), fresh());
        let key = next_key(&turns, task);
        async move {
            let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
            let write = sqlx::query(WRITE).bind(key).bind(&payload[..]);
            write.execute(&mut *transaction).await.unwrap();
            transaction.commit().await.unwrap();
        }
    })
}

/// Whole commits by the cache, load, merge and seal included: eight tasks at one partition, and at one each.
fn contention(question: &mut Question, runtime: &Runtime) -> Result<(), QuestionError> {
    let folder = tempfile::tempdir()?;
    let server = runtime.block_on(RedisServer::start())?;
    let sqlite = runtime.block_on(SqliteStore::open(SqliteConfig::new(
        folder.path().join("cache.db"),
    )))?;
    let redis = runtime.block_on(RedisStore::open(RedisConfig::from_url(&server.url())?))?;
    let stores: [(&str, Arc<dyn Store>); 2] = [("SQLite", Arc::new(sqlite)), ("Redis", Arc::new(redis))];
    for (name, store) in stores {
        let payload = Payload::present(6);
        let cache = runtime.block_on(open(Arc::clone(&store), Strategy::desktop_tool()))?;
        let other = runtime.block_on(open(store, Strategy::desktop_tool()))?;
        let sign_in = |caches: Vec<cache_core::cache::TokenCache>, users: usize| {
            let payload = payload.clone();
            move |task: usize| {
                let (cache, payload) = (caches[task % caches.len()].clone(), payload.clone());
                async move {
                    let user = task % users;
                    let signed_in = cache.sign_in(&payload.key(user), payload.response(user, 0)).await;
                    signed_in.unwrap();
                }
            }
        };
        question
            .compare(&format!("{name}, whole sign-ins, free"))
            .batch(DISK_BATCH)
            .limit("1 task", tasks(runtime, 1, sign_in(vec![cache.clone()], 1)))
            .variant(
                "8 tasks, a partition each",
                tasks(runtime, 8, sign_in(vec![cache.clone()], 8)),
            )
            .variant(
                "8 tasks, one partition",
                tasks(runtime, 8, sign_in(vec![cache.clone()], 1)),
            )
            .variant(
                "8 tasks, one partition, two caches",
                tasks(runtime, 8, sign_in(vec![cache, other], 1)),
            )
            .run();
    }
    Ok(())
}
