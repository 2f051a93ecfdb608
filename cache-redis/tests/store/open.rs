//! What `open` finds out.

use std::time::Duration;

use cache_core::secret::{Secret, SecretBytes};
use cache_core::store::error::{ErrorKind, Retry};
use cache_core::store::{PutOptions, Store, StoreError};
use cache_redis::{Arrangement, DurabilityMode, Eviction, RedisConfig, RedisStore};
use cache_testkit::redis::{ClientCertificates, RedisServer};

use crate::support::{config, key, open};

async fn refused(config: RedisConfig) -> StoreError {
    RedisStore::open(config).await.expect_err("it must not open")
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let mut server = RedisServer::start().await.unwrap();
    let url = server.url();
    server.stop().await.unwrap();
    let error = refused(config(&url)).await;
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Unavailable, Retry::Yes)
    );
    let error = refused(config("redis+unix:///nowhere/redis.sock")).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = refused(config("redis://no-such-host.invalid")).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_database_that_is_not_there_is_an_invalid_argument() {
    let server = RedisServer::start().await.unwrap();
    let error = refused(config(&format!("{}/99", server.url()))).await;
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
}

#[tokio::test]
async fn a_wrong_login_is_denied_and_not_shown() {
    let rules = "~tokenkeep:* &tokenkeep:* +@all";
    let server = RedisServer::builder()
        .acl_user("app", "right", rules)
        .start()
        .await
        .unwrap();
    let url = format!("redis://127.0.0.1:{}", server.port());
    let error = refused(config(&url).username("app").password(Secret::new("canary"))).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(!format!("{error:?} {error}").contains("canary"));
    let store = RedisStore::open(config(&url).username("app").password(Secret::new("right")))
        .await
        .unwrap();
    store
        .put(&key("a"), "1".into(), PutOptions::create())
        .await
        .unwrap();
}

#[tokio::test]
async fn the_permissions_in_the_documentation_are_enough() {
    let rules = "~tokenkeep:* &tokenkeep:* -@all +hmget +exists +zrangebylex +evalsha +eval +hset +hdel +del +persist \
                 +pexpireat +zadd +zrem +zrangebyscore +time +publish +subscribe +ping +select";
    let server = RedisServer::builder()
        .acl_user("least", "secret", rules)
        .start()
        .await
        .unwrap();
    let url = format!("redis://least:secret@127.0.0.1:{}", server.port());
    let store = open(&url).await;
    assert_eq!(store.eviction(), Eviction::Unknown, "INFO is not among them");
    let error = store.describe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    cache_testkit::suite::basic::overwrite_replaces(&store).await;
    cache_testkit::suite::scan::deleted_record_is_not_listed(&store).await;
}

#[tokio::test]
async fn a_user_without_the_channel_is_told_so() {
    for (name, rules) in [
        ("deaf", "~tokenkeep:* resetchannels +@all"),
        ("mute", "~tokenkeep:* &* +@all -publish"),
        ("stiff", "~tokenkeep:* &* +@all -subscribe"),
    ] {
        let server = RedisServer::builder()
            .acl_user(name, "secret", rules)
            .start()
            .await
            .unwrap();
        let error = refused(config(&format!(
            "redis://{name}:secret@127.0.0.1:{}",
            server.port()
        )))
        .await;
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{name}");
        assert!(error.to_string().contains("&tokenkeep:changes:0"), "{error}");
    }
}

#[tokio::test]
async fn a_user_without_the_keys_is_denied() {
    let rules = "~other:* &* +@all";
    let server = RedisServer::builder()
        .acl_user("app", "secret", rules)
        .start()
        .await
        .unwrap();
    let store = open(&format!("redis://app:secret@127.0.0.1:{}", server.port())).await;
    let put = store
        .put(&key("a"), "1".into(), PutOptions::create())
        .await
        .unwrap_err();
    let get = store.get(&key("a")).await.unwrap_err();
    for error in [put, get] {
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::PermissionDenied, Retry::No)
        );
    }
}

