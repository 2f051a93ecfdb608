//! No secret in any log, error or `Debug`, and none in clear in the store.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::fmt::Debug;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::cache::{AcquireOptions, CacheError, Freshness, SignOutScope, TokenCache};
use cache_core::codec::msal::RowOrigin;
use cache_core::codec::{BincodeCodec, Codec, CodecError, MsalJsonCodec};
use cache_core::random::OsRandom;
use cache_core::schema::{AuthorityIdentity, Partition, PartitionKey, SessionKey};
use cache_core::seal::{FixedKeySource, KeySource, Namespace, SecretKey};
use cache_core::secret::{Secret, SecretBytes};
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{MemoryStore, PutOptions, Store};
use cache_core::strategy::{RefreshPolicy, Strategy};
use cache_testkit::clock::ManualClock;
use cache_testkit::fault::{Fault, FaultStore};
use futures_util::StreamExt;
use serde_json::json;
use support::*;
use tracing_subscriber::fmt::MakeWriter;

/// What every secret in this test has in it.
const CANARY: &str = "canary";

/// The key-encryption key, as the bytes of text so that it would be seen in whatever form.
const KEY: &[u8; 32] = b"canary-key-encryption-key-of-32b";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn add(&self, what: &dyn Debug) {
        writeln!(self.clone(), "{what:?} {what:#?}").unwrap();
    }

    /// An error, its causes, and what it looks like to people and to programmers.
    fn add_error(&self, error: &(dyn std::error::Error + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            writeln!(self.clone(), "{error} {error:?}").unwrap();
            next = error.source();
        }
    }

    fn check(&self, at_least: usize) {
        let bytes = self.0.lock().unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.len() > at_least, "only {} bytes were captured", text.len());
        for (number, line) in text.lines().enumerate() {
            assert!(
                !line.contains(CANARY),
                "line {number} of {}: {line}",
                text.lines().count()
            );
        }
        // As numbers, which is how a derived Debug would show bytes.
        let numbers: Vec<_> = CANARY.bytes().map(|byte| byte.to_string()).collect();
        assert!(!text.contains(&numbers.join(", ")));
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn logs_to(captured: &Captured) -> tracing::subscriber::DefaultGuard {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(captured.clone())
        .finish();
    tracing::subscriber::set_default(subscriber)
}

struct World {
    clock: ManualClock,
    store: Arc<dyn Store>,
    faults: FaultStore,
    issuer: Arc<Issuer>,
    cache: TokenCache,
}

impl World {
    async fn new() -> Self {
        let clock = ManualClock::new();
        let inner = MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom));
        let faults = FaultStore::new(Arc::new(inner), Arc::new(clock.clone()));
        let store: Arc<dyn Store> = Arc::new(faults.clone());
        let issuer = Issuer::new(&clock);
        let cache = TokenCache::builder(Arc::clone(&store))
            .clock(Arc::new(clock.clone()))
            .strategy(Strategy::desktop_tool().refresh(RefreshPolicy::Ahead { jitter: 0.0 }))
            .open_sealed(Namespace::default(), key_source())
            .await
            .unwrap();
        Self {
            clock,
            store,
            faults,
            issuer,
            cache,
        }
    }

    async fn acquire(&self, scopes: &str, options: AcquireOptions) -> Result<impl Debug + use<>, CacheError> {
        self.cache
            .acquire(request(scopes), options, self.issuer.call(scopes))
            .await
    }
}

fn key_source() -> Arc<dyn KeySource> {
    Arc::new(FixedKeySource::new(SecretKey::from_bytes(KEY)))
}

/// A cache file whose every value that could be a secret is a canary, known and unknown ones.
fn file() -> Vec<u8> {
    json!({
        "Account": { "a": {
            "home_account_id": "u.t", "environment": "login.microsoftonline.com", "realm": "t",
            "local_account_id": "u", "username": "u", "authority_type": "MSSTS", "client_info": "canary-info",
        } },
        "RefreshToken": { "r": {
            "home_account_id": "u.t", "environment": "login.microsoftonline.com", "client_id": "c",
            "secret": "canary-imported", "credential_type": "RefreshToken", "extra": { "nested": "canary-extra" },
        } },
        "IdToken": { "i": { "secret": "canary-id", "home_account_id": 7 } },
        "Unknown": { "x": { "anything": "canary-unknown" } },
    })
    .to_string()
    .into_bytes()
}

