//! The metrics of a store: their names and labels are a public interface, and no label holds a key.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::metrics::{DURATION, OPERATIONS, PAYLOAD};
use cache_core::store::{MemoryStore, PutOptions, Store, StoreExt, StoreKey};
use cache_testkit::clock::ManualClock;
use cache_testkit::fault::{Fault, FaultStore};
use futures_util::{FutureExt, StreamExt};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// Every value that was recorded, under name and labels as text.
#[derive(Clone, Default)]
struct Recorded(Arc<Mutex<BTreeMap<String, Vec<f64>>>>);

struct Series {
    recorded: Recorded,
    name: String,
}

impl Recorded {
    fn series(&self, key: &Key) -> Arc<Series> {
        let labels: Vec<_> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        Arc::new(Series {
            recorded: self.clone(),
            name: format!("{} {}", key.name(), labels.join(" ")),
        })
    }

    fn values(&self, name: &str) -> Vec<f64> {
        self.0.lock().unwrap().get(name).cloned().unwrap_or_default()
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.series(key))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        panic!("a store has no gauges")
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.series(key))
    }
}

impl CounterFn for Series {
    fn increment(&self, value: u64) {
        let value = u32::try_from(value).unwrap();
        HistogramFn::record(self, f64::from(value));
    }

    fn absolute(&self, _: u64) {
        panic!("operations are counted one by one")
    }
}

impl HistogramFn for Series {
    fn record(&self, value: f64) {
        self.recorded
            .0
            .lock()
            .unwrap()
            .entry(self.name.clone())
            .or_default()
            .push(value);
    }
}

#[test]
fn counts_operations_by_outcome_and_names_no_key() {
    let recorded = Recorded::default();
    metrics::with_local_recorder(&recorded, || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(use_a_store());
    });

    let count = |labels: &str| {
        recorded
            .values(&format!("{OPERATIONS} store=main {labels}"))
            .len()
    };
    assert_eq!(count("operation=put outcome=ok"), 1);
    assert_eq!(count("operation=put outcome=conflict"), 1);
    assert_eq!(count("operation=get outcome=ok"), 1);
    assert_eq!(count("operation=get outcome=missing"), 1);
    assert_eq!(count("operation=head outcome=unavailable"), 1);
    assert_eq!(count("operation=get outcome=cancelled"), 1);
    assert_eq!(count("operation=delete outcome=ok"), 1);
    assert_eq!(count("operation=scan outcome=ok"), 1);
    assert_eq!(count("operation=scan outcome=cancelled"), 1);
    assert_eq!(
        recorded.values(&format!("{DURATION} store=main operation=delete")),
        [1.5]
    );
    assert_eq!(
        recorded.values(&format!("{PAYLOAD} store=main operation=get")),
        [5.0]
    );
    assert_eq!(
        recorded.values(&format!("{PAYLOAD} store=main operation=put")),
        [5.0, 0.0]
    );
    let all = recorded.0.lock().unwrap();
    assert!(
        all.keys().all(|series| !series.contains("alice")),
        "a key in a label: {:?}",
        all.keys()
    );
}

async fn use_a_store() {
    let clock = ManualClock::new();
    clock.auto_advance(true);
    let faulty = FaultStore::new(Arc::new(MemoryStore::new()), Arc::new(clock.clone()));
    let store = faulty.clone().with_metrics("main", Arc::new(clock));
    let (alice, nobody) = (
        StoreKey::new("user/alice").unwrap(),
        StoreKey::new("user/alice2").unwrap(),
    );

    store
        .put(&alice, "12345".into(), PutOptions::create())
        .await
        .unwrap();
    store
        .put(&alice, "".into(), PutOptions::create())
        .await
        .unwrap_err();
    store.get(&alice).await.unwrap();
    store.get(&nobody).await.unwrap();
    faulty.inject(Fault::fail(ErrorKind::Unavailable).on(Operation::Head).once());
    store.head(&alice).await.unwrap_err();
    assert_eq!(store.scan("").collect::<Vec<_>>().await.len(), 1);
    drop(store.scan(""));
    faulty.inject(Fault::delay(Duration::from_millis(1500)).on(Operation::Delete));
    store.delete(&alice, None).await.unwrap();
    let (pause, _point) = Fault::pause_before();
    faulty.inject(pause.on(Operation::Get));
    assert!(
        store.get(&alice).now_or_never().is_none(),
        "this read is paused, and dropped"
    );
}
