//! Notification of changes: hints that may repeat or be late, but are never lost without a word.

use std::collections::HashSet;
use std::time::Duration;

use cache_core::store::{PutOptions, Store, StoreKey, Version, Watch, WatchEvent};
use futures_core::stream::BoxStream;
use futures_util::StreamExt;

use super::check::{delete, key, must, put};
use crate::clock::ManualClock;

/// How long one wait for an event takes before the clock is moved.
const ROUND: Duration = Duration::from_millis(20);
/// How many rounds an event may be late: ten seconds for a backend that learns of changes from a server.
const ROUNDS: usize = 500;

/// `watch` answers exactly when the capabilities promise it.
pub async fn watch_is_there_when_promised(store: &dyn Store) {
    assert_eq!(
        store.watch().is_some(),
        store.capabilities().watch,
        "whether there is a watch, and whether the capabilities say so"
    );
}

/// A put is reported, with its version or without one, but never with another.
///
/// Without the capability there is no watch, and puts work all the same; so in all rules of this module.
pub async fn watch_reports_puts(store: &dyn Store, clock: &ManualClock) {
    let key = key("watch-put", "record");
    let Some(watch) = watch_of(store) else {
        put(store, &key, "payload", PutOptions::create()).await;
        return;
    };
    let mut events = Events::of(watch, clock);
    let first = put(store, &key, "first", PutOptions::create()).await;
    events.expect(&key, Some(first)).await;
    let second = put(store, &key, "second", PutOptions::update(first)).await;
    events.expect(&key, Some(second)).await;
    let third = put(store, &key, "third", PutOptions::overwrite()).await;
    events.expect(&key, Some(third)).await;
}

/// A delete is reported, without a version.
pub async fn watch_reports_deletes(store: &dyn Store, clock: &ManualClock) {
    let key = key("watch-delete", "record");
    let version = put(store, &key, "first", PutOptions::create()).await;
    let Some(watch) = watch_of(store) else {
        delete(store, &key).await;
        return;
    };
    let mut events = Events::of(watch, clock);
    must(store.delete(&key, Some(version)).await, "delete");
    events.expect(&key, None).await;
    let version = put(store, &key, "second", PutOptions::create()).await;
    events.expect(&key, Some(version)).await;
    delete(store, &key).await;
    events.expect(&key, None).await;
}

/// Every subscriber hears of every change; one that leaves takes nothing from the others.
pub async fn watch_reports_to_every_subscriber(store: &dyn Store, clock: &ManualClock) {
    let key = key("watch-many", "record");
    let Some(watch) = watch_of(store) else {
        put(store, &key, "payload", PutOptions::create()).await;
        return;
    };
    let (mut one, mut two) = (Events::of(watch, clock), Events::of(watch, clock));
    drop(Events::of(watch, clock));
    let version = put(store, &key, "payload", PutOptions::create()).await;
    one.expect(&key, Some(version)).await;
    drop(one);
    two.expect(&key, Some(version)).await;
    delete(store, &key).await;
    two.expect(&key, None).await;
}

/// A subscriber that does not listen for long hears afterwards of every change, or that it lost some.
pub async fn watch_tells_of_a_gap(store: &dyn Store, clock: &ManualClock) {
    let Some(watch) = watch_of(store) else {
        put(
            store,
            &key("watch-gap", "record"),
            "payload",
            PutOptions::create(),
        )
        .await;
        return;
    };
    let mut events = Events::of(watch, clock);
    let mut unheard = HashSet::new();
    for number in 0..600 {
        let key = key("watch-gap", &number.to_string());
        put(store, &key, "payload", PutOptions::overwrite()).await;
        unheard.insert(key);
    }
    while !unheard.is_empty() {
        match events.next("one of the changes, or that some were lost").await {
            WatchEvent::Changed(key, _) => {
                unheard.remove(&key);
            }
            WatchEvent::Lost => unheard.clear(),
        }
    }
    let key = key("watch-gap", "after");
    let version = put(store, &key, "payload", PutOptions::create()).await;
    events.expect(&key, Some(version)).await;
}

/// Changes that another instance makes are reported too.
pub async fn watch_reports_changes_by_others(first: &dyn Store, second: &dyn Store, clock: &ManualClock) {
    let key = key("watch-others", "record");
    let Some(watch) = watch_of(first) else {
        put(second, &key, "payload", PutOptions::create()).await;
        return;
    };
    let mut events = Events::of(watch, clock);
    let version = put(second, &key, "payload", PutOptions::create()).await;
    events.expect(&key, Some(version)).await;
    delete(second, &key).await;
    events.expect(&key, None).await;
}

/// The watch, which must be there exactly when the capabilities promise it.
fn watch_of(store: &dyn Store) -> Option<&dyn Watch> {
    let watch = store.watch();
    assert_eq!(
        watch.is_some(),
        store.capabilities().watch,
        "whether there is a watch"
    );
    watch
}

struct Events<'a> {
    stream: BoxStream<'static, WatchEvent>,
    clock: &'a ManualClock,
}

impl<'a> Events<'a> {
    fn of(watch: &dyn Watch, clock: &'a ManualClock) -> Self {
        Self {
            stream: watch.subscribe(),
            clock,
        }
    }

    /// Waits until the change is reported or covered by a gap. Late reports of earlier changes may come first.
    async fn expect(&mut self, key: &StoreKey, version: Option<Version>) {
        let awaited = format!("a change of {key} to {version:?}");
        loop {
            match self.next(&awaited).await {
                WatchEvent::Lost => return,
                // "Changed, version not known" covers any change.
                WatchEvent::Changed(changed, reported) if changed == *key => {
                    if reported.is_none() || reported == version {
                        return;
                    }
                }
                WatchEvent::Changed(..) => {}
            }
        }
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "the manual clock stands still, and a message that never comes must not hang the test"
    )]
    async fn next(&mut self, awaited: &str) -> WatchEvent {
        for _ in 0..ROUNDS {
            match tokio::time::timeout(ROUND, self.stream.next()).await {
                Ok(Some(event)) => return event,
                Ok(None) => panic!("the watch ended before it reported {awaited}"),
                // A backend may poll by this clock.
                Err(_) => self.clock.advance(Duration::from_millis(100)),
            }
        }
        panic!("the watch did not report {awaited}");
    }
}
