//! What is ASP.NET Core's own, by the bytes that its source says a .NET program writes: no .NET program runs here.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{SignOutScope, TokenCache};
use cache_core::layout::MsalLayout;
use cache_core::schema::{AuthorityIdentity, AuthorityKind, PartitionKey};
use cache_core::seal::Namespace;
use cache_core::store::error::ErrorKind;
use cache_core::store::{PutOptions, Store};
use cache_core::strategy::{SealPolicy, Strategy};
use cache_core::time::{Clock, SystemClock};
use cache_redis::RedisConfig;
use cache_redis::layout::{AspNetCoreLayout, MsalCacheStore};
use cache_testkit::redis::RedisServer;
use futures_util::StreamExt;

use crate::{ask, key, number};

/// As MSAL .NET serialises a cache with one user: every section, names and hosts as it writes them.
const DOCUMENT: &str = r#"{"AccessToken":{},"RefreshToken":{"uid.utid-login.windows.net-refreshtoken-client--":{"home_account_id":"uid.utid","environment":"login.windows.net","client_info":"e30","client_id":"client","secret":"canary-refresh","credential_type":"RefreshToken"}},"IdToken":{},"Account":{"uid.utid-login.windows.net-utid":{"home_account_id":"uid.utid","environment":"login.windows.net","client_info":"e30","username":"alice@contoso.test","name":"Alice","local_account_id":"uid","authority_type":"MSSTS","realm":"utid"}},"AppMetadata":{"appmetadata-login.windows.net-client":{"client_id":"client","environment":"login.windows.net"}},"wam_account_ids":{"kept":true}}"#;

async fn open(server: &RedisServer, layout: AspNetCoreLayout) -> MsalCacheStore {
    let config = RedisConfig::from_url(&server.url()).unwrap();
    MsalCacheStore::open_aspnet_core(config, layout).await.unwrap()
}

fn ticks_in(duration: Duration) -> String {
    let millis = i128::from(SystemClock.now().0) + i128::try_from(duration.as_millis()).unwrap();
    (621_355_968_000_000_000 + millis * 10_000).to_string()
}

#[tokio::test]
async fn a_cache_of_dot_net_is_read_and_signed_out_of() {
    let server = RedisServer::start().await.unwrap();
    let name = "Web:uid.utid";
    ask(
        &server,
        &["HSET", name, "absexp", "-1", "sldexp", "-1", "data", DOCUMENT],
    )
    .await;
    let layout = AspNetCoreLayout::default().instance_name("Web:");
    let cache = TokenCache::builder(Arc::new(open(&server, layout).await))
        .strategy(Strategy::web_front_end().seal(SealPolicy::PlaintextAllowed))
        .open_plaintext_shared(Namespace::default(), MsalLayout::suggested_keys())
        .unwrap();
    let listed = cache.accounts().await.unwrap().accounts;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].account.username.as_str(), &listed[0].silent_clients[..]),
        ("alice@contoso.test", &["client".to_owned()][..])
    );
    let alice = PartitionKey::User {
        authority: AuthorityIdentity::of_host(AuthorityKind::Entra, "login.microsoftonline.com"),
        home_account_id: "uid.utid".into(),
    };
    assert_eq!(listed[0].partition, alice);
    let removed = cache
        .sign_out_with_tokens(&alice, "client", SignOutScope::Client)
        .await
        .unwrap();
    assert_eq!(removed.refresh_tokens[0].expose(), "canary-refresh");
    let left = ask(&server, &["HGET", name, "data"]).await;
    assert!(
        !left.contains("canary") && left.contains(r#""wam_account_ids":{"kept":true}"#),
        "{left}"
    );
}

