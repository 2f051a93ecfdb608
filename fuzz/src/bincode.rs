//! Partitions as the binary codec writes them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{AcquireOptions, AuthorityCall, CacheError, CallError, CallOutcome, Redemption};
use cache_core::codec::{BincodeCodec, Codec};
use cache_core::schema::{AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, TokenRequest};
use cache_core::seal::{Incarnation, RecordMeta};
use cache_core::secret::Secret;
use cache_core::store::{PutOptions, Store};
use cache_core::time::UnixMillis;

use crate::scene::{Scene, block_on, unhex};
use crate::{Outcome, Target};

/// The target.
pub const TARGET: Target = Target {
    name: "bincode",
    title: "partitions as the binary codec writes them, decoded as a whole and found in by the cache",
    run,
    seeds,
    max_len: 4096,
};

/// Decodes the bytes and encodes what they were; and has a cache look a token up in them, which reads them in another way.
///
/// # Panics
/// When a partition is not the same again, or the cache finds something in what cannot be decoded.
pub fn run(data: &[u8]) -> Outcome {
    let version = BincodeCodec.schema_version();
    let decoded = BincodeCodec.decode(data, version);
    if let Ok(partition) = &decoded {
        let bytes = BincodeCodec
            .encode(partition)
            .expect("what was decoded has a form");
        let again = BincodeCodec
            .decode(bytes.expose(), version)
            .expect("so was encoded");
        assert!(again == *partition, "a partition changed on its way");
    }
    let key = golden_key();
    match (block_on(find(&key, data)), &decoded) {
        (Ok(_), Err(error)) => panic!("found in what cannot be decoded: {error}"),
        (Ok(Some(secret)), Ok(partition)) => {
            let mut tokens = partition.access_tokens.iter();
            assert!(
                tokens.any(|token| token.secret.expose() == secret.expose()),
                "found what is not there"
            );
            assert!(partition.key == key, "found in another's partition");
        }
        (Ok(None), Ok(partition)) => assert!(partition.key == key, "found in another's partition"),
        (Err(_), Ok(partition)) => assert!(partition.key != key, "not found in what can be decoded"),
        (Err(_), Err(_)) => {}
    }
    Outcome::taken(decoded.is_ok())
}

/// Whose the golden partition is.
fn golden_key() -> PartitionKey {
    PartitionKey::User {
        authority: AuthorityIdentity::of_host(AuthorityKind::Entra, HOST),
        home_account_id: "uid.utid".to_owned(),
    }
}

const HOST: &str = "login.microsoftonline.com";

/// The access token that a cache finds in a record with this payload.
async fn find(key: &PartitionKey, payload: &[u8]) -> Result<Option<Secret>, CacheError> {
    let scene = Scene::new();
    // When the golden tokens were good.
    scene.clock.set(UnixMillis(1_700_000_100_000));
    let cache = scene.cache_in_clear();
    let meta = RecordMeta {
        codec: BincodeCodec.id(),
        schema: BincodeCodec.schema_version(),
        incarnation: Incarnation([1; 16]),
        generation: 1,
    };
    let (kind, place) = (key.record_kind(), cache.stored_key(key));
    let record = cache
        .sealer()
        .seal(kind, &place, meta, payload)
        .expect("it is short");
    let put = scene.store.put(&place, record, PutOptions::create()).await;
    put.expect("a memory store");
    let scopes = ScopeSet::parse("User.Read");
    let request = TokenRequest::new(
        key.clone(),
        AuthorityKind::Entra,
        "client",
        HOST,
        "tenant",
        scopes,
    );
    let options = AcquireOptions {
        cache_only: true,
        ..AcquireOptions::default()
    };
    match cache.acquire(Arc::new(request), options, Arc::new(Nobody)).await {
        Ok(acquired) => Ok(Some(acquired.token().secret.to_secret())),
        Err(CacheError::InteractionRequired(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An authority that is not asked.
struct Nobody;

#[async_trait]
impl AuthorityCall for Nobody {
    async fn prepare(&self, _time_limit: Duration) -> Result<(), CallError> {
        panic!("the cache asked an authority")
    }

    async fn redeem(&self, _redemption: Redemption) -> CallOutcome {
        panic!("the cache asked an authority")
    }

    async fn discard(&self, _refresh_token: Secret, _time_limit: Duration) {}
}

fn seeds() -> Vec<Vec<u8>> {
    let golden = [
        include_str!("../../cache-core/tests/golden/user_v1.hex"),
        include_str!("../../cache-core/tests/golden/app_v1.hex"),
        include_str!("../../cache-core/tests/golden/session_v1.hex"),
    ];
    golden.map(unhex).into()
}
