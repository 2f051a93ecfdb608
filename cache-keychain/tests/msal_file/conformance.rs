//! The storage contract, as far as one record that is JSON and cannot expire can be held to it.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::store::{
    Capabilities, PutOptions, Record, Store, StoreError, StoreKey, Version, Watch, WatchEvent,
};
use cache_keychain::msal_file::MsalFileStore;
use cache_testkit::clock::ManualClock;
use cache_testkit::suite::Harness;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use tempfile::TempDir;

use crate::support::open;

struct Place {
    directory: TempDir,
    /// The file knows no expiry and locks of others wait for no manual clock: the stores have the system's.
    clock: ManualClock,
    /// The suite's own key for the record: the first that it writes to.
    name: Arc<OnceLock<StoreKey>>,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            clock: ManualClock::default(),
            name: Arc::default(),
        }
    }
}

#[async_trait]
impl Harness for Place {
    async fn open(&self) -> Arc<dyn Store> {
        let store = open(&self.directory.path().join("msal_token_cache.json")).await;
        Arc::new(AsJson {
            watch: Renamed {
                store: Arc::new(store),
                name: Arc::clone(&self.name),
            },
        })
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

/// Puts the suite's payloads into JSON, and gives the record the suite's key.
#[derive(Debug)]
struct AsJson {
    watch: Renamed,
}

#[derive(Debug)]
struct Renamed {
    store: Arc<MsalFileStore>,
    name: Arc<OnceLock<StoreKey>>,
}

impl AsJson {
    fn store(&self) -> &MsalFileStore {
        &self.watch.store
    }

    /// The record's own key for the suite's.
    fn key(&self, key: &StoreKey) -> StoreKey {
        if self.watch.name.get() == Some(key) {
            self.store().record()
        } else {
            key.clone()
        }
    }
}

fn encode(payload: &[u8]) -> Bytes {
    let text: String = payload.iter().copied().map(char::from).collect();
    serde_json::json!({ "payload": text }).to_string().into()
}

fn decode(document: &[u8]) -> Bytes {
    let document: serde_json::Value = serde_json::from_slice(document).unwrap();
    let text = document["payload"].as_str().unwrap();
    text.chars().map(|char| u8::try_from(char).unwrap()).collect()
}

#[async_trait]
impl Store for AsJson {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        let found = self.store().get(&self.key(key)).await?;
        Ok(found.map(|record| Record {
            payload: decode(&record.payload),
            ..record
        }))
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        self.store().head(&self.key(key)).await
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        self.watch.name.get_or_init(|| key.clone());
        self.store().put(&self.key(key), encode(&payload), options).await
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        self.store().delete(&self.key(key), expected).await
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        self.store().scan(prefix)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            // Of bytes beyond ASCII each may become six.
            max_value_bytes: MsalFileStore::MAX_VALUE_BYTES / 8,
            ..self.store().capabilities()
        }
    }

    fn watch(&self) -> Option<&dyn Watch> {
        self.store().watch().map(|_| &self.watch as &dyn Watch)
    }
}

impl Watch for Renamed {
    fn subscribe(&self) -> BoxStream<'static, WatchEvent> {
        let (events, name) = (self.store.watch().unwrap().subscribe(), Arc::clone(&self.name));
        let rename = move |event| match (event, name.get()) {
            (WatchEvent::Changed(_, version), Some(name)) => WatchEvent::Changed(name.clone(), version),
            (event, _) => event,
        };
        events.map(rename).boxed()
    }
}

macro_rules! rules {
    ($($rule:ident),* $(,)?) => {
        $(
            #[test]
            fn $rule() {
                cache_testkit::suite::test(stringify!($rule), &Place::new());
            }
        )*
    };
}

rules! {
    missing_key_is_absent,
    put_then_get,
    overwrite_replaces,
    empty_payload_is_a_record,
    payload_is_untouched,
    largest_payload_fits,
    unconditional_delete_is_idempotent,
    relaxed_write_is_visible_at_once,
    create_writes_only_a_new_record,
    create_after_delete,
    update_needs_the_stored_version,
    update_of_a_missing_key_conflicts,
    delete_needs_the_stored_version,
    delete_of_a_missing_version_conflicts,
    version_never_recurs,
    version_never_recurs_after_delete,
    watch_is_there_when_promised,
    watch_reports_puts,
    watch_reports_deletes,
    watch_reports_to_every_subscriber,
    watch_reports_changes_by_others,
    capabilities_do_not_change,
    limits_are_usable,
    instances_see_each_others_writes,
    instances_conflict_with_each_other,
    records_outlive_their_instance,
    counter_race,
    counter_race_of_two_instances,
    reads_are_whole,
    dropped_write_is_whole_or_absent,
}
