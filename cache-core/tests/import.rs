//! What imported rows may do, and what they may not.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{AcquireOptions, Acquired, CacheError, SignOutScope, TokenCache};
use cache_core::codec::msal::RowOrigin;
use cache_core::random::OsRandom;
use cache_core::schema::{AuthorityIdentity, AuthorityKind, Partition, PartitionKey, ScopeSet, TokenRequest};
use cache_core::store::{MemoryStore, Store};
use cache_core::time::Clock;
use cache_testkit::clock::ManualClock;
use serde_json::{Value, json};
use support::*;

const HOST: &str = "login.microsoftonline.com";

struct World {
    clock: ManualClock,
    issuer: Arc<Issuer>,
    cache: TokenCache,
}

impl World {
    async fn with(file: &Value) -> Self {
        let clock = ManualClock::new();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom)));
        let issuer = Issuer::new(&clock);
        let cache = open(&store, &clock).await;
        let identify = |origin: &RowOrigin<'_>| origin.default_identity();
        cache
            .import(file.to_string().as_bytes(), &identify)
            .await
            .unwrap();
        Self { clock, issuer, cache }
    }

    async fn acquire(&self, client: &str, host: &str) -> Result<Acquired, CacheError> {
        let request = TokenRequest::new(
            entra_user(host),
            AuthorityKind::Entra,
            client,
            host,
            "t",
            ScopeSet::parse("s"),
        );
        self.cache
            .acquire(
                Arc::new(request),
                AcquireOptions::default(),
                self.issuer.call("s"),
            )
            .await
    }

    async fn partition(&self) -> Partition {
        use cache_core::codec::{BincodeCodec, Codec};
        let key = self.cache.stored_key(&entra_user(HOST));
        let record = self.cache.store().get(&key).await.unwrap().unwrap();
        let kind = entra_user(HOST).record_kind();
        let opened = self
            .cache
            .sealer()
            .open_record(kind, &key, &record.payload)
            .unwrap();
        BincodeCodec
            .decode(opened.payload.expose(), opened.meta.schema)
            .unwrap()
    }
}

fn entra_user(host: &str) -> PartitionKey {
    PartitionKey::User {
        authority: AuthorityIdentity::of_host(AuthorityKind::Entra, host),
        home_account_id: "u.t".into(),
    }
}

fn refresh_token(client: &str, secret: &str, modified: Option<i64>) -> Value {
    let mut row = json!({
        "credential_type": "RefreshToken", "home_account_id": "u.t", "environment": HOST,
        "client_id": client, "secret": secret, "target": "s",
    });
    if let Some(modified) = modified {
        row["last_modification_time"] = modified.to_string().into();
    }
    row
}

fn access_token(client: &str, environment: &str, cached: i64, expires: i64) -> Value {
    json!({
        "credential_type": "AccessToken", "home_account_id": "u.t", "environment": environment,
        "client_id": client, "secret": "imported", "realm": "t", "target": "s",
        "cached_at": cached.to_string(), "expires_on": expires.to_string(),
    })
}

fn account() -> Value {
    json!({
        "home_account_id": "u.t", "environment": HOST, "realm": "t", "local_account_id": "u",
        "username": "alice@example.test", "authority_type": "MSSTS",
    })
}

#[tokio::test]
async fn of_duplicates_only_the_newest_is_sent() {
    let old = ManualClock::START.to_seconds().0 - 1000;
    let file = json!({
        "Account": { "a": account() },
        "RefreshToken": {
            "1": refresh_token("c", "undated", None),
            "2": refresh_token("c", "newest", Some(old + 9)),
            "3": refresh_token("c", "older", Some(old)),
        }
    });
    let world = World::with(&file).await;
    // The issuer knows none of them: it refuses what it is sent, and nothing else is tried.
    let error = world.acquire("c", HOST).await.unwrap_err();
    assert!(error.is_interaction_required(), "{error:?}");
    assert_eq!(world.issuer.sent(), ["newest"]);
    let error = world.acquire("c", HOST).await.unwrap_err();
    assert!(error.is_interaction_required(), "{error:?}");
    assert_eq!(world.issuer.sent(), ["newest"], "the refusal is remembered");
}