#[tokio::test]
async fn nothing_that_is_logged_or_shown_has_a_secret_in_it() {
    let captured = Captured::default();
    let _logs = logs_to(&captured);
    let world = World::new().await;
    let mut response = world.issuer.sign_in("a");
    response.id_token = Some(Secret::new("canary-id-token"));
    response.refresh_on = Some(response.requested_at);
    captured.add(&response);
    captured.add(&response.access_token_row());
    captured.add(&world.cache.sign_in(&user(), response).await.unwrap());
    captured.add(&world.acquire("a", AcquireOptions::default()).await.unwrap());
    settle().await;
    world.clock.advance(Duration::from_secs(3600));
    captured.add(&world.acquire("a", AcquireOptions::default()).await.unwrap());
    let forced = AcquireOptions {
        freshness: Freshness::Forced {
            rejected: Some(Secret::new("canary-rejected").sha256()),
        },
        ..AcquireOptions::default()
    };
    captured.add(&forced);
    let identify = |origin: &RowOrigin<'_>| origin.default_identity();
    captured.add(&world.cache.import(&file(), &identify).await.unwrap());
    captured.add(&world.cache.accounts().await.unwrap());
    captured.add(&world.cache.inspect().await.unwrap());
    let export = world.cache.export().await.unwrap();
    assert!(String::from_utf8_lossy(export.json.expose()).contains("canary-imported"));
    captured.add(&export);
    captured.add(&world.cache);
    captured.add(world.cache.sealer());
    captured.add(&world.cache.sealer().keys());
    captured.add(&world.store);
    captured.add(&key_source());
    captured.add(&TokenCache::builder(Arc::clone(&world.store)));
    captured.add(&request("a"));
    captured.add(&PartitionKey::Session {
        client_id: CLIENT.into(),
        authority: AuthorityIdentity::of_issuer(ISSUER),
        key: SessionKey::CallerKey("canary-session".into()),
    });
    let mut keys = world.store.scan("");
    while let Some(found) = keys.next().await {
        let (key, _) = found.unwrap();
        let record = world.store.get(&key).await.unwrap().unwrap();
        let clear = record
            .payload
            .windows(CANARY.len())
            .any(|bytes| bytes == CANARY.as_bytes());
        assert!(
            !clear && !key.as_str().contains(CANARY),
            "{key} has a secret in clear"
        );
        captured.add(&record);
        if let Some(kind) = cache_core::seal::RecordKind::of(&Namespace::default(), &key)
            && let Ok(opened) = world.cache.sealer().open_record(kind, &key, &record.payload)
        {
            captured.add(&opened);
            let partition = BincodeCodec
                .decode(opened.payload.expose(), opened.meta.schema)
                .unwrap();
            captured.add(&partition);
            captured.add(&partition.accounts);
            captured.add(&partition.access_tokens);
            captured.add(&partition.refresh_tokens);
            captured.add(&partition.id_tokens);
            captured.add(&partition.app_metadata);
            captured.add(&partition.residue);
            captured.add(&cache_core::schema::index::IndexedPartition::new(partition).unwrap());
        }
    }
    assert!(
        world
            .cache
            .sign_out(&user(), CLIENT, SignOutScope::Family)
            .await
            .unwrap()
    );
    captured.check(5_000);
}

#[tokio::test]
async fn no_error_has_a_secret_in_it() {
    let captured = Captured::default();
    let _logs = logs_to(&captured);
    let world = World::new().await;
    let _ticking = ticking(&world.clock);
    let mut errors: Vec<CacheError> = Vec::new();
    for mishap in [
        Mishap::NotSent,
        Mishap::Throttled,
        Mishap::Interaction,
        Mishap::OtherAccount,
        Mishap::LostReply,
        Mishap::Panic,
    ] {
        world
            .cache
            .sign_in(&user(), world.issuer.sign_in("a"))
            .await
            .unwrap();
        world.issuer.mishap(mishap);
        errors.push(world.acquire("b", AcquireOptions::default()).await.unwrap_err());
    }
    for kind in [ErrorKind::Full, ErrorKind::Conflict, ErrorKind::Timeout] {
        world.faults.inject(Fault::fail(kind).on(Operation::Put));
        errors.push(
            world
                .cache
                .sign_in(&user(), world.issuer.sign_in("a"))
                .await
                .unwrap_err(),
        );
        world.faults.heal();
    }
    let mut nothing = world.issuer.sign_in("a");
    nothing.access_token = None;
    errors.push(world.cache.sign_in(&user(), nothing).await.unwrap_err());
    let identify = |origin: &RowOrigin<'_>| origin.default_identity();
    for broken in [
        &b"canary-not-json"[..],
        br#"{"AccessToken": "canary-text"}"#,
        br#"["canary-list"]"#,
        br#"{"AccessToken": {"x": {"secret": "canary-cut"#,
    ] {
        errors.push(world.cache.import(broken, &identify).await.unwrap_err());
    }
    let key = world.cache.stored_key(&user());
    let good = world.store.get(&key).await.unwrap().unwrap().payload;
    for length in [0, 3, 40, 120, good.len() - 1] {
        world
            .store
            .put(&key, good.slice(..length), PutOptions::overwrite())
            .await
            .unwrap();
        errors.push(world.cache.accounts().await.unwrap().unreadable.remove(0).1);
    }
    let elsewhere = TokenCache::builder(Arc::clone(&world.store))
        .open_sealed(
            Namespace::default(),
            Arc::new(FixedKeySource::new(SecretKey::from_bytes(
                b"canary-another-encryption-key-32",
            ))),
        )
        .await;
    errors.push(elsewhere.unwrap_err());
    assert!(errors.len() >= 19);
    for error in &errors {
        captured.add_error(error);
    }
    captured.check(2_000);
}

#[test]
fn what_codecs_say_of_bytes_that_are_no_partition_has_none_of_them_in_it() {
    let captured = Captured::default();
    let codecs: [&dyn Codec; 2] = [&BincodeCodec, &MsalJsonCodec];
    let mut partition = Partition::new(user());
    let granted = Issuer::new(&ManualClock::new()).sign_in("a");
    partition.access_tokens.extend(granted.access_token_row());
    let mut errors: Vec<CodecError> = Vec::new();
    for codec in codecs {
        let good: SecretBytes = codec.encode(&partition).unwrap();
        for broken in [
            &b"canary"[..],
            br#"{"canary": "canary"}"#,
            &good.expose()[..good.expose().len() / 2],
            &[good.expose(), b"canary"].concat(),
        ] {
            errors.push(codec.decode(broken, codec.schema_version()).unwrap_err());
        }
        errors.push(codec.decode(good.expose(), 99).unwrap_err());
    }
    for error in &errors {
        captured.add_error(error);
    }
    captured.check(500);
}
