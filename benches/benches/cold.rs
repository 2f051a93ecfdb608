//! A hit that a store answers, beside the bare read of its bytes.
#![allow(
    clippy::unwrap_used,
    reason = "a failure ends the measurement, and says where"
)]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use benches::harness::{
    Core, Measured, Question, QuestionError, Row, answer, at_least, at_most, on, pinned, tasks,
};
use benches::payload::{FakeAuthority, Payload, fill, open};
use cache_core::cache::{AcquireOptions, AuthorityCall, TokenCache};
use cache_core::codec::BincodeCodec;
use cache_core::schema::TokenRequest;
use cache_core::store::{Store, StoreKey};
use cache_core::strategy::{MemoryTier, Strategy};
use cache_redis::{RedisConfig, RedisStore};
use cache_sqlite::{SqliteConfig, SqliteStore};
use cache_testkit::redis::RedisServer;
use redis::IntoConnectionInfo;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row as _};
use tokio::runtime::{Builder, Runtime};

fn main() -> ExitCode {
    answer("cold", "What does a hit cost that a store answers?", |question| {
        pinned(Core(0), || ask(question, Place::OneProcessor))?;
        ask(question, Place::Free)?;
        for paragraph in MEANS {
            question.means(paragraph);
        }
        Ok(())
    })
}

const MEANS: [&str; 3] = [
    "A hit here is the whole TokenCache::acquire with the memory tier off: the key is blinded, the record read, authenticated, decrypted and decoded, \
     and the token found. Partitions are 4 KB: one access token, one refresh token, one ID token and the account.",
    "Each read of SQLite is two hops between threads and each read of Redis four between processes. On one processor their own cost shows, and the \
     targets are judged there: both sides and the server of Redis share it. The lines that say `free` are of threads that may run anywhere: where \
     a processor that waits is halted, its waking is most of what they show.",
    "Many readers at once share statements and packets, so a busy front end pays a fraction of what a lone reader does.",
];

/// How many partitions are read in turn.
const USERS: usize = 256;

/// How long a turn is: a hundred hits. In one of a few, the first would find the processor's caches full of the others' code and be most of
/// what is measured.
const BATCH: Duration = Duration::from_millis(3);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    OneProcessor,
    Free,
}

impl Place {
    fn name(self, comparison: &str) -> String {
        match self {
            Self::OneProcessor => comparison.to_owned(),
            Self::Free => format!("{comparison}, free"),
        }
    }

    fn runtime(self) -> std::io::Result<Runtime> {
        match self {
            Self::OneProcessor => Builder::new_current_thread().enable_all().build(),
            Self::Free => Builder::new_multi_thread().worker_threads(2).enable_all().build(),
        }
    }
}

fn ask(question: &mut Question, place: Place) -> Result<(), QuestionError> {
    let runtime = place.runtime()?;
    sqlite(question, place, &runtime)?;
    redis(question, place, &runtime)
}

/// A cache without memory over a store with the partitions of some users.
struct Scene {
    store: Arc<dyn Store>,
    cache: TokenCache,
    keys: Vec<StoreKey>,
    requests: Vec<Arc<TokenRequest>>,
    authority: Arc<dyn AuthorityCall>,
    next: AtomicUsize,
}

impl Scene {
    async fn new(store: Arc<dyn Store>) -> Result<Self, QuestionError> {
        let payload = Payload::present(6);
        let strategy = Strategy::desktop_tool().memory_tier(MemoryTier::off());
        let cache = open(Arc::clone(&store), strategy).await?;
        let users = (0..USERS).map(|user| payload.partition(user, 1));
        fill(&store, cache.sealer(), &BincodeCodec, users).await?;
        Ok(Self {
            keys: (0..USERS)
                .map(|user| cache.stored_key(&payload.key(user)))
                .collect(),
            requests: (0..USERS).map(|user| payload.request(user, 0)).collect(),
            authority: FakeAuthority::at_once(&payload),
            store,
            cache,
            next: AtomicUsize::new(0),
        })
    }

