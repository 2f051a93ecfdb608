//! The servers that tests start: each kind answers, and is gone afterwards.

#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use cache_testkit::redis::{ClientCertificates, Error, Program, RedisCluster, RedisServer, Sentinels};

/// What a server must leave nothing of.
struct Traces(PathBuf);

impl Traces {
    fn of(server: &RedisServer) -> Self {
        assert!(server.folder().exists());
        Self(server.folder().to_owned())
    }

    /// Asserts that its folder is gone, and every process that worked there.
    fn assert_gone(&self) {
        assert!(!self.0.exists(), "{} is still there", self.0.display());
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Ok(folder) = fs::read_link(process.path().join("cwd")) else {
                continue;
            };
            assert!(
                !folder.starts_with(&self.0),
                "a process still works in {}",
                folder.display()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_listens_answers_and_is_gone_when_dropped() {
    let server = RedisServer::start().await.unwrap();
    let traces = Traces::of(&server);
    assert_eq!(server.url(), format!("redis://127.0.0.1:{}", server.port()));
    assert!(TcpStream::connect(server.address()).is_ok());
    assert_eq!(server.command(&["PING"]).await.unwrap(), "PONG");
    let refused = server.command(&["NONSENSE", "password"]).await.unwrap_err();
    assert!(matches!(&refused, Error::Command { command, .. } if command == "NONSENSE"));
    let address = server.address();
    drop(server);
    traces.assert_gone();
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_gone_when_its_test_panics() {
    let server = RedisServer::start().await.unwrap();
    let traces = Traces::of(&server);
    let test = tokio::spawn(async move {
        assert!(server.port() == 6379, "a port that no test may use");
    });
    assert!(test.await.unwrap_err().is_panic());
    traces.assert_gone();
}

/// This test starts itself once more as the one that is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_gone_when_its_test_is_killed() {
    const NAME: &str = "a_server_is_gone_when_its_test_is_killed";
    const VARIABLE: &str = "TOKENKEEP_TEST_IS_KILLED";
    if std::env::var_os(VARIABLE).is_some() {
        let server = RedisServer::start().await.unwrap();
        println!("\nfolder {}", server.folder().display());
        std::future::pending::<()>().await;
    }
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(VARIABLE, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(test.stdout.take().unwrap()).lines();
    let folder = lines
        .map_while(Result::ok)
        .find_map(|line| Some(line.strip_prefix("folder ")?.to_owned()));
    let traces = Traces(folder.expect("the other test starts a server").into());
    assert!(traces.0.exists());
    test.kill().unwrap();
    test.wait().unwrap();
    for _ in 0..500 {
        if !traces.0.exists() {
            break;
        }
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
    traces.assert_gone();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_can_be_paused_killed_stopped_and_restarted_in_its_place() {
    let mut server = RedisServer::builder().append_only(true).start().await.unwrap();
    let address = server.address();
    server.command(&["SET", "key", "value"]).await.unwrap();
    server.pause().unwrap();
    assert!(matches!(
        server.command(&["GET", "key"]).await,
        Err(Error::Unanswered { .. })
    ));
    server.resume().unwrap();
    assert_eq!(server.command(&["GET", "key"]).await.unwrap(), "value");

    server.kill();
    assert!(!server.is_running());
    assert!(matches!(server.pause(), Err(Error::Signal { .. })));
    assert!(TcpStream::connect(address).is_err());
    server.restart().await.unwrap();
    assert_eq!(server.command(&["GET", "key"]).await.unwrap(), "value");

    server.stop().await.unwrap();
    server.restart().await.unwrap();
    assert_eq!(server.address(), address);
    assert_eq!(server.command(&["GET", "key"]).await.unwrap(), "value");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_understand_its_configuration_says_so() {
    let refused = RedisServer::builder()
        .directive("no-such-directive", "1")
        .start()
        .await;
    assert!(matches!(
        refused,
        Err(Error::NotReady {
            program: "redis-server",
            ..
        })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn valkey_answers_on_a_unix_socket_and_with_tls_and_a_user() {
    let server = RedisServer::builder()
        .program(Program::Valkey)
        .unix_socket()
        .start()
        .await
        .unwrap();
    assert_eq!(
        server.url(),
        format!("redis+unix://{}", server.socket_path().display())
    );
    assert!(
        server
            .command(&["INFO", "server"])
            .await
            .unwrap()
            .contains("valkey_version:8.")
    );
    assert!(TcpStream::connect(server.address()).is_err());

    let server = RedisServer::builder()
        .program(Program::Valkey)
        .tls(ClientCertificates::Required)
        .acl_user("alice", "secret", "~alice:* +@all")
        .start()
        .await
        .unwrap();
    assert_eq!(server.url(), format!("rediss://127.0.0.1:{}", server.port()));
    assert!(
        server
            .ca_pem()
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE-----")
    );
    assert!(server.client_certificate().is_some());
    assert_eq!(
        server
            .command(&["ACL", "DRYRUN", "alice", "GET", "alice:1"])
            .await
            .unwrap(),
        "OK"
    );
    let users = server.command(&["ACL", "LIST"]).await.unwrap();
    assert!(users.contains("user default off"), "{users}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_follows_a_primary_that_asks_for_a_password() {
    let primary = RedisServer::builder()
        .acl_user("alice", "secret", "~* +@all")
        .start()
        .await
        .unwrap();
    let replica = RedisServer::builder().replica_of(&primary).start().await.unwrap();
    primary.command(&["SET", "key", "value"]).await.unwrap();
    assert_eq!(primary.command(&["WAIT", "1", "10000"]).await.unwrap(), "1");
    assert_eq!(replica.command(&["GET", "key"]).await.unwrap(), "value");
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_announce_another_primary_when_theirs_is_killed() {
    let mut sentinels = Sentinels::start(2, 3).await.unwrap();
    let traces: Vec<_> = sentinels.servers().iter().map(Traces::of).collect();
    assert_eq!(sentinels.primary().await.unwrap(), 0);
    assert_eq!(sentinels.kill_primary().await.unwrap(), 0);
    let new = sentinels.wait_for_new_primary(0).await.unwrap();
    sentinels.servers()[new]
        .command(&["SET", "key", "value"])
        .await
        .unwrap();
    sentinels.restart_as_replica(0).await.unwrap();
    sentinels.wait_until_whole().await.unwrap();
    assert_eq!(sentinels.primary().await.unwrap(), new);
    drop(sentinels);
    traces.iter().for_each(Traces::assert_gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_cut_off_still_answers_its_own_clients() {
    let sentinels = Sentinels::start_with_proxies(1, 3).await.unwrap();
    sentinels.cut_off(0);
    let new = sentinels.wait_for_new_primary(0).await.unwrap();
    assert_eq!(new, 1);
    let old = &sentinels.servers()[0];
    old.command(&["SET", "key", "that will be lost"]).await.unwrap();
    assert_eq!(old.command(&["WAIT", "1", "100"]).await.unwrap(), "0");
    sentinels.rejoin(0);
    sentinels.wait_until_whole().await.unwrap();
    assert_eq!(old.command(&["GET", "key"]).await.unwrap(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_replaces_a_killed_primary_and_moves_slots() {
    let mut cluster = RedisCluster::start(3, 1).await.unwrap();
    let traces: Vec<_> = cluster.servers().iter().map(Traces::of).collect();
    let killed = cluster.kill_primary_of("key").await.unwrap();
    let heir = cluster.wait_for_new_primary_of("key", killed).await.unwrap();
    cluster.servers_mut()[killed].restart().await.unwrap();
    cluster.wait_until_whole().await.unwrap();

    let source = cluster.primary_of("key").await.unwrap();
    assert_eq!(source, heir);
    let target = cluster.primary_of("b").await.unwrap();
    assert_ne!(source, target, "the two keys should be with different servers");
    cluster.servers()[source]
        .command(&["SET", "key", "value"])
        .await
        .unwrap();
    assert_eq!(cluster.begin_migration("key", target).await.unwrap(), source);
    cluster.finish_migration("key", source, target).await.unwrap();
    assert_eq!(cluster.primary_of("key").await.unwrap(), target);
    assert_eq!(
        cluster.servers()[target].command(&["GET", "key"]).await.unwrap(),
        "value"
    );
    drop(cluster);
    traces.iter().for_each(Traces::assert_gone);
}

/// What the other side is asked for meanwhile is answered by the new primary, and the old one has nothing of it.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_of_a_cluster_that_is_cut_off_is_replaced_and_comes_back_as_a_replica() {
    let mut cluster = RedisCluster::start_with_proxies(3, 1).await.unwrap();
    let old = cluster.primary_of("key").await.unwrap();
    cluster.cut_off(old);
    let alone = cluster.servers()[old].command(&["SET", "key", "that will be lost"]);
    assert_eq!(alone.await.unwrap(), "OK");
    let new = cluster.wait_for_new_primary_of("key", old).await.unwrap();
    let kept = cluster.servers()[new].command(&["SET", "key", "that stays"]);
    assert_eq!(kept.await.unwrap(), "OK");
    let refused = cluster.servers()[old].command(&["GET", "key"]).await;
    assert!(refused.unwrap_err().to_string().contains("CLUSTERDOWN"));
    cluster.rejoin();
    cluster.wait_until_whole().await.unwrap();
    assert_eq!(cluster.primary_of("key").await.unwrap(), new);
    let replication = cluster.servers()[old].command(&["INFO", "replication"]).await;
    assert!(replication.unwrap().contains("role:slave"));
}

/// A Cluster gives a primary that has lost all replicas one of another's, which then has too few for writes that all must have.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_of_a_cluster_stay_with_their_primary() {
    let mut cluster = RedisCluster::start(3, 2).await.unwrap();
    let primary = cluster.primary_of("key").await.unwrap();
    let port = cluster.servers()[primary].port();
    let mut replicas = Vec::new();
    for (index, server) in cluster.servers().iter().enumerate() {
        let replication = server.command(&["INFO", "replication"]).await.unwrap();
        if replication.contains(&format!("master_port:{port}")) {
            replicas.push(index);
        }
    }
    assert_eq!(replicas.len(), 2);
    for replica in &replicas {
        cluster.servers_mut()[*replica].kill();
    }
    // After five seconds a primary counts as abandoned.
    SystemClock.sleep(Duration::from_secs(8)).await;
    let info = cluster.servers()[primary].command(&["INFO", "replication"]);
    assert!(info.await.unwrap().contains("connected_slaves:0"));
    for replica in replicas {
        cluster.servers_mut()[replica].restart().await.unwrap();
    }
    cluster.wait_until_whole().await.unwrap();
    for server in cluster.servers() {
        let info = server.command(&["INFO", "replication"]).await.unwrap();
        assert!(
            info.contains("role:slave") || info.contains("connected_slaves:2"),
            "{info}"
        );
    }
}
