//! Many tasks at one key.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use cache_core::store::{PutOptions, Store, StoreKey, Version};

use super::check::{get, key, put};

/// How many tasks race.
const TASKS: usize = 8;
/// How often each of them writes.
const WRITES: usize = 25;

/// Tasks that each add to one counter by read and conditional write lose no addition.
pub async fn counter_race(store: Arc<dyn Store>) {
    count_together(key("race", "counter"), [Arc::clone(&store), store]).await;
}

/// The same, when half of the tasks write through another instance.
pub async fn counter_race_of_two_instances(first: Arc<dyn Store>, second: Arc<dyn Store>) {
    count_together(key("race-instances", "counter"), [first, second]).await;
}

/// Of many tasks that create one record at once, exactly one succeeds, and its record is the one that stays.
pub async fn one_create_wins(store: Arc<dyn Store>) {
    for round in 0..WRITES {
        let key = key("race-create", &round.to_string());
        let results = all((0..TASKS).map(|task| {
            let (store, key) = (Arc::clone(&store), key.clone());
            async move {
                let payload = Bytes::from(task.to_string());
                (task, store.put(&key, payload, PutOptions::create()).await)
            }
        }))
        .await;
        let mut winners = Vec::new();
        for (task, result) in results {
            match result {
                Ok(version) => winners.push((task, version)),
                Err(error) => assert!(error.is_conflict(), "a create that lost: {error:?}"),
            }
        }
        let [(winner, version)] = winners[..] else {
            panic!("{} tasks created one record", winners.len());
        };
        let record = get(&*store, &key)
            .await
            .unwrap_or_else(|| panic!("the created record is gone"));
        assert_eq!(
            record.payload,
            winner.to_string(),
            "the record is not that of the task that won"
        );
        assert_eq!(
            record.version, version,
            "the version is not that of the task that won"
        );
    }
}

/// Of many tasks that delete one version at once, exactly one succeeds.
pub async fn one_delete_wins(store: Arc<dyn Store>) {
    for round in 0..WRITES {
        let key = key("race-delete", &round.to_string());
        let version = put(&*store, &key, "payload", PutOptions::create()).await;
        let results = all((0..TASKS).map(|_| {
            let (store, key) = (Arc::clone(&store), key.clone());
            async move { store.delete(&key, Some(version)).await }
        }))
        .await;
        let mut winners = 0;
        for result in results {
            match result {
                Ok(()) => winners += 1,
                Err(error) => assert!(error.is_conflict(), "a delete that lost: {error:?}"),
            }
        }
        assert_eq!(winners, 1, "how many tasks deleted one version");
    }
}

/// A read during writes sees one write whole: the payload is of one piece, and one version never has two.
pub async fn reads_are_whole(store: Arc<dyn Store>) {
    let key = key("race-read", "record");
    put(&*store, &key, "start", PutOptions::create()).await;
    let seen = all((0..TASKS).map(|task| {
        let (store, key) = (Arc::clone(&store), key.clone());
        async move {
            let mut seen: Vec<(Version, Bytes)> = Vec::new();
            for write in 0..WRITES {
                if task % 2 == 0 {
                    // The length differs with each write, so that a mixture of two is neither.
                    let payload = format!("{task}:{write};").repeat(1 + (task + write) % 64);
                    let version = put(&*store, &key, &payload, PutOptions::overwrite()).await;
                    seen.push((version, payload.into()));
                } else {
                    let record = get(&*store, &key).await;
                    let record =
                        record.unwrap_or_else(|| panic!("an overwritten record was absent meanwhile"));
                    seen.push((record.version, record.payload));
                }
                tokio::task::yield_now().await;
            }
            seen
        }
    }))
    .await;
    let mut payloads: HashMap<Version, Bytes> = HashMap::new();
    for (version, payload) in seen.into_iter().flatten() {
        let known = payloads.entry(version).or_insert_with(|| payload.clone());
        assert!(*known == payload, "one version was read with two payloads");
    }
}

/// A write whose future is dropped was applied whole or not at all, and the store is as able as before,
/// however often that happens.
pub async fn dropped_write_is_whole_or_absent(store: &dyn Store) {
    let key = key("race-dropped", "record");
    let mut version = put(store, &key, "start", PutOptions::create()).await;
    for round in 0..48_usize {
        let dropped = format!("dropped {round}");
        // Conditional, so that it cannot be applied any more once the next write of this loop was.
        let write = store.put(&key, dropped.clone().into(), PutOptions::update(version));
        tokio::select! {
            biased;
            result = write => drop(result),
            () = yield_times([0, 1, 4, 32][round % 4]) => {}
        }
        version = take_over(store, &key, &dropped).await;
    }
}

/// Writes over whatever is there, which must be either the write that was dropped or the one before it.
async fn take_over(store: &dyn Store, key: &StoreKey, dropped: &str) -> Version {
    // The dropped write may be applied while this goes on, but only once.
    for _ in 0..2 {
        let record = get(store, key)
            .await
            .unwrap_or_else(|| panic!("a dropped write removed the record"));
        let is_whole = [dropped.as_bytes(), b"start", b"taken over"].contains(&&*record.payload);
        assert!(is_whole, "a dropped write left {:?}", record.payload);
        match store
            .put(key, "taken over".into(), PutOptions::update(record.version))
            .await
        {
            Ok(version) => return version,
            Err(error) => assert!(error.is_conflict(), "a write after a dropped one: {error:?}"),
        }
    }
    panic!("a write over the stored version met a conflict twice, although only one other could be applied");
}

async fn yield_times(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

async fn count_together(counter: StoreKey, stores: [Arc<dyn Store>; 2]) {
    put(&*stores[0], &counter, "0", PutOptions::create()).await;
    all((0..TASKS).map(|task| {
        let (store, counter) = (Arc::clone(&stores[task % 2]), counter.clone());
        async move {
            for _ in 0..WRITES {
                increment(&*store, &counter).await;
            }
        }
    }))
    .await;
    let sum = read_counter(&*stores[1], &counter).await.0;
    assert_eq!(sum, TASKS * WRITES, "additions were lost");
}

async fn increment(store: &dyn Store, counter: &StoreKey) {
    loop {
        let (value, version) = read_counter(store, counter).await;
        // Lets the others read the same value, on a runtime of any number of threads.
        tokio::task::yield_now().await;
        let payload = Bytes::from((value + 1).to_string());
        match store.put(counter, payload, PutOptions::update(version)).await {
            Ok(_) => return,
            Err(error) => assert!(error.is_conflict(), "an increment that lost: {error:?}"),
        }
    }
}

async fn read_counter(store: &dyn Store, counter: &StoreKey) -> (usize, Version) {
    let record = get(store, counter)
        .await
        .unwrap_or_else(|| panic!("the counter is gone"));
    let value = std::str::from_utf8(&record.payload)
        .ok()
        .and_then(|text| text.parse().ok());
    let value = value.unwrap_or_else(|| panic!("the counter is not a number: {:?}", record.payload));
    (value, record.version)
}

/// Runs the tasks at once, and panics as the first of them that did.
async fn all<F>(tasks: impl Iterator<Item = F>) -> Vec<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let tasks: Vec<_> = tasks.map(tokio::spawn).collect();
    let mut outputs = Vec::with_capacity(tasks.len());
    for task in tasks {
        match task.await {
            Ok(output) => outputs.push(output),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => panic!("a task of the race was cancelled: {error}"),
        }
    }
    outputs
}
