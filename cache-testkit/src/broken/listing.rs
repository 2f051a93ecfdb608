//! What the broken stores list.

use std::sync::atomic::Ordering;

use cache_core::store::{StoreError, StoreKey, Version};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, future, stream};

use super::Flaw;
use super::place::{Place, Row};

/// The records under the prefix, or what the place's flaw makes of that.
pub(super) fn list<'a>(
    place: &'a Place,
    prefix: &'a str,
) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
    if place.has(Flaw::ScanCountsRecords) {
        return stream::iter(0..)
            .map(move |passed| listed(place, prefix).into_iter().nth(passed).map(Ok))
            .take_while(|found| future::ready(found.is_some()))
            .filter_map(future::ready)
            .boxed();
    }
    let mut connection = Connection {
        place,
        returned: !place.has(Flaw::DroppedScanLeaks),
    };
    let mut items = listed(place, prefix).into_iter();
    stream::iter(std::iter::from_fn(move || {
        let next = items.next();
        if next.is_none() {
            connection.give_back();
        }
        next.map(Ok)
    }))
    .boxed()
}

fn listed(place: &Place, prefix: &str) -> Vec<(StoreKey, Version)> {
    let limit = if place.has(Flaw::ScanStopsAfterAPage) {
        100
    } else {
        usize::MAX
    };
    let lists = |row: &Row| {
        place.is_live(row)
            || (place.has(Flaw::ScanListsExpired) && !row.deleted)
            || (place.has(Flaw::ScanListsDeleted) && row.deleted)
    };
    let matches = |key: &str| match place.flaw {
        Some(Flaw::PrefixIsAPattern) => is_like(key.as_bytes(), prefix.as_bytes()),
        Some(Flaw::EmptyPrefixListsNothing) => !prefix.is_empty() && key.starts_with(prefix),
        _ => key.starts_with(prefix),
    };
    let rows = place.rows();
    rows.iter()
        .filter(|(key, row)| matches(key.as_str()) && lists(row))
        .map(|(key, row)| (key.clone(), row.record.version))
        .take(limit)
        .collect()
}

/// What a scan holds while it runs.
struct Connection<'a> {
    place: &'a Place,
    returned: bool,
}

impl Connection<'_> {
    fn give_back(&mut self) {
        self.returned = true;
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        if !self.returned {
            self.place.leaked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether SQL's `key LIKE pattern || '%'` holds, case aside.
fn is_like(key: &[u8], pattern: &[u8]) -> bool {
    match (pattern.split_first(), key.split_first()) {
        (None, _) => true,
        (Some((b'%', rest)), _) => (0..=key.len()).any(|skipped| is_like(&key[skipped..], rest)),
        (Some((b'_', rest)), Some((_, key))) => is_like(key, rest),
        (Some((expected, rest)), Some((byte, key))) => expected == byte && is_like(key, rest),
        (Some(_), None) => false,
    }
}