#[tokio::test]
async fn reads_begin_a_sliding_expiry_anew_up_to_the_absolute_one() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server, AspNetCoreLayout::default()).await;
    let entry = async |absolute: &str| {
        let twenty_minutes = "12000000000";
        ask(
            &server,
            &[
                "HSET",
                "k",
                "absexp",
                absolute,
                "sldexp",
                twenty_minutes,
                "data",
                "{}",
            ],
        )
        .await;
        ask(&server, &["EXPIRE", "k", "5"]).await;
    };
    entry("-1").await;
    let found = store.get(&key("k")).await.unwrap().unwrap();
    assert_eq!((found.payload.as_ref(), found.expires_at), (&b"{}"[..], None));
    assert!((1_190..=1_200).contains(&number(&server, &["TTL", "k"]).await));

    entry(&ticks_in(Duration::from_secs(600))).await;
    assert!(store.head(&key("k")).await.unwrap().is_some());
    assert!((590..=600).contains(&number(&server, &["TTL", "k"]).await));

    // Without a sliding expiry a read changes nothing.
    ask(&server, &["HSET", "k", "sldexp", "-1"]).await;
    ask(&server, &["EXPIRE", "k", "5"]).await;
    store.get(&key("k")).await.unwrap().unwrap();
    assert!(number(&server, &["TTL", "k"]).await <= 5);

    ask(&server, &["HSET", "k", "absexp", &ticks_in(Duration::ZERO)]).await;
    assert_eq!(store.get(&key("k")).await.unwrap(), None);
}

#[tokio::test]
async fn an_entry_has_the_fields_that_dot_net_reads() {
    let server = RedisServer::start().await.unwrap();
    let layout = AspNetCoreLayout::default()
        .absolute_expiration(Some(Duration::from_secs(3600)))
        .sliding_expiration(Some(Duration::from_secs(60)));
    let store = open(&server, layout).await;
    store
        .put(&key("k"), "{}".into(), PutOptions::create())
        .await
        .unwrap();
    assert_eq!(number(&server, &["HLEN", "k"]).await, 3);
    assert_eq!(ask(&server, &["HGET", "k", "data"]).await, "{}");
    assert_eq!(ask(&server, &["HGET", "k", "sldexp"]).await, "600000000");
    let absolute: i64 = ask(&server, &["HGET", "k", "absexp"]).await.parse().unwrap();
    let wanted: i64 = ticks_in(Duration::from_secs(3600)).parse().unwrap();
    assert!((0..=100_000_000).contains(&(wanted - absolute)), "{absolute}");
    assert!((50..=60).contains(&number(&server, &["TTL", "k"]).await));
}

#[tokio::test]
async fn an_entry_for_ever_and_longer_can_be_read() {
    let server = RedisServer::start().await.unwrap();
    let layouts = [
        AspNetCoreLayout::default().absolute_expiration(Some(Duration::MAX)),
        AspNetCoreLayout::default().sliding_expiration(Some(Duration::MAX)),
    ];
    for layout in layouts {
        let store = open(&server, layout).await;
        let written = store.put(&key("k"), "{}".into(), PutOptions::overwrite()).await;
        let found = store.get(&key("k")).await.unwrap().unwrap();
        assert_eq!(found.version, written.unwrap());
        for field in ["absexp", "sldexp"] {
            // .NET has them as i64, and a moment no later than the year 9999.
            let ticks: i64 = ask(&server, &["HGET", "k", field]).await.parse().unwrap();
            assert!(field == "sldexp" || ticks <= 3_155_378_975_999_999_999, "{ticks}");
        }
    }
}

#[tokio::test]
async fn hashes_that_are_no_entries_are_left_alone() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server, AspNetCoreLayout::default()).await;
    ask(&server, &["HSET", "other", "field", "value"]).await;
    ask(&server, &["HSET", "odd", "absexp", "soon", "data", "{}"]).await;
    for name in ["other", "odd"] {
        assert_eq!(
            store.get(&key(name)).await.unwrap_err().kind(),
            ErrorKind::Corrupt,
            "{name}"
        );
    }
    let refused = store
        .put(&key("other"), "x".into(), PutOptions::overwrite())
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(store.scan("").count().await, 0);
}
