//! The storage contract, held against real servers in every arrangement.
//!
//! Each test starts its servers once and holds them to all rules, because a cluster takes longer to start than most
//! rules take. The rule that failed is the last that was printed.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "what is printed is for who runs the test")]

mod place;

use std::time::Duration;

use cache_core::secret::{Secret, SecretBytes};
use cache_redis::{DurabilityMode, RedisConfig};
use cache_testkit::redis::{ClientCertificates, Program, RedisCluster, RedisServer, Sentinels};

use crate::place::hold_to_every_rule;

/// What the user of a store needs at least; see the documentation of cache-redis.
const RULES: &str = "~tk:* &tk:* -@all +hello +ping +select +subscribe +hmget +exists +zrangebylex +eval \
                     +evalsha +publish +hset +hdel +del +zadd +zrem +zrangebyscore +persist +pexpireat +time +wait";

fn config(url: &str) -> RedisConfig {
    RedisConfig::from_url(url).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_over_tcp() {
    let server = RedisServer::start().await.unwrap();
    hold_to_every_rule(config(&server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_in_another_database_over_a_unix_socket() {
    let server = RedisServer::builder().unix_socket().start().await.unwrap();
    hold_to_every_rule(config(&format!("{}?db=3", server.url()))).await;
    assert_eq!(server.command(&["DBSIZE"]).await.unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_over_tls_with_a_client_certificate_and_a_user_who_may_do_nothing_else() {
    let server = RedisServer::builder()
        .tls(ClientCertificates::Required)
        .acl_user("tokenkeep", "secret", RULES)
        .start()
        .await
        .unwrap();
    let client = server.client_certificate().unwrap();
    let config = config(&server.url())
        .username("tokenkeep")
        .password(Secret::new("secret"))
        .key_prefix("tk:")
        .ca_certificates(server.ca_pem().unwrap().into())
        .client_certificate(client.certificate_pem, SecretBytes::new(client.key_pem));
    hold_to_every_rule(config).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_behind_sentinels_acknowledged_by_a_replica() {
    let sentinels = Sentinels::start(1, 3).await.unwrap();
    let mode = DurabilityMode::Replicated {
        replicas: 1,
        timeout: Duration::from_secs(5),
    };
    hold_to_every_rule(config(&sentinels.url()).durability(mode)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_cluster() {
    let cluster = RedisCluster::start(3, 1).await.unwrap();
    hold_to_every_rule(config(&cluster.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn valkey_over_tcp() {
    let server = RedisServer::builder()
        .program(Program::Valkey)
        .start()
        .await
        .unwrap();
    hold_to_every_rule(config(&server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn valkey_cluster() {
    let cluster = RedisCluster::start_with(Program::Valkey, 3, 0).await.unwrap();
    hold_to_every_rule(config(&cluster.url())).await;
}
