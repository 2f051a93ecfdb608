//! Listing without an index: a walk over the keys of the database, on every primary, a page at a time.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{StoreError, StoreKey, Version};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use redis::Value;

use super::{Layout, MsalCacheStore};
use crate::error::Failure;
use crate::link::Link;

/// How many keys the server looks at for one page.
const PAGE: usize = 256;

/// The live records whose key starts with `prefix`.
pub(super) fn scan<'a>(
    store: &'a MsalCacheStore,
    prefix: &'a str,
) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
    let pages = stream::try_unfold(None, move |walk: Option<Walk>| async move {
        let mut walk = match walk {
            Some(walk) => walk,
            None => Walk::new(store).await?,
        };
        Ok::<_, Failure>(walk.page(store, prefix).await?.map(|keys| (keys, Some(walk))))
    });
    pages
        .map_ok(|keys| stream::iter(keys.into_iter().map(Ok)))
        .try_flatten()
        .try_filter_map(move |key| async move { live(store, key).await })
        .map_err(|failure| failure.during(Operation::Scan))
        .boxed()
}

struct Walk {
    primaries: VecDeque<Arc<Link>>,
    cursor: Vec<u8>,
    /// The server may name a key more than once.
    seen: HashSet<StoreKey>,
}

impl Walk {
    async fn new(store: &MsalCacheStore) -> Result<Self, Failure> {
        Ok(Self {
            primaries: store.connection.primaries().await?.into(),
            cursor: b"0".to_vec(),
            seen: HashSet::new(),
        })
    }

    /// The keys of one more page; `None` when all have been seen.
    async fn page(&mut self, store: &MsalCacheStore, prefix: &str) -> Result<Option<Vec<StoreKey>>, Failure> {
        let Some(primary) = self.primaries.front() else {
            return Ok(None);
        };
        let mut command = redis::cmd("SCAN");
        command.arg(&self.cursor);
        command
            .arg("MATCH")
            .arg(format!("{}*", escaped(&format!("{}{prefix}", store.prefix))));
        command
            .arg("COUNT")
            .arg(PAGE)
            .arg("TYPE")
            .arg(match store.layout {
                Layout::Node(_) => "string",
                Layout::AspNetCore(_) => "hash",
            });
        let (cursor, names) = page(primary.call(&command).await?)?;
        if cursor == b"0" {
            self.primaries.pop_front();
        }
        self.cursor = cursor;
        let keys = names.iter().filter_map(|name| {
            let name = std::str::from_utf8(name).ok()?.strip_prefix(&store.prefix)?;
            // What cannot be a key is no partition's either.
            StoreKey::new(name).ok()
        });
        Ok(Some(keys.filter(|key| self.seen.insert(key.clone())).collect()))
    }
}

async fn live(store: &MsalCacheStore, key: StoreKey) -> Result<Option<(StoreKey, Version)>, Failure> {
    match store.read(&key, b"0").await {
        Ok(entry) => Ok(entry.map(|entry| (key, entry.version))),
        // Somebody else's hash in the same database.
        Err(failure) if failure.during(Operation::Scan).kind() == ErrorKind::Corrupt => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn page(answer: Value) -> Result<(Vec<u8>, Vec<Vec<u8>>), Failure> {
    let unexpected = || Failure::unexpected("SCAN");
    let Value::Array(parts) = answer else {
        return Err(unexpected());
    };
    let Ok([Value::BulkString(cursor), Value::Array(names)]) = <[Value; 2]>::try_from(parts) else {
        return Err(unexpected());
    };
    let names: Result<_, _> = names
        .into_iter()
        .map(|name| match name {
            Value::BulkString(name) => Ok(name),
            _ => Err(unexpected()),
        })
        .collect();
    Ok((cursor, names?))
}

/// The text as a pattern that matches only itself.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}
