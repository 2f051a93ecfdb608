//! The strategy matrix: what each choice of a strategy costs, one choice at a time.

use std::any::Any;
use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;

use benches::harness::{
    Comparison, Core, Operation, Question, QuestionError, answer, on, pinned, prepared_on, sync,
};
use benches::payload::{FakeAuthority, LIFETIME, Payload, Picker, fill, warm};
use cache_core::cache::{AcquireOptions, Freshness, TokenCache};
use cache_core::codec::{BincodeCodec, Codec, MsalJsonCodec};
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::store::{MemoryStore, PutOptions, Store, StoreKey};
use cache_core::strategy::{Coalescing, MemoryTier, SealPolicy, Strategy, WritePolicy};
use cache_core::time::{Clock, SystemClock};
use cache_redis::{RedisConfig, RedisStore};
use cache_sqlite::{SqliteConfig, SqliteStore};
use cache_testkit::redis::RedisServer;
use tempfile::TempDir;
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    answer(
        "matrix",
        "What does each choice of a strategy cost?",
        |question| {
            // Both sides of each hop on one processor: what is compared is the choices' work, and not how long a processor takes to wake.
            pinned(Core(0), || ask(question))
        },
    )
}

fn ask(question: &mut Question) -> Result<(), QuestionError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let matrix = Matrix {
        payload: Payload::present(6),
        users: question.sized(256, 8),
        runtime: &runtime,
    };
    let backends = runtime.block_on(backends())?;
    matrix.hits(question, &backends)?;
    for backend in &backends {
        matrix.cold_hits(question, backend)?;
        matrix.commits(question, backend)?;
        matrix.refreshes(question, backend)?;
        matrix.application_tokens(question, backend)?;
    }
    for paragraph in MEANS {
        question.means(paragraph);
    }
    Ok(())
}

const MEANS: [&str; 5] = [
    "One choice changes at a time; the others are those of a desktop tool: bincode, sealed, written through, coalesced across the fleet. Users have \
     one access token, one refresh token and one ID token, 4 KB together, and the server and both sides of every hop share one processor.",
    "**Memory tier.** A hit in memory costs the same whatever lies beneath. Turn it off only where no other process's sign-out may go unnoticed for \
     the staleness that you allow, or where there is no memory to spare: every lookup is then a cold hit of the tables below.",
    "**Codec.** Bincode is the faster one wherever the store is close; behind a network the difference drowns. Choose MSAL's JSON when other MSAL \
     programs read the same records, and only then.",
    "**Seal.** Sealing a partition of 4 KB costs a few microseconds, which is little beside any store but memory. There is no speed to be gained by \
     plaintext that would be worth its risk.",
    "**Coalescing and write policy.** Fleet-wide coalescing costs one more durable write for each refresh: the marker on the refresh token. That is the \
     price of never spending a token twice, once in an access token's life. Only a store that one process has for itself can do without it. Writing behind lets callers that ask \
     for application tokens go on before the store has them; it never delays what concerns a user's refresh token.",
];

/// A store, and what must live as long as it.
struct Backend {
    name: &'static str,
    store: Arc<dyn Store>,
    _keeper: Box<dyn Any>,
}

async fn backends() -> Result<Vec<Backend>, QuestionError> {
    let folder = TempDir::new()?;
    let sqlite = SqliteStore::open(SqliteConfig::new(folder.path().join("cache.db"))).await?;
    let server = RedisServer::start().await?;
    let redis = RedisStore::open(RedisConfig::from_url(&server.url())?).await?;
    Ok(vec![
        Backend {
            name: "memory",
            store: Arc::new(MemoryStore::new()),
            _keeper: Box::new(()),
        },
        Backend {
            name: "SQLite",
            store: Arc::new(sqlite),
            _keeper: Box::new(folder),
        },
        Backend {
            name: "Redis",
            store: Arc::new(redis),
            _keeper: Box::new(server),
        },
    ])
}

/// How records are written.
#[derive(Clone, Copy)]
struct Form {
    name: &'static str,
    codec: fn() -> Arc<dyn Codec>,
    is_sealed: bool,
}

const FORMS: [Form; 4] = [
    Form {
        name: "bincode, sealed",
        codec: || Arc::new(BincodeCodec),
        is_sealed: true,
    },
    Form {
        name: "bincode, plaintext",
        codec: || Arc::new(BincodeCodec),
        is_sealed: false,
    },
    Form {
        name: "MSAL JSON, sealed",
        codec: || Arc::new(MsalJsonCodec),
        is_sealed: true,
    },
    Form {
        name: "MSAL JSON, plaintext",
        codec: || Arc::new(MsalJsonCodec),
        is_sealed: false,
    },
];

