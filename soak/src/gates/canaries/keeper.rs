//! The process that has the secrets.

use std::error::Error;
use std::fmt::Debug;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cache_core::cache::{AcquireOptions, CacheError, Freshness, SignOutScope, TokenCache};
use cache_core::codec::msal::RowOrigin;
use cache_core::codec::{BincodeCodec, Codec, MsalJsonCodec};
use cache_core::core_dumps;
use cache_core::schema::{PartitionKey, ScopeSet, SessionKey, TokenRequest, TokenResponse};
use cache_core::seal::{EnvironmentKeySource, FixedKeySource, Namespace, RecordKind, SecretKey};
use cache_core::secret::{Secret, SecretBytes};
use cache_core::store::{MemoryStore, PutOptions, Store};
use cache_core::strategy::{DirectoryPolicy, RefreshPolicy, SealPolicy, Strategy};
use cache_sqlite::{SqliteConfig, SqliteStore};
use serde::{Deserialize, Serialize};

use super::Canaries;
use super::authority::{Call, Reply};
use crate::gate::{Doing, GateError};
use crate::scene::{Place, User};
use crate::stage::runtime;

/// The environment variable that has the key.
pub(super) const KEY: &str = "TOKENKEEP_SOAK_KEY";

/// Says that everything was done but the end.
pub(super) const READY: &str = "ready";

const ALICE: User = User(1);

/// Has secrets, says all that it can, and ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Keeping {
    /// Which secrets.
    pub(super) case: u64,
    pub(super) place: Place,
    /// Where they are to be in clear, so that a search that finds nothing is known.
    pub(super) plaintext: PathBuf,
    pub(super) end: End,
}

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum End {
    Return,
    Panic,
    Abort,
    /// By a process that does not forbid core dumps.
    AbortWithDump,
}

impl Keeping {
    /// Does it.
    pub(crate) fn perform(self) -> Result<(), GateError> {
        if self.end != End::AbortWithDump {
            core_dumps::forbid().doing("core dumps were not forbidden")?;
        }
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
            .with_writer(std::io::stderr)
            .init();
        runtime()?.block_on(self.keep())
    }

    async fn keep(self) -> Result<(), GateError> {
        let keeper = Keeper::new(&self).await?;
        keeper.sign_in().await?;
        keeper.refresh().await;
        keeper.import().await?;
        keeper.err().await?;
        let held = keeper.acquire(AcquireOptions::default(), Reply::NotSent).await;
        say(&keeper);
        let mut line = String::new();
        _ = writeln!(std::io::stdout(), "{READY}");
        _ = std::io::stdin().read_line(&mut line);
        match self.end {
            End::Return => keeper.leave().await,
            // As an `expect` does that meets what it did not expect.
            End::Panic => panic!(
                "{held:?} with {:?} and {:?}",
                keeper.granted(),
                keeper.canaries_as_secrets()
            ),
            End::Abort | End::AbortWithDump => std::process::abort(),
        }
    }
}

/// Says what a program may print of a value.
fn say(value: &dyn Debug) {
    _ = writeln!(std::io::stdout(), "{value:?}\n{value:#?}");
}

/// Says all that a program may print of a failure.
fn say_error(error: &(dyn Error + 'static)) {
    let mut next = Some(error);
    while let Some(error) = next {
        _ = writeln!(std::io::stdout(), "{error}\n{error:?}");
        next = error.source();
    }
}

fn say_result<T: Debug>(result: Result<T, CacheError>) {
    match result {
        Ok(value) => say(&value),
        Err(error) => say_error(&error),
    }
}

/// Says what a program inherits that is started as the key source says.
fn say_environment_of_a_child(source: &EnvironmentKeySource) -> Result<(), GateError> {
    let mut command = Command::new("env");
    source.scrub(&mut command);
    let output = command.output().doing("another program was not started")?;
    if !output.status.success() || output.stdout.is_empty() {
        return Err(GateError::new("another program did not say what it inherits"));
    }
    _ = std::io::stdout().write_all(&output.stdout);
    Ok(())
}

struct Keeper {
    canaries: Canaries,
    /// The next of them.
    next: AtomicUsize,
    store: Arc<SqliteStore>,
    cache: TokenCache,
    plaintext: PathBuf,
}

/// What a program may derive for a struct with a cache and its parts.
impl Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper")
            .field("store", &self.store)
            .field("cache", &self.cache)
            .field("sealer", self.cache.sealer())
            .field("keys", &self.cache.sealer().keys())
            .finish_non_exhaustive()
    }
}