    fn turn(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % USERS
    }

    async fn get(&self) -> usize {
        let record = self.store.get(&self.keys[self.turn()]).await;
        record.unwrap().unwrap().payload.len()
    }

    async fn hit(&self) -> usize {
        let request = Arc::clone(&self.requests[self.turn()]);
        let options = AcquireOptions {
            cache_only: true,
            ..AcquireOptions::default()
        };
        let found = self
            .cache
            .acquire(request, options, Arc::clone(&self.authority))
            .await;
        found.unwrap().token().secret.expose().len()
    }
}

fn sqlite(question: &mut Question, place: Place, runtime: &Runtime) -> Result<(), QuestionError> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("cache.db");
    let store = runtime.block_on(SqliteStore::open(SqliteConfig::new(&path)))?;
    let scene = Arc::new(runtime.block_on(Scene::new(Arc::new(store)))?);
    let mut connection = runtime.block_on(held(&path))?;

    let alone = question
        .compare(&place.name("SQLite, one reader"))
        .limit("select of the blob on a held connection", {
            let (scene, connection) = (&scene, &mut connection);
            on(runtime, async || {
                let query = sqlx::query("SELECT payload FROM records WHERE key = ?");
                let query = query.bind(scene.keys[scene.turn()].as_str());
                let row = query.fetch_one(&mut *connection).await.unwrap();
                row.get::<Vec<u8>, _>(0)
            })
        })
        .variant("SqliteStore::get", on(runtime, async || scene.get().await))
        .variant("cold hit", on(runtime, async || scene.hit().await))
        .batch(BATCH)
        .run();
    let together = many(question, &place.name("SQLite, 16 readers"), runtime, &scene, 16);
    if place == Place::OneProcessor {
        let _ = question
            .target(Row::ColdSqlite, "× a raw select, open and decode included", at_most(1.4), alone.ratio("cold hit"))
            .reason("above the store's own read, 6 µs: AES-GCM over 4 KB takes a third of them, taking the partition apart and copying its token a fourth, the keyed hash that names the record a tenth; in the read: the look at the file, two more columns, and the checks of cells that a file from elsewhere needs")
            .next_idea("take apart only the rows that the request is about; read without a memory map, so that pages stay checked");
        let _ = question
            .target(
                Row::ColdSqlite,
                "a key of 16 readers × one alone",
                at_most(0.5),
                together.ratio("cold hits together"),
            )
            .reason("opening and decoding is each reader's own, 5 µs; and while one opens its record the reading thread serves the next alone, a hop each: 9 µs a key where readers meet, 16 where they do not")
            .next_idea("let the reading thread wait a moment for more while others of the batch before are still at work");
        let _ = question
            .target(
                Row::ColdSqlite,
                "a key of 16 readers × one alone, the store's part",
                at_most(0.5),
                together.ratio_of("gets together", "one get"),
            )
            .reason("a read that comes alone between two batches has a statement of its own")
            .next_idea("wait a moment for more readers while a batch is under way");
    }
    Ok(())
}

/// One at a time beside `count` at once.
fn many(
    question: &mut Question,
    name: &str,
    runtime: &Runtime,
    scene: &Arc<Scene>,
    count: usize,
) -> Measured {
    let (hits, gets) = (Arc::clone(scene), Arc::clone(scene));
    question
        .compare(name)
        .limit("one cold hit", on(runtime, async || scene.hit().await))
        .variant("one get", on(runtime, async || scene.get().await))
        .variant("gets together", {
            tasks(runtime, count, move |_| {
                let scene = Arc::clone(&gets);
                async move { scene.get().await }
            })
        })
        .variant("cold hits together", {
            tasks(runtime, count, move |_| {
                let scene = Arc::clone(&hits);
                async move { scene.hit().await }
            })
        })
        .batch(BATCH)
        .run()
}

async fn held(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(path);
    let options = options.pragma("mmap_size", (64 << 20).to_string());
    options.disable_statement_logging().connect().await
}

