//! The servers of a store in Redis: who can listen on the way, what they promise, and whether changes are announced.

use std::time::Duration;

use cache_core::random::random_bytes;
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{PutOptions, Store, StoreError, StoreKey, WatchEvent};
use cache_core::time::with_deadline;
use cache_redis::{Arrangement, Eviction, ServerInfo};
use futures_util::StreamExt;

use super::Check;
use crate::exit::Exit;
use crate::failure::{Failure, one_line};
use crate::redis_address::RedisAddress;
use crate::redis_options::RedisDurability;
use crate::session::{Missing, Session, random};

/// How long an announcement may take.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(3);

/// Who may listen on the way to the server. Records are sealed, but a password and the names of records are not.
pub(super) fn connection(address: &RedisAddress) -> Check {
    if address.is_tls() {
        return Check::good("store connection", format!("{address}: TLS"));
    }
    if address.is_local() {
        return Check::good(
            "store connection",
            format!("{address}: without TLS, on this machine alone"),
        );
    }
    let detail = format!(
        "{address}: without TLS, so whoever can listen on the way sees the password and can change what is answered; \
         rediss:// is with TLS"
    );
    Check::warning("store connection", detail)
}

/// Looks at the servers. `true` when there is something in the store to look at.
pub(super) async fn servers(session: &Session) -> (Vec<Check>, bool) {
    // Nothing is made by opening it.
    let opened = match session.opened(Missing::Create).await {
        Ok(opened) => opened,
        Err(failure) => return (vec![Check::failed("store", &failure)], false),
    };
    let mut checks = match opened.describe().await {
        Some(Ok(info)) => described(&info, session.options.redis.redis_durability),
        Some(Err(error)) if error.kind() == ErrorKind::PermissionDenied => vec![Check::warning(
            "server",
            "the user may not ask it (INFO), so whether it is set up well is not known",
        )],
        Some(Err(error)) => vec![Check::failed("server", &error.into())],
        None => Vec::new(),
    };
    match opened.holds_anything().await {
        Ok(true) => checks.push(announcements(session, &*opened.store).await),
        Ok(false) => {
            checks.push(Check::warning(
                "store",
                "nothing is there yet; the first sign-in makes the key ring",
            ));
            return (checks, false);
        }
        Err(error) => {
            checks.push(Check::failed("store", &error.into()));
            return (checks, false);
        }
    }
    (checks, true)
}

fn described(info: &ServerInfo, durability: Option<RedisDurability>) -> Vec<Check> {
    let arrangement = match info.arrangement {
        Arrangement::Single => "one server",
        Arrangement::Sentinel => "a primary that Sentinels choose",
        Arrangement::Cluster => "a Cluster",
        _ => "servers",
    };
    let detail = one_line(&format!(
        "{} {}; {arrangement}: {}",
        info.product,
        info.version,
        info.primaries.join(", ")
    ));
    let server = if info.writable {
        Check::good("server", detail)
    } else {
        let detail = format!("{detail}: a replica, which takes no writes; name the primary");
        Check::problem("server", Exit::Storage, detail)
    };
    vec![
        server,
        eviction(info.eviction),
        kept(info),
        replicas(info, durability),
    ]
}

fn eviction(eviction: Eviction) -> Check {
    const NAME: &str = "server memory";
    match eviction {
        Eviction::Never => Check::good(NAME, "no record is removed to make room"),
        Eviction::Unknown => Check::warning(NAME, "whether records are removed to make room is not known"),
        _ => Check::warning(
            NAME,
            "records are removed when the memory is full, and each may be a user who must sign in again; set \
             maxmemory-policy noeviction",
        ),
    }
}

/// What a crash of the server leaves.
fn kept(info: &ServerInfo) -> Check {
    const NAME: &str = "server log";
    if info.append_only_file {
        return Check::good(
            NAME,
            "changes are written to a file (appendonly); appendfsync says how soon",
        );
    }
    Check::warning(
        NAME,
        "changes are not written to a file (appendonly no): a crash of the server undoes what came after its last \
         snapshot, or everything",
    )
}

/// What a failover leaves.
fn replicas(info: &ServerInfo, durability: Option<RedisDurability>) -> Check {
    const NAME: &str = "durability";
    let connected = info.connected_replicas;
    match durability {
        Some(RedisDurability::Replicated { replicas, .. }) if connected < replicas => {
            let detail = format!(
                "replicated:{replicas} is asked for, and {connected} replicas are connected: writes fail"
            );
            Check::problem(NAME, Exit::Storage, detail)
        }
        Some(RedisDurability::Replicated { replicas, .. }) => Check::good(
            NAME,
            format!(
                "a write waits for {replicas} of {connected} replicas, and survives a failover to one of those"
            ),
        ),
        None | Some(RedisDurability::Acknowledged) if connected > 0 => Check::good(
            NAME,
            format!(
                "a write waits for the primary alone, and a failover may undo it; --redis-durability replicated:N waits for \
                 some of the {connected} replicas too"
            ),
        ),
        None | Some(RedisDurability::Acknowledged) => {
            Check::good(NAME, "a write waits for the server; there is no replica")
        }
    }
}

/// Writes a record that is of no cache and removes it, and waits for the announcement of both.
async fn announcements(session: &Session, store: &dyn Store) -> Check {
    const NAME: &str = "store notification";
    let clock = session.clock();
    let began = clock.monotonic();
    match with_deadline(&*clock, ANNOUNCED_WITHIN, announced(session, store)).await {
        Some(Ok(())) => {
            let time = clock.monotonic().saturating_sub(began).as_millis();
            Check::good(
                NAME,
                format!("a change was written, announced and undone within {time} ms"),
            )
        }
        Some(Err(error)) => Check::failed(NAME, &Failure::from(error)),
        None => {
            let detail = "a change was not announced in time: other processes learn late of a sign-out";
            Check::problem(NAME, Exit::Storage, detail)
        }
    }
}

async fn announced(session: &Session, store: &dyn Store) -> Result<(), StoreError> {
    let Some(watch) = store.watch() else {
        return Ok(());
    };
    let mut events = watch.subscribe();
    let name: [u8; 8] = random_bytes(&*random())?;
    let invalid =
        |error| StoreError::new(ErrorKind::Other, Operation::Put, "no key for a test").with_source(error);
    let key =
        StoreKey::new(format!("tokenkeep-doctor/{:016x}", u64::from_be_bytes(name))).map_err(invalid)?;
    let expires_at = session.clock().now().saturating_add(ANNOUNCED_WITHIN);
    let options = PutOptions::create().expires_at(Some(expires_at));
    let version = store.put(&key, "test".into(), options).await?;
    let written = WatchEvent::Changed(key.clone(), Some(version));
    while events.next().await.is_some_and(|event| event != written) {}
    store.delete(&key, Some(version)).await
}