impl Keeper {
    async fn new(keeping: &Keeping) -> Result<Self, GateError> {
        let canaries = Canaries::of(keeping.case);
        let Place::Sqlite(path) = &keeping.place else {
            return Err(GateError::new("the secrets are kept in a database"));
        };
        let store = SqliteStore::open(SqliteConfig::new(path)).await;
        let store = Arc::new(store.doing("the database was not opened")?);
        let source = EnvironmentKeySource::new(KEY).doing("no key source")?;
        say(&source);
        say_environment_of_a_child(&source)?;
        let strategy = Strategy::desktop_tool()
            .directory(DirectoryPolicy::on())
            .refresh(RefreshPolicy::Ahead { jitter: 0.0 });
        let builder = TokenCache::builder(store.clone()).strategy(strategy);
        say(&builder);
        let cache = builder.open_sealed(Namespace::default(), Arc::new(source)).await;
        Ok(Self {
            cache: cache.doing("the cache was not opened")?,
            canaries,
            next: AtomicUsize::new(0),
            store,
            plaintext: keeping.plaintext.clone(),
        })
    }

    fn canary(&self) -> Secret {
        Secret::new(self.canaries.token(self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// A reply of which every secret is a canary.
    fn granted(&self) -> TokenResponse {
        let mut granted = ALICE.granted(1);
        granted.access_token = Some(self.canary());
        granted.refresh_token = Some(self.canary());
        granted.id_token = Some(self.canary());
        granted
    }

    fn canaries_as_secrets(&self) -> (Secret, SecretBytes, SecretKey) {
        let text = self.canary();
        let bytes = SecretBytes::new(text.expose().as_bytes().to_vec());
        (text, bytes, SecretKey::from_bytes(&self.canaries.key))
    }

    fn session(&self) -> PartitionKey {
        match ALICE.session() {
            PartitionKey::Session {
                client_id, authority, ..
            } => PartitionKey::Session {
                client_id,
                authority,
                key: SessionKey::CallerKey(self.canaries.token(Canaries::TOKENS - 1)),
            },
            other => other,
        }
    }

    async fn sign_in(&self) -> Result<(), GateError> {
        let granted = self.granted();
        say(&granted);
        say(&granted.access_token_row());
        let signed_in = self.cache.sign_in(&ALICE.partition(), granted).await;
        say(&signed_in.doing("the sign-in failed")?);
        let session = self.session();
        say(&session);
        let lifetime = Duration::from_secs(3600);
        let begun = self
            .cache
            .begin_session(&ALICE.partition(), &session, self.granted(), lifetime)
            .await;
        say(&begun.doing("the session was not begun")?);
        say_result(self.cache.session_account(&session).await);
        Ok(())
    }

    async fn acquire(
        &self,
        options: AcquireOptions,
        reply: Reply,
    ) -> Result<cache_core::cache::Acquired, CacheError> {
        let call = Arc::new(Call {
            reply,
            granted: std::sync::Mutex::new(Some(self.granted())),
        });
        self.cache.acquire(ALICE.request(), options, call).await
    }

    /// Refreshes that are granted, refused, lost and never sent.
    async fn refresh(&self) {
        let forced = |secret: &Secret| AcquireOptions {
            freshness: Freshness::Forced {
                rejected: Some(secret.sha256()),
            },
            ..AcquireOptions::default()
        };
        for reply in [Reply::Granted, Reply::NotSent, Reply::OtherUser, Reply::Lost] {
            let current = self.acquire(AcquireOptions::default(), Reply::NotSent).await;
            let rejected = match &current {
                Ok(acquired) => acquired.token().secret.to_secret(),
                Err(_) => self.canary(),
            };
            say_result(current);
            say_result(self.acquire(forced(&rejected), reply).await);
        }
        let claims = TokenRequest::new(
            ALICE.partition(),
            ALICE.request().authority_kind(),
            ALICE.request().client_id(),
            ALICE.request().environment(),
            ALICE.request().realm(),
            ScopeSet::parse("Files.Read"),
        );
        say(&claims);
        let call = Arc::new(Call {
            reply: Reply::Lost,
            granted: std::sync::Mutex::default(),
        });
        say_result(
            self.cache
                .acquire(Arc::new(claims), AcquireOptions::default(), call)
                .await,
        );
    }

    /// A file with known and unknown secrets, in and out again.
    async fn import(&self) -> Result<(), GateError> {
        let file = serde_json::json!({
            "Account": { "a": {
                "home_account_id": "u.t", "environment": "login.microsoftonline.com", "realm": "t",
                "local_account_id": "u", "username": "u", "authority_type": "MSSTS", "client_info": self.canary().expose(),
            } },
            "RefreshToken": { "r": {
                "home_account_id": "u.t", "environment": "login.microsoftonline.com", "client_id": "c",
                "secret": self.canary().expose(), "credential_type": "RefreshToken", "extra": { "nested": self.canary().expose() },
            } },
            "IdToken": { "i": { "secret": self.canary().expose(), "home_account_id": 7 } },
            "Unknown": { "x": { "anything": self.canary().expose() } },
        })
        .to_string();
        std::fs::write(&self.plaintext, &file).doing("the control was not written")?;
        let identify = |origin: &RowOrigin<'_>| origin.default_identity();
        say_result(self.cache.import(file.as_bytes(), &identify).await);
        say_result(self.cache.export().await);
        say_result(self.cache.accounts().await);
        say_result(self.cache.inspect().await);
        // A file that is cut off in the middle of a secret, and one whose secret is not what it should be.
        say_result(
            self.cache
                .import(&file.as_bytes()[..file.len() / 2], &identify)
                .await,
        );
        let wrong = format!("{{\"RefreshToken\": \"{}\"}}", self.canary().expose());
        say_result(self.cache.import(wrong.as_bytes(), &identify).await);
        for codec in [&BincodeCodec as &dyn Codec, &MsalJsonCodec] {
            for bytes in [file.as_bytes(), self.canary().expose().as_bytes()] {
                match codec.decode(bytes, codec.schema_version()) {
                    Ok(partition) => say(&partition),
                    Err(error) => say_error(&error),
                }
            }
        }
        Ok(())
    }

    /// Records that are damaged, and keys that are wrong.
    async fn err(&self) -> Result<(), GateError> {
        let key = self.cache.stored_key(&ALICE.partition());
        let record = self.store.get(&key).await.doing("the record was not read")?;
        let record = record.ok_or_else(|| GateError::new("the record is not there"))?;
        say(&record);
        let opened = self
            .cache
            .sealer()
            .open_record(RecordKind::User, &key, &record.payload);
        let opened = opened.doing("the record was not opened")?;
        say(&opened);
        let partition = BincodeCodec.decode(opened.payload.expose(), opened.meta.schema);
        say(&partition.doing("the partition was not decoded")?);

        let elsewhere = Arc::new(MemoryStore::new());
        let mut bytes = record.payload.to_vec();
        bytes.truncate(bytes.len() - 1);
        let put = elsewhere.put(&key, bytes.into(), PutOptions::create()).await;
        put.doing("the record was not written")?;
        let damaged = TokenCache::builder(elsewhere)
            .strategy(Strategy::desktop_tool())
            .open_with(self.cache.sealer().clone());
        let damaged = damaged.doing("a cache was not opened")?;
        let call = Arc::new(Call {
            reply: Reply::NotSent,
            granted: std::sync::Mutex::default(),
        });
        say_result(
            damaged
                .acquire(ALICE.request(), AcquireOptions::default(), call)
                .await,
        );
        say_result(damaged.sign_in(&ALICE.partition(), self.granted()).await);
        say_result(self.cache.sign_in(&User(2).partition(), self.granted()).await);

        let [first, ..] = self.canaries.key;
        let mut wrong = self.canaries.key;
        wrong[0] = !first;
        let wrong = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&wrong)));
        let store: Arc<dyn Store> = self.store.clone();
        say_result(
            TokenCache::builder(store.clone())
                .open_sealed(Namespace::default(), wrong)
                .await,
        );
        say_result(TokenCache::builder(store).open_plaintext(Namespace::default()));
        say(&SealPolicy::Required);
        Ok(())
    }

    /// Signs out and ends.
    async fn leave(self) -> Result<(), GateError> {
        say_result(self.cache.end_session_with_tokens(&self.session()).await);
        let removed = self
            .cache
            .sign_out_with_tokens(&ALICE.partition(), crate::scene::CLIENT, SignOutScope::Family)
            .await;
        say_result(removed);
        self.cache.shutdown(Duration::from_secs(5)).await;
        self.store.close().await;
        Ok(())
    }
}
