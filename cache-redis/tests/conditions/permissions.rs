//! Who may do what.

use std::time::Duration;

use cache_core::secret::Secret;
use cache_core::store::error::{ErrorKind, Retry};
use cache_core::store::{PutOptions, Store};
use cache_core::time::{Clock, SystemClock};
use cache_redis::{RedisConfig, RedisStore};
use cache_testkit::redis::RedisServer;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::client::{assert_failed, config, key, put, text};

const PASSWORD: &str = "correct horse battery staple";

async fn server(rules: &str) -> RedisServer {
    RedisServer::builder()
        .acl_user("tokenkeep", "correct-horse", rules)
        .acl_user("all", "correct-horse", "~* &* +@all")
        .start()
        .await
        .unwrap()
}

fn as_user(server: &RedisServer, name: &str) -> RedisConfig {
    config(&server.url())
        .username(name)
        .password(Secret::new("correct-horse"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_the_right_password() {
    let server = server("~tk:* &tk:* +@all").await;
    let without = RedisStore::open(config(&server.url())).await;
    assert_failed(without, ErrorKind::PermissionDenied, Retry::No);
    for user in ["tokenkeep", "nobody"] {
        let wrong = config(&server.url())
            .username(user)
            .password(Secret::new(PASSWORD));
        let words = assert_failed(
            RedisStore::open(wrong).await,
            ErrorKind::PermissionDenied,
            Retry::No,
        );
        assert!(words.contains("password") && !words.contains(PASSWORD), "{words}");
    }
    RedisStore::open(as_user(&server, "tokenkeep")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_other_channels_cannot_open_the_store() {
    for rules in [
        "~tk:* &other:* +@all",
        "~tk:* &tk:* +@all -subscribe",
        "~tk:* &tk:* +@all -publish",
    ] {
        let server = server(rules).await;
        let refused = RedisStore::open(as_user(&server, "tokenkeep")).await;
        assert_failed(refused, ErrorKind::PermissionDenied, Retry::No);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_other_keys_can_neither_read_nor_write() {
    let server = server("~other:* &tk:* +@all").await;
    let all = RedisStore::open(as_user(&server, "all")).await.unwrap();
    put(&all, "a", "before").await.unwrap();
    let store = RedisStore::open(as_user(&server, "tokenkeep")).await.unwrap();
    assert_failed(store.get(&key("a")).await, ErrorKind::PermissionDenied, Retry::No);
    assert_failed(
        put(&store, "a", "refused").await,
        ErrorKind::PermissionDenied,
        Retry::No,
    );
    assert_failed(
        store.delete(&key("a"), None).await,
        ErrorKind::PermissionDenied,
        Retry::No,
    );
    assert_eq!(text(&all, "a").await.as_deref(), Some("before"));
}

/// What `docs/redis.md` gives a user of the prefix.
fn least(prefix: &str) -> String {
    format!(
        "~{prefix}:* &{prefix}:* -@all +hmget +exists +zrangebylex +evalsha +eval +hset +hdel +del +persist +pexpireat +zadd +zrem \
         +zrangebyscore +time +publish +subscribe +ping +select"
    )
}

/// What the server answers a user who sends these commands, one after the other.
async fn answers(server: &RedisServer, user: &str, commands: &[String]) -> Vec<String> {
    let connection = TcpStream::connect(server.address()).await.unwrap();
    let mut connection = BufReader::new(connection);
    let mut answers = Vec::new();
    let login = format!("AUTH {user} correct-horse");
    for command in std::iter::once(&login).chain(commands) {
        let words: Vec<_> = command.split(' ').collect();
        let arguments = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
        let request = format!("*{}\r\n{}", words.len(), arguments.collect::<String>());
        connection.get_mut().write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_line(&mut answer).await.unwrap();
        answers.push(answer.trim_end().to_owned());
    }
    assert_eq!(answers.remove(0), "+OK");
    answers
}

/// Patterns of keys are not enough: some commands take all keys and name none.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_another_prefix_can_do_nothing_with_the_least_that_it_needs_and_much_with_all_commands() {
    let server = RedisServer::builder()
        .acl_user("all", "correct-horse", "~* &* +@all")
        .acl_user("neighbour", "correct-horse", &least("other"))
        .acl_user("generous", "correct-horse", "~other:* &other:* +@all")
        .start()
        .await
        .unwrap();
    let all = RedisStore::open(as_user(&server, "all")).await.unwrap();
    put(&all, "a", "before").await.unwrap();
    let names = server.command(&["KEYS", "*"]).await.unwrap();
    let record = names.lines().find(|name| name.ends_with('a')).unwrap();
    let commands = [
        "FLUSHALL",
        "FLUSHDB",
        "SWAPDB 0 1",
        "SCRIPT FLUSH",
        "SHUTDOWN NOSAVE",
        "DEBUG RELOAD",
        "KEYS *",
        "SCAN 0",
        "RANDOMKEY",
        "CONFIG SET maxmemory 1",
        "ACL LIST",
        "MONITOR",
        "DEL RECORD",
        "HMGET RECORD p",
        "HSET RECORD p x",
        "EVAL return(redis.call('DEL',KEYS[1])) 1 RECORD",
        "EVAL return(redis.call('DEL','RECORD')) 0",
        "EVAL return(redis.call('FLUSHALL')) 0",
        "PUBLISH tk:changes:0 x",
        "SUBSCRIBE tk:changes:0",
    ];
    let on_all = commands.map(|command| command.replace("RECORD", record));
    let refused = answers(&server, "neighbour", &on_all).await;
    for (command, answer) in on_all.iter().zip(&refused) {
        assert!(
            answer.starts_with("-NOPERM") || answer.contains("The user executing the script can't"),
            "{command}: {answer}"
        );
    }
    assert_eq!(text(&all, "a").await.as_deref(), Some("before"));

    // The control, and the reason why the documentation begins with `-@all`.
    assert_eq!(
        answers(&server, "generous", &["FLUSHALL".to_owned()]).await,
        ["+OK"]
    );
    assert_eq!(text(&all, "a").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_run_what_a_write_needs_changes_nothing() {
    for missing in ["evalsha", "eval", "hset", "zadd"] {
        let server = server(&format!("~tk:* &tk:* +@all -{missing}")).await;
        let all = RedisStore::open(as_user(&server, "all")).await.unwrap();
        put(&all, "a", "before").await.unwrap();
        if missing == "eval" {
            // Who knows the script already does not need it.
            server.command(&["SCRIPT", "FLUSH"]).await.unwrap();
        }
        let store = RedisStore::open(as_user(&server, "tokenkeep")).await.unwrap();
        assert_failed(
            put(&store, "a", "refused").await,
            ErrorKind::PermissionDenied,
            Retry::No,
        );
        assert_failed(
            put(&store, "b", "refused").await,
            ErrorKind::PermissionDenied,
            Retry::No,
        );
        assert_eq!(
            text(&store, "a").await.as_deref(),
            Some("before"),
            "without {missing}"
        );
        assert_eq!(text(&all, "b").await, None, "without {missing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_do_half_of_a_write_does_nothing_of_it() {
    for missing in ["pexpireat", "persist", "hdel", "zrem", "zrangebyscore", "time"] {
        let server = server(&format!("~tk:* &tk:* +@all -{missing}")).await;
        let all = RedisStore::open(as_user(&server, "all")).await.unwrap();
        let soon = SystemClock.now().saturating_add(Duration::from_secs(600));
        let expiring = PutOptions::overwrite().expires_at(Some(soon));
        let before = "before".into();
        all.put(&key("a"), before, expiring).await.unwrap();
        let store = RedisStore::open(as_user(&server, "tokenkeep")).await.unwrap();
        for name in ["a", "b"] {
            let options = if missing == "pexpireat" {
                expiring
            } else {
                PutOptions::overwrite()
            };
            if (missing, name) == ("hdel", "b") {
                continue;
            }
            let refused = store.put(&key(name), "refused".into(), options).await;
            assert_failed(refused, ErrorKind::PermissionDenied, Retry::No);
        }
        assert_eq!(
            text(&all, "a").await.as_deref(),
            Some("before"),
            "without {missing}"
        );
        assert_eq!(text(&all, "b").await, None, "without {missing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_is_removed_and_comes_back_needs_no_restart() {
    let server = server("~tk:* &tk:* +@all").await;
    let store = RedisStore::open(as_user(&server, "tokenkeep")).await.unwrap();
    put(&store, "a", "before").await.unwrap();
    server.command(&["ACL", "DELUSER", "tokenkeep"]).await.unwrap();
    // The connection that the user had ends; the next one is refused.
    let _ = store.get(&key("a")).await;
    assert_failed(store.get(&key("a")).await, ErrorKind::PermissionDenied, Retry::No);
    let rules = [
        "ACL",
        "SETUSER",
        "tokenkeep",
        "on",
        ">correct-horse",
        "~tk:*",
        "&tk:*",
        "+@all",
    ];
    server.command(&rules).await.unwrap();
    assert_eq!(text(&store, "a").await.as_deref(), Some("before"));
    put(&store, "a", "after").await.unwrap();
}
