//! What a program does with each record of a cache.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{
    AcquireOptions, AppTokenCall, CacheError, CallError, CallOutcome, DirectoryQuery, ProofKey,
    ProofKeyOwner, SignOutScope, TokenCache,
};
use cache_core::schema::{AuthorityKind, PartitionKey, ScopeSet, TokenRequest, TokenResponse};
use cache_core::seal::RecordKind;
use cache_core::secret::SecretBytes;

use crate::scene::{CLIENT, ReadError, User};

pub(super) const ALICE: User = User(1);
pub(super) const BOB: User = User(2);

/// What a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    User(User),
    Session(User),
    App,
    ProofKey,
    Directory,
    Ring,
}

/// What came of an operation that met the record: [`Ok`] when it used it, or did without.
pub(super) type Outcome = (&'static str, Result<(), CacheError>);

impl Subject {
    /// Those that a cache keeps in records that it opens by itself.
    pub(super) const ALL: [Self; 8] = [
        Self::User(ALICE),
        Self::User(BOB),
        Self::Session(ALICE),
        Self::Session(BOB),
        Self::App,
        Self::ProofKey,
        Self::Directory,
        Self::Ring,
    ];

    pub(super) fn kind(self) -> RecordKind {
        match self {
            Self::User(_) => RecordKind::User,
            Self::Session(_) => RecordKind::Session,
            Self::App => RecordKind::App,
            Self::ProofKey => RecordKind::ProofKey,
            Self::Directory => RecordKind::Directory,
            Self::Ring => RecordKind::KeyRing,
        }
    }

    /// The partition, where the record is one.
    pub(super) fn partition(self) -> Option<PartitionKey> {
        match self {
            Self::User(user) => Some(user.partition()),
            Self::Session(user) => Some(user.session()),
            Self::App => Some(app()),
            Self::ProofKey | Self::Directory | Self::Ring => None,
        }
    }

    /// Writes the record.
    pub(super) async fn write(self, cache: &TokenCache) -> Result<(), CacheError> {
        match self {
            Self::User(user) => user.sign_in(cache, 1).await,
            Self::Session(user) => user.begin_session(cache, 1).await,
            Self::App => obtain(cache).await,
            Self::ProofKey => add_key(cache).await,
            Self::Directory => {
                cache.directory().flush().await;
                Ok(())
            }
            Self::Ring => Ok(()),
        }
    }

    /// Whether the record is there and says what it did at first.
    pub(super) async fn is_whole(self, cache: &TokenCache) -> bool {
        match self {
            Self::User(user) => matches!(user.serial(cache).await, Ok(1)),
            Self::Session(user) => matches!(user.session_serial(cache).await, Ok(1)),
            Self::App => look_up(cache).await.is_ok(),
            Self::ProofKey => matches!(cache.proof_key(&owner()).await, Ok(Some(_))),
            Self::Directory => {
                let listed = cache.directory().page(DirectoryQuery::new()).await;
                listed.is_ok_and(|page| page.entries.len() == 2 && page.unreadable.is_empty())
            }
            Self::Ring => cache.sealer().reload().await.is_ok(),
        }
    }

    /// All that a program does with the record. (The ring is used by opening a cache.)
    pub(super) async fn use_it(self, cache: &TokenCache) -> Vec<Outcome> {
        match self {
            Self::User(user) => {
                let partition = user.partition();
                vec![
                    ("a look-up", read(user.serial(cache).await)),
                    ("a sign-in", user.sign_in(cache, 2).await),
                    (
                        "a sign-out",
                        cache
                            .sign_out(&partition, CLIENT, SignOutScope::Family)
                            .await
                            .map(drop),
                    ),
                    ("forgetting", cache.forget_account(&partition).await.map(drop)),
                ]
            }
            Self::Session(user) => vec![
                ("a look-up", read(user.session_serial(cache).await)),
                (
                    "the session's end",
                    cache.end_session(&user.session()).await.map(drop),
                ),
            ],
            Self::App => vec![
                ("a look-up", look_up(cache).await),
                ("a request", obtain(cache).await),
            ],
            Self::ProofKey => vec![
                ("a look-up", cache.proof_key(&owner()).await.map(drop)),
                ("another key", add_key(cache).await),
            ],
            Self::Directory => {
                let listed = cache.directory().page(DirectoryQuery::new()).await;
                let listed = listed.and_then(|mut page| match page.unreadable.pop() {
                    Some((_, error)) => Err(error),
                    None => Ok(()),
                });
                let entry = cache.directory().entry(&ALICE.partition()).await;
                let directory = cache.directory();
                let marked = directory.mark_needs_interaction(&ALICE.partition(), CLIENT).await;
                vec![
                    ("a listing", listed),
                    ("an entry", entry.map(drop)),
                    ("a note", marked.map(drop)),
                ]
            }
            Self::Ring => Vec::new(),
        }
    }
}

/// A token of another user is one that was used.
fn read(serial: Result<u64, ReadError>) -> Result<(), CacheError> {
    match serial {
        Err(ReadError::Cache(error)) => Err(error),
        Ok(_) | Err(ReadError::Foreign | ReadError::Store(_)) => Ok(()),
    }
}

fn owner() -> ProofKeyOwner {
    let PartitionKey::User {
        authority,
        home_account_id,
    } = ALICE.partition()
    else {
        unreachable!("a user's partition")
    };
    ProofKeyOwner {
        authority,
        client_id: CLIENT.to_owned(),
        home_account_id: Some(home_account_id),
    }
}

/// Adds a key, to which Alice's refresh token is bound.
async fn add_key(cache: &TokenCache) -> Result<(), CacheError> {
    let key = ProofKey {
        key_id: "key".into(),
        material: SecretBytes::new(b"a key of Alice's".to_vec()),
    };
    let refresh_token = ALICE.granted(1).refresh_token;
    cache.add_proof_key(&owner(), &key, refresh_token.as_ref()).await
}

fn app() -> PartitionKey {
    PartitionKey::App {
        client_id: CLIENT.to_owned(),
        authority: owner().authority,
        tenant: ALICE.request().realm().to_owned(),
        resource: None,
        components: BTreeMap::new(),
    }
}

fn app_request() -> Arc<TokenRequest> {
    let of_user = ALICE.request();
    Arc::new(TokenRequest::new(
        app(),
        AuthorityKind::Entra,
        CLIENT,
        of_user.environment(),
        of_user.realm(),
        ScopeSet::parse("https://graph.microsoft.com/.default"),
    ))
}

async fn look_up(cache: &TokenCache) -> Result<(), CacheError> {
    let options = AcquireOptions {
        cache_only: true,
        ..AcquireOptions::default()
    };
    let call = Arc::new(App { answers: false });
    cache.acquire_app(app_request(), options, call).await.map(drop)
}

async fn obtain(cache: &TokenCache) -> Result<(), CacheError> {
    let call = Arc::new(App { answers: true });
    let options = AcquireOptions::default();
    cache.acquire_app(app_request(), options, call).await.map(drop)
}

/// An authority that grants the application a token.
struct App {
    answers: bool,
}

#[async_trait]
impl AppTokenCall for App {
    async fn obtain(&self, _time_limit: Duration) -> CallOutcome {
        if !self.answers {
            return CallOutcome::NotSent(CallError::new("there is no network"));
        }
        CallOutcome::Granted(Box::new(TokenResponse {
            scopes: ScopeSet::parse("https://graph.microsoft.com/.default"),
            requested_scopes: ScopeSet::parse("https://graph.microsoft.com/.default"),
            refresh_token: None,
            id_token: None,
            account: None,
            ..ALICE.granted(1)
        }))
    }
}
