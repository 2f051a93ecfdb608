//! Listing by the index of each bucket, a page at a time: no `KEYS`, no walk over the database, no long command.
//!
//! A bucket's index is a sorted set whose members have one score, so that the server keeps them in the order of their
//! bytes and a prefix is a range (`ZRANGEBYLEX`). Each script that writes a record writes its index entry too. A record
//! that the server removed by its expiry leaves an entry behind, which later writes to the bucket and any scan remove.

use cache_core::store::error::Operation;
use cache_core::store::{StoreError, StoreKey, Version};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use redis::Value;

use crate::connection::Request;
use crate::error::Failure;
use crate::keys::Bucket;
use crate::record::Records;
use crate::script::{FORGET, ScriptCall};

/// How many keys one page of an index has.
const PAGE: usize = 256;

/// How many buckets are read at the same time; their requests share a connection.
const AT_ONCE: usize = 32;

/// The live records whose key starts with `prefix`.
pub(crate) fn scan<'a>(
    records: &'a Records,
    prefix: &'a str,
) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
    if !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
        // No key has such a byte.
        return stream::empty().boxed();
    }
    stream::iter(Bucket::all())
        .map(move |bucket| first_page(records, bucket, prefix))
        .buffered(AT_ONCE)
        .map_ok(move |page| rest_of(records, prefix, page))
        .try_flatten()
        .map_err(|failure| failure.during(Operation::Scan))
        .boxed()
}

/// The live records of some index entries, and where the next page starts.
struct Page {
    bucket: Bucket,
    live: Vec<(StoreKey, Version)>,
    /// The last entry of a full page.
    last: Option<Vec<u8>>,
}

async fn first_page(records: &Records, bucket: Bucket, prefix: &str) -> Result<Page, Failure> {
    page(records, bucket, prefix, format!("[{prefix}").into_bytes()).await
}

/// The records of `first`, then those of the pages after it.
fn rest_of<'a>(
    records: &'a Records,
    prefix: &'a str,
    first: Page,
) -> BoxStream<'a, Result<(StoreKey, Version), Failure>> {
    let Page { bucket, live, last } = first;
    let items = stream::iter(live).map(Ok);
    let Some(last) = last else {
        return items.boxed();
    };
    let more = stream::try_unfold(Some(last), move |last| async move {
        let Some(last) = last else {
            return Ok::<_, Failure>(None);
        };
        let next = page(records, bucket, prefix, [b"(", &last[..]].concat()).await?;
        Ok(Some((stream::iter(next.live).map(Ok), next.last)))
    });
    items.chain(more.try_flatten()).boxed()
}

/// The entries from `from` on that start with `prefix`, at most a page of them.
async fn page(records: &Records, bucket: Bucket, prefix: &str, from: Vec<u8>) -> Result<Page, Failure> {
    let mut command = redis::cmd("ZRANGEBYLEX");
    command.arg(records.keys.index(bucket)).arg(from);
    // Keys have bytes up to `~` only, so this is above all that start with the prefix.
    command.arg(format!("({prefix}\x7f"));
    command.arg("LIMIT").arg(0).arg(PAGE);
    let members = members(records.connection.call(bucket.slot(), &command).await?)?;
    let last = (members.len() == PAGE).then(|| members.last().cloned()).flatten();
    let found = members
        .into_iter()
        .map(|member| live_record(records, bucket, member));
    let live: Vec<Option<_>> = stream::iter(found).buffered(PAGE).try_collect().await?;
    Ok(Page {
        bucket,
        live: live.into_iter().flatten().collect(),
        last,
    })
}

/// The record of an index entry, if it is there and live.
async fn live_record(
    records: &Records,
    bucket: Bucket,
    member: Vec<u8>,
) -> Result<Option<(StoreKey, Version)>, Failure> {
    // Whatever else stands in the index, this store did not put it there.
    let Some(key) = std::str::from_utf8(&member)
        .ok()
        .and_then(|member| StoreKey::new(member).ok())
        .filter(|key| Bucket::of(key) == bucket)
    else {
        return Ok(None);
    };
    let stored = records.stored_version(&key).await;
    // Who lists cannot know which of all records it is that stands in the way.
    match stored.map_err(|failure| failure.about(&records.keys.record(&key)))? {
        Some(stored) => Ok(stored.live_at(records.clock.now()).map(|version| (key, version))),
        None => {
            forget(records, bucket, &key).await;
            Ok(None)
        }
    }
}

/// Removes the entry of a record that is gone. Scans may do without it, as a user who may only read must.
async fn forget(records: &Records, bucket: Bucket, key: &StoreKey) {
    let keys = records.script_keys(key);
    let call = ScriptCall::new(&FORGET, keys, vec![key.as_str().as_bytes()]);
    if let Err(failure) = records
        .connection
        .send(bucket.slot(), Request::Script(&call))
        .await
    {
        tracing::debug!(?failure, "cannot remove the index entry of a record that expired");
    }
}

fn members(value: Value) -> Result<Vec<Vec<u8>>, Failure> {
    let Value::Array(values) = value else {
        return Err(Failure::unexpected("ZRANGEBYLEX"));
    };
    let members = values.into_iter().map(|value| match value {
        Value::BulkString(bytes) => Ok(bytes),
        _ => Err(Failure::unexpected("ZRANGEBYLEX")),
    });
    members.collect()
}