fn redis(question: &mut Question, place: Place, runtime: &Runtime) -> Result<(), QuestionError> {
    // Started by a pinned thread, the server is pinned too.
    let server = runtime.block_on(RedisServer::start())?;
    let store = runtime.block_on(RedisStore::open(RedisConfig::from_url(&server.url())?))?;
    let scene = Arc::new(runtime.block_on(Scene::new(Arc::new(store)))?);
    let connection = runtime.block_on(connect(&server.url()))?;
    let names: Arc<[String]> = scene.keys.iter().map(|key| format!("raw:{key}")).collect();
    runtime.block_on(async {
        for (key, name) in scene.keys.iter().zip(&*names) {
            let record = scene.store.get(key).await?.ok_or("a record is missing")?;
            let mut set = redis::cmd("SET");
            set.arg(name).arg(&record.payload[..]);
            set.query_async::<()>(&mut connection.clone()).await?;
        }
        Ok::<_, QuestionError>(())
    })?;
    let raw = {
        let (scene, connection) = (Arc::clone(&scene), connection.clone());
        move |_| {
            let (scene, names, mut connection) = (Arc::clone(&scene), Arc::clone(&names), connection.clone());
            async move {
                let mut get = redis::cmd("GET");
                get.arg(&names[scene.turn()]);
                get.query_async::<Vec<u8>>(&mut connection).await.unwrap()
            }
        }
    };

    let alone = question
        .compare(&place.name("Redis, one reader"))
        .limit("GET", on(runtime, async || raw(0).await))
        .variant("RedisStore::get", on(runtime, async || scene.get().await))
        .variant("cold hit", on(runtime, async || scene.hit().await))
        .batch(BATCH)
        .run();
    let (hits, gets) = (Arc::clone(&scene), Arc::clone(&scene));
    let together = question
        .compare(&place.name("Redis, 64 readers"))
        .limit("GET", tasks(runtime, 64, raw.clone()))
        .variant("RedisStore::get", {
            tasks(runtime, 64, move |_| {
                let scene = Arc::clone(&gets);
                async move { scene.get().await }
            })
        })
        .variant("cold hit", {
            tasks(runtime, 64, move |_| {
                let scene = Arc::clone(&hits);
                async move { scene.hit().await }
            })
        })
        .batch(BATCH)
        .run();
    if place == Place::OneProcessor {
        let _ = question
            .target(Row::ColdRedis, "× GET", at_most(1.2), alone.ratio("cold hit"))
            .reason("the store's own read is within it; opening and decoding 4 KB comes on top: 6 µs with warm caches, and no timer, hop or system call among them that a profile shows")
            .next_idea("take apart only the rows that the request is about");
        let _ = question
            .target(
                Row::ColdRedis,
                "× GET, the store's part",
                at_most(1.2),
                alone.ratio("RedisStore::get"),
            )
            .reason("HMGET reads three values, and a reply of three is parsed")
            .next_idea("a record as one string");
        let _ = question
            .target(
                Row::ColdRedis,
                "throughput of 64 tasks × GET's, the store's part",
                at_least(0.85),
                together.ratio_of("GET", "RedisStore::get"),
            )
            .reason("on one processor whatever a read does beyond a GET is time that the server does not get")
            .next_idea("a record as one string");
        let _ = question
            .target(
                Row::ColdRedis,
                "throughput of 64 tasks × GET's, open and decode included",
                at_least(0.85),
                together.ratio_of("GET", "cold hit"),
            )
            .reason("64 GETs on one processor cost 4 µs each, as much as opening and decoding one record")
            .next_idea("more than one processor: the work above the store is each reader's own");
    }
    Ok(())
}

async fn connect(url: &str) -> Result<MultiplexedConnection, redis::RedisError> {
    let tcp = TcpSettings::default().set_nodelay(true);
    let client = redis::Client::open(url.into_connection_info()?.set_tcp_settings(tcp))?;
    client.get_multiplexed_async_connection().await
}
