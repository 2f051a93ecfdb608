//! What is asked of the servers beside records.

use cache_core::store::error::Operation;

use crate::config::DurabilityMode;
use crate::connection::Connection;
use crate::error::Failure;
use crate::info::{Arrangement, Eviction, Info, ServerInfo};
use crate::keys::{GREETING, KeySpace};

/// Asks each primary who it is, refuses what cannot work, and warns of what should not be.
///
/// Opening goes on while a part of a Cluster is down, as long as one node answers.
pub(crate) async fn inspect(
    connection: &Connection,
    arrangement: Arrangement,
    durability: DurabilityMode,
) -> Result<Eviction, Failure> {
    let (mut eviction, mut answered, mut outage) = (Eviction::Never, false, None);
    for link in connection.primaries().await? {
        let info = match Info::ask(&link).await {
            Ok(info) => info,
            Err(failure) if failure.is_outage() => {
                outage = Some(failure);
                continue;
            }
            // Nothing depends on it.
            Err(failure) if failure.has_code("NOPERM") => return Ok(Eviction::Unknown),
            Err(failure) => return Err(failure),
        };
        answered = true;
        info.check(link.endpoint(), arrangement)?;
        eviction = eviction.or(info.eviction());
        let connected = info.connected_replicas();
        if let DurabilityMode::Replicated { replicas, .. } = durability
            && connected < replicas
        {
            // No error: whoever only reads, or whose replicas come back, can work.
            tracing::warn!(server = %link.endpoint(), connected, replicas, "durable writes will fail: too few replicas");
        }
    }
    if let Some(outage) = outage {
        if !answered {
            return Err(outage);
        }
        tracing::warn!(error = %outage.during(Operation::Open), "a part of the Cluster is down");
    }
    if matches!(eviction, Eviction::Expiring | Eviction::Any) {
        tracing::warn!(
            "the Redis server may evict records when its memory is full, which signs users out; set maxmemory-policy to \
             noeviction"
        );
    }
    Ok(eviction)
}

/// Proves that this user may announce changes: a write that cannot would leave stale copies in other processes.
pub(crate) async fn greet(connection: &Connection, keys: &KeySpace) -> Result<(), Failure> {
    let mut command = redis::cmd("PUBLISH");
    command.arg(keys.channel()).arg(GREETING);
    // Any node of a Cluster will do.
    let mut outage = None;
    for link in connection.primaries().await? {
        match link.call(&command).await {
            Ok(_) => return Ok(()),
            Err(failure) if failure.is_outage() => outage = Some(failure),
            Err(failure) => return Err(on_channel(failure, "publish to", keys)),
        }
    }
    Err(outage.unwrap_or_else(no_node))
}

/// Proves that this user may wait for replicas: a write whose wait is refused has reached the primary already.
pub(crate) async fn may_wait(connection: &Connection) -> Result<(), Failure> {
    let mut command = redis::cmd("WAIT");
    // For none, so it answers at once.
    command.arg(0).arg(1);
    for link in connection.primaries().await? {
        match link.call(&command).await {
            Err(failure) if failure.has_code("NOPERM") => {
                let context = "the user may not wait for replicas; allow it: ACL SETUSER name +wait";
                return Err(failure.because(context.to_owned()));
            }
            // A node that is away or has become a replica is a matter of the writes.
            _ => {}
        }
    }
    Ok(())
}

/// A Cluster to which no slots were given.
fn no_node() -> Failure {
    Failure::server("CLUSTERDOWN", "no node has any slot")
}

/// Says what to do when it is the channel that the user may not use.
pub(crate) fn on_channel(failure: Failure, doing: &str, keys: &KeySpace) -> Failure {
    if !failure.has_code("NOPERM") {
        return failure;
    }
    let channel = keys.channel();
    failure.because(format!(
        "the user may not {doing} the channel of changes; allow it: ACL SETUSER name &{channel} +publish +subscribe"
    ))
}

/// What all primaries together say of themselves.
pub(crate) async fn describe(
    connection: &Connection,
    arrangement: Arrangement,
) -> Result<ServerInfo, Failure> {
    let mut described: Option<ServerInfo> = None;
    for link in connection.primaries().await? {
        let info = Info::ask(&link).await?;
        let all = described.get_or_insert_with(|| ServerInfo {
            product: info.product().to_owned(),
            version: info.version().to_owned(),
            arrangement,
            primaries: Vec::new(),
            writable: true,
            connected_replicas: usize::MAX,
            eviction: Eviction::Never,
            append_only_file: true,
        });
        all.primaries.push(link.endpoint().to_string());
        all.writable &= info.is_primary();
        all.connected_replicas = all.connected_replicas.min(info.connected_replicas());
        all.eviction = all.eviction.or(info.eviction());
        all.append_only_file &= info.has_append_only_file();
    }
    described.ok_or_else(no_node)
}