struct Matrix<'r> {
    payload: Payload,
    users: usize,
    runtime: &'r Runtime,
}

impl Matrix<'_> {
    /// A hit in the memory tier, over each store.
    fn hits(&self, question: &mut Question, backends: &[Backend]) -> Result<(), QuestionError> {
        const NAME: &str = "hit in the memory tier, over each store";
        if !question.wants(NAME) {
            return Ok(());
        }
        let strategy = Strategy::desktop_tool().memory_tier(MemoryTier::bounded(64 << 20));
        let keys = (0..self.users).map(|user| self.payload.home_account_id(user));
        let map: HashMap<String, Arc<str>> = keys.map(|key| (key, Arc::from("a token"))).collect();
        let names: Vec<String> = (0..self.users)
            .map(|user| self.payload.home_account_id(user))
            .collect();
        let mut picker = Picker::uniform(self.users, 1);
        let mut comparison = question.compare(NAME).limit(
            "a map's get and Arc clone",
            sync(move || map.get(&names[picker.pick()]).cloned()),
        );
        for backend in backends {
            let cache = self.filled(backend, FORMS[0], strategy.clone())?;
            self.runtime.block_on(warm(&cache, &self.payload, self.users))?;
            comparison = comparison.variant(backend.name, self.acquiring(cache, AcquireOptions::default()));
        }
        comparison.run();
        Ok(())
    }

    /// A lookup that the store answers, in each form.
    fn cold_hits(&self, question: &mut Question, backend: &Backend) -> Result<(), QuestionError> {
        let name = format!("cold hit, {}", backend.name);
        if !question.wants(&name) {
            return Ok(());
        }
        let strategy = Strategy::desktop_tool().memory_tier(MemoryTier::off());
        let keys = self.stored_keys(&self.filled(backend, FORMS[0], strategy.clone())?);
        let mut picker = Picker::uniform(self.users, 1);
        let mut comparison = question.compare(&name).limit(
            "the store's get",
            on(self.runtime, async move || {
                backend
                    .store
                    .get(&keys[picker.pick()])
                    .await
                    .unwrap_or_else(failed)
            }),
        );
        for form in FORMS {
            let cache = self.filled(backend, form, strategy.clone())?;
            comparison = comparison.variant(form.name, self.acquiring(cache, AcquireOptions::default()));
        }
        comparison.run();
        Ok(())
    }

    /// A sign-in of a user who is there already: read, merge, compare and swap, durably.
    fn commits(&self, question: &mut Question, backend: &Backend) -> Result<(), QuestionError> {
        let name = format!("sign-in, durable, {}", backend.name);
        if !question.wants(&name) {
            return Ok(());
        }
        let strategy = Strategy::desktop_tool();
        let mut comparison = self.putting(question.compare(&name), backend)?;
        for form in FORMS {
            let cache = self.filled(backend, form, strategy.clone())?;
            let mut picker = Picker::uniform(self.users, 1);
            let responses: Vec<_> = (0..self.users)
                .map(|user| self.payload.response(user, 0))
                .collect();
            let keys: Vec<_> = (0..self.users).map(|user| self.payload.key(user)).collect();
            comparison = comparison.variant(
                form.name,
                prepared_on(
                    self.runtime,
                    async move || {
                        let user = picker.pick();
                        (keys[user].clone(), responses[user].clone())
                    },
                    async move |(key, response)| cache.sign_in(&key, response).await.unwrap_or_else(failed),
                ),
            );
        }
        comparison.run();
        Ok(())
    }

    /// A refresh that the authority answers at once, with each kind of coalescing.
    fn refreshes(&self, question: &mut Question, backend: &Backend) -> Result<(), QuestionError> {
        let name = format!("refresh, {}", backend.name);
        if !question.wants(&name) {
            return Ok(());
        }
        let kinds = [
            ("not coalesced", Coalescing::None),
            ("in the process", Coalescing::Process),
            ("across the fleet", Coalescing::Fleet),
        ];
        let mut comparison = self.putting(question.compare(&name), backend)?;
        for (kind, coalescing) in kinds {
            let strategy = Strategy::desktop_tool().coalescing(coalescing);
            let cache = self.filled(backend, FORMS[0], strategy)?;
            let options = AcquireOptions {
                freshness: Freshness::Forced { rejected: None },
                ..AcquireOptions::default()
            };
            comparison = comparison.variant(kind, self.acquiring(cache, options));
        }
        comparison.run();
        Ok(())
    }

    /// A new token of an application that acts for itself, written through and behind.
    fn application_tokens(&self, question: &mut Question, backend: &Backend) -> Result<(), QuestionError> {
        let name = format!("new application token, {}", backend.name);
        if !question.wants(&name) {
            return Ok(());
        }
        let policies = [
            ("written through", WritePolicy::Through),
            ("written behind", WritePolicy::behind()),
        ];
        let mut comparison = self.putting(question.compare(&name), backend)?;
        for (policy, write_policy) in policies {
            let strategy = Strategy::desktop_tool().write_policy(write_policy);
            let cache = self.filled(backend, FORMS[0], strategy)?;
            let options = AcquireOptions {
                freshness: Freshness::Forced { rejected: None },
                ..AcquireOptions::default()
            };
            let requests: Vec<_> = (0..self.users)
                .map(|app| self.payload.app_request(app, 0))
                .collect();
            let authorities: Vec<_> = (0..self.users)
                .map(|app| Arc::new(authority(self.payload.app_response(app, 0))))
                .collect();
            let mut picker = Picker::uniform(self.users, 1);
            comparison = comparison.variant(
                policy,
                on(self.runtime, async move || {
                    let app = picker.pick();
                    let (request, authority) = (Arc::clone(&requests[app]), Arc::clone(&authorities[app]));
                    cache
                        .acquire_app(request, options, authority)
                        .await
                        .unwrap_or_else(failed)
                }),
            );
        }
        comparison.run();
        Ok(())
    }

    /// A cache in the backend that holds all users. Each form lies in a namespace of its own.
    fn filled(&self, backend: &Backend, form: Form, strategy: Strategy) -> Result<TokenCache, QuestionError> {
        let name = form.name.replace(", ", "-").replace(' ', "-").to_lowercase();
        let namespace = Namespace::new(name)?;
        let strategy = strategy.codec((form.codec)());
        let store = Arc::clone(&backend.store);
        self.runtime.block_on(async {
            let cache = if form.is_sealed {
                let source = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
                TokenCache::builder(store)
                    .strategy(strategy)
                    .open_sealed(namespace, source)
                    .await?
            } else {
                let strategy = strategy.seal(SealPolicy::PlaintextAllowed);
                TokenCache::builder(store)
                    .strategy(strategy)
                    .open_plaintext(namespace)?
            };
            let partitions = (0..self.users).map(|user| self.payload.partition(user, 1));
            fill(&backend.store, cache.sealer(), &*(form.codec)(), partitions).await?;
            Ok(cache)
        })
    }

    /// An acquisition for a random user.
    fn acquiring(&self, cache: TokenCache, options: AcquireOptions) -> Operation<'_> {
        let requests: Vec<_> = (0..self.users)
            .map(|user| self.payload.request(user, 0))
            .collect();
        let authorities: Vec<_> = (0..self.users)
            .map(|user| Arc::new(authority(self.payload.response(user, 0))))
            .collect();
        let mut picker = Picker::uniform(self.users, 1);
        on(self.runtime, async move || {
            let user = picker.pick();
            let (request, authority) = (Arc::clone(&requests[user]), Arc::clone(&authorities[user]));
            cache
                .acquire(request, options, authority)
                .await
                .unwrap_or_else(failed)
        })
    }

    /// Adds the limit of everything that writes.
    fn putting<'q, 'a>(
        &'a self,
        comparison: Comparison<'q, 'a>,
        backend: &'a Backend,
    ) -> Result<Comparison<'q, 'a>, QuestionError> {
        let record = bytes::Bytes::from(vec![7; 4500]);
        let key = StoreKey::new("limit/record")?;
        Ok(comparison.limit(
            "the store's put, durable",
            on(self.runtime, async move || {
                backend
                    .store
                    .put(&key, record.clone(), PutOptions::overwrite())
                    .await
                    .unwrap_or_else(failed)
            }),
        ))
    }

    fn stored_keys(&self, cache: &TokenCache) -> Vec<StoreKey> {
        (0..self.users)
            .map(|user| cache.stored_key(&self.payload.key(user)))
            .collect()
    }
}

fn authority(response: cache_core::schema::TokenResponse) -> FakeAuthority {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    FakeAuthority::granting(clock, std::time::Duration::ZERO, response, LIFETIME)
}

/// An operation that fails is not measured.
fn failed<T>(error: impl std::fmt::Display) -> T {
    panic!("an operation failed: {error}")
}