#[tokio::test]
async fn tls_proves_both_sides() {
    let server = RedisServer::builder()
        .tls(ClientCertificates::Required)
        .start()
        .await
        .unwrap();
    let url = server.url();
    assert!(url.starts_with("rediss://"));
    let ca = server.ca_pem().unwrap().as_bytes().to_vec();
    let own = server.client_certificate().unwrap();
    let (certificate, private_key) = (own.certificate_pem, own.key_pem);
    let with_both = |ca: Vec<u8>| {
        let key = SecretBytes::new(private_key.clone());
        config(&url)
            .ca_certificates(ca)
            .client_certificate(certificate.clone(), key)
    };
    let store = RedisStore::open(with_both(ca.clone())).await.unwrap();
    store
        .put(&key("a"), "1".into(), PutOptions::create())
        .await
        .unwrap();

    // Another authority than the server's: its own certificate is none at all.
    let error = refused(with_both(certificate.clone())).await;
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::PermissionDenied, Retry::No)
    );
    assert!(error.to_string().contains("certificate"), "{error}");
    let error = refused(config(&url).ca_certificates(ca.clone())).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    let error = refused(with_both(b"no certificate".to_vec())).await;
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
}

#[tokio::test]
async fn the_server_is_described() {
    let server = RedisServer::builder().append_only(true).start().await.unwrap();
    let store = open(&server.url()).await;
    let info = store.describe().await.unwrap();
    assert_eq!(info.product, "redis");
    assert!(
        info.version.starts_with(|first: char| first.is_ascii_digit()),
        "{info:?}"
    );
    assert_eq!((info.arrangement, info.writable), (Arrangement::Single, true));
    assert_eq!((info.connected_replicas, info.append_only_file), (0, true));
    assert_eq!(
        (info.eviction, store.eviction()),
        (Eviction::Never, Eviction::Never)
    );

    server
        .command(&["CONFIG", "SET", "maxmemory", "100mb"])
        .await
        .unwrap();
    server
        .command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"])
        .await
        .unwrap();
    assert_eq!(store.describe().await.unwrap().eviction, Eviction::Any);
    assert_eq!(open(&server.url()).await.eviction(), Eviction::Any);
    assert_eq!(store.eviction(), Eviction::Never, "as it was");
}

#[tokio::test]
async fn a_server_without_hello_is_spoken_to_as_of_old() {
    let server = RedisServer::builder()
        .directive("rename-command", "HELLO \"\"")
        .start()
        .await
        .unwrap();
    let pinging = config(&server.url()).watch_ping_interval(std::time::Duration::from_millis(10));
    let store = RedisStore::open(pinging).await.unwrap();
    cache_testkit::suite::basic::put_then_get(&store).await;
    cache_testkit::suite::scan::deleted_record_is_not_listed(&store).await;
    let mut events = cache_core::store::Watch::subscribe(&store);
    crate::support::pause(100).await;
    let version = store
        .put(&key("a"), "1".into(), PutOptions::create())
        .await
        .unwrap();
    let event = cache_core::store::WatchEvent::Changed(key("a"), Some(version));
    assert_eq!(
        crate::support::next(&mut events).await,
        event,
        "pings are answered too"
    );
}

#[tokio::test]
async fn a_user_who_may_not_wait_for_replicas_is_told_so_before_anything_is_written() {
    let rules = "~tokenkeep:* &tokenkeep:* +@all -wait";
    let server = RedisServer::builder()
        .acl_user("hasty", "secret", rules)
        .start()
        .await
        .unwrap();
    let url = format!("redis://hasty:secret@127.0.0.1:{}", server.port());
    open(&url).await;
    let mode = DurabilityMode::Replicated {
        replicas: 1,
        timeout: Duration::from_millis(300),
    };
    let error = refused(config(&url).durability(mode)).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("+wait"), "{error}");
}
