//! What a cache holds in memory, counted at the allocator.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::sync::Arc;

use allocation_counter::measure;
use cache_core::cache::{AcquireOptions, CacheError};
use cache_core::schema::{AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, TokenRequest};
use cache_core::secret::Secret;
use cache_core::store::{MemoryStore, Store};
use cache_core::strategy::{MemoryTier, Strategy};
use support::*;

const BOUND: u64 = 8 << 20;

fn user(number: usize) -> PartitionKey {
    PartitionKey::User {
        authority: AuthorityIdentity::of_issuer(ISSUER),
        home_account_id: format!("sub-{number}"),
    }
}

fn request_for(number: usize, scopes: &str) -> Arc<TokenRequest> {
    let scopes = ScopeSet::parse(scopes);
    let key = user(number);
    Arc::new(TokenRequest::new(
        key,
        AuthorityKind::Oidc,
        CLIENT,
        "issuer.example",
        "",
        scopes,
    ))
}

const USERS: usize = 3_500;

#[test]
fn what_is_held_stays_within_the_bound_whatever_is_asked_for() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let nothing_kept = Strategy::web_front_end().memory_tier(MemoryTier::off());
        let cache = open_with(&store, &clock, nothing_kept).await;
        for number in 0..USERS {
            let mut response = issuer.sign_in("a b c");
            response.access_token = Some(Secret::new("x".repeat(1800)));
            if let Some(account) = &mut response.account {
                account.home_account_id = format!("sub-{number}");
            }
            cache.sign_in(&user(number), response).await.unwrap();
        }
    });
    for asked in [&["a b c"][..], &["a b c", "a", "b c"]] {
        let bounded = Strategy::web_front_end().memory_tier(MemoryTier::bounded(BOUND));
        let cache = runtime.block_on(open_with(&store, &clock, bounded));
        let options = AcquireOptions {
            cache_only: true,
            ..AcquireOptions::default()
        };
        let held = measure(|| {
            runtime.block_on(async {
                for number in 0..USERS {
                    for scopes in asked {
                        let request = request_for(number, scopes);
                        let acquired = cache.acquire(request, options, issuer.call("a")).await.unwrap();
                        // Decoded for whoever asks, and no longer than that.
                        assert!(acquired.account().is_some());
                    }
                    // What is entered into the directory in the background would wait until then.
                    tokio::task::yield_now().await;
                }
            });
        });
        let of_bound = held.bytes_current as f64 / BOUND as f64;
        assert!(
            (0.7..=1.1).contains(&of_bound),
            "{of_bound:.3} × the bound, asked for in {} ways",
            asked.len()
        );
    }
}

#[tokio::test]
async fn a_partition_beyond_what_the_codec_reads_says_so_and_how_to_split_it() {
    const LIMIT: usize = 64 << 20;
    let (clock, _) = parts();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let issuer = Issuer::new(&clock);
    let cache = open(&store, &clock).await;
    let mut response = issuer.sign_in("a");
    response.access_token = Some(Secret::new("x".repeat(LIMIT)));
    let error = cache.sign_in(&support::user(), response).await.unwrap_err();
    assert!(
        matches!(error, CacheError::PartitionTooLarge { bytes, limit: LIMIT } if bytes > LIMIT),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("split an application's tokens by resource (`Partitioning::AppByResource`)"));
}