#[tokio::test]
async fn rows_of_environments_that_nobody_asks_for_serve_nobody() {
    let now = ManualClock::START.to_seconds().0;
    for inert in [
        "evil.example",
        "login.microsoftonline.us",
        "login.microsoftonline.com.evil.example",
    ] {
        let file = json!({ "AccessToken": { "1": access_token("c", inert, now, now + 3600) } });
        let world = World::with(&file).await;
        assert!(
            world
                .acquire("c", HOST)
                .await
                .unwrap_err()
                .is_interaction_required(),
            "{inert}"
        );
    }
    // One host, two ports: two authorities. A row without a port (Python drops it) is of either.
    for (row, served) in [
        ("127.0.0.1:8443", true),
        ("127.0.0.1:8444", false),
        ("127.0.0.1", true),
    ] {
        let file = json!({ "AccessToken": { "1": access_token("c", row, now, now + 3600) } });
        let world = World::with(&file).await;
        assert_eq!(
            world.acquire("c", "127.0.0.1:8443").await.is_ok(),
            served,
            "{row}"
        );
    }
    assert_eq!(World::with(&json!({})).await.issuer.redeemed(), 0);
}

/// It counts as written at its import: it is preferred to what is older, and gives way to what comes after.
#[tokio::test]
async fn a_row_from_the_future_is_not_preferred_for_ever() {
    let start = ManualClock::START.to_seconds().0;
    let file = |secret: &str, written: i64| {
        json!({
            "Account": { "a": account() },
            "RefreshToken": { "1": refresh_token("c", secret, Some(written)) }
        })
    };
    let world = World::with(&file("older", start - 60)).await;
    let identify = |origin: &RowOrigin<'_>| origin.default_identity();
    let import = async |file: Value| {
        let file = file.to_string();
        world.cache.import(file.as_bytes(), &identify).await.unwrap();
        let rows = world.partition().await.refresh_tokens;
        assert_eq!(rows.len(), 1);
        rows[0].secret.expose().to_owned()
    };
    assert_eq!(import(file("forged", start + 1_000_000_000)).await, "forged");
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(import(file("newer", start + 60)).await, "newer");
    // One that is older than both changes nothing.
    assert_eq!(import(file("older", start - 60)).await, "newer");
}

#[tokio::test]
async fn a_row_from_the_future_counts_as_written_at_its_import() {
    let now = ManualClock::START.to_seconds().0;
    let file = json!({
        "Account": { "a": account() },
        "RefreshToken": { "1": refresh_token("c", "forged", Some(now + 1_000_000_000)) }
    });
    let world = World::with(&file).await;
    assert_eq!(
        world.partition().await.refresh_tokens[0].last_modification_time,
        Some(world.clock.now().to_seconds())
    );
}

#[tokio::test]
async fn imported_clients_have_a_sign_in_of_their_own_so_that_one_can_sign_out_alone() {
    let now = ManualClock::START.to_seconds().0;
    let mut family = refresh_token("c", "family", Some(now));
    family["family_id"] = "1".into();
    let file = json!({
        "Account": { "a": account() },
        "AccessToken": { "1": access_token("c", HOST, now, now + 3600), "2": access_token("d", HOST, now, now + 3600) },
        "RefreshToken": { "1": family },
        "AppMetadata": {
            "1": { "client_id": "c", "environment": HOST, "family_id": "1" },
            "2": { "client_id": "d", "environment": HOST, "family_id": "1" },
        }
    });
    let world = World::with(&file).await;
    let epochs = world.partition().await.epochs;
    assert_eq!(epochs.len(), 2);
    assert_ne!(epochs[0].epoch, epochs[1].epoch);
    let identify = |origin: &RowOrigin<'_>| origin.default_identity();
    world
        .cache
        .import(file.to_string().as_bytes(), &identify)
        .await
        .unwrap();
    assert!(
        world.partition().await.epochs == epochs,
        "a second import changes no sign-in"
    );

    world.acquire("c", HOST).await.unwrap();
    assert!(
        world
            .cache
            .sign_out(&entra_user(HOST), "c", SignOutScope::Client)
            .await
            .unwrap()
    );
    assert!(
        world
            .acquire("c", HOST)
            .await
            .unwrap_err()
            .is_interaction_required()
    );
    world.acquire("d", HOST).await.unwrap();
    let listing = world.cache.accounts().await.unwrap();
    assert_eq!(listing.accounts[0].clients, ["d"]);
    assert!(listing.accounts[0].has_family_token);
    assert_eq!(world.issuer.redeemed(), 0);
    assert!(
        world
            .cache
            .sign_out(&entra_user(HOST), "d", SignOutScope::Client)
            .await
            .unwrap()
    );
    assert!(world.cache.accounts().await.unwrap().accounts.is_empty());
}
