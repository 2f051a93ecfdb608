//! The writer's program ends between any two changes of the keychain.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cache_core::store::{PutOptions, Store, StoreKey};
use cache_core::time::SystemClock;
use futures_util::TryStreamExt;

use crate::memory::{Cabinet, Plan};

/// Values that need items of their own, so that a write is many changes.
const LONG: usize = 6000;

fn value(letter: u8) -> Bytes {
    vec![letter; LONG].into()
}

async fn content(cabinet: &Cabinet) -> BTreeMap<String, Bytes> {
    let store = cabinet.open().await;
    let listed: Vec<_> = store.scan("").try_collect().await.unwrap();
    let mut content = BTreeMap::new();
    for (key, version) in listed {
        let record = store.get(&key).await.unwrap().unwrap();
        assert_eq!(record.version, version);
        content.insert(key.to_string(), record.payload);
    }
    content
}

#[tokio::test]
async fn a_write_that_is_cut_anywhere_is_made_or_is_not_and_leaves_nothing() {
    let (kept, changed) = (StoreKey::new("kept").unwrap(), StoreKey::new("changed").unwrap());
    let mut outcomes = [0, 0];
    for changes in 0.. {
        let cabinet = Cabinet::narrow();
        let store = cabinet.open().await;
        store.put(&kept, value(b'k'), PutOptions::create()).await.unwrap();
        store
            .put(&changed, value(b'a'), PutOptions::create())
            .await
            .unwrap();
        drop(store);

        let plan = Arc::new(Plan::default());
        let dying = cabinet.open_with(&plan, Arc::new(SystemClock)).await;
        plan.die_after(changes);
        let result = dying.put(&changed, value(b'b'), PutOptions::overwrite()).await;

        let found = content(&cabinet).await;
        assert_eq!(found["kept"], value(b'k'), "after {changes} changes");
        let is_made = found["changed"] == value(b'b');
        assert!(
            is_made || found["changed"] == value(b'a'),
            "after {changes} changes"
        );
        match &result {
            Ok(_) => assert!(is_made),
            // What the writer is told of a write that is not made leaves no doubt unless there is one.
            Err(error) => assert!(!is_made, "after {changes} changes: {error:?}"),
        }
        outcomes[usize::from(is_made)] += 1;

        // The next writer takes away what was left, here and for good.
        let store = cabinet.open().await;
        store.delete(&changed, None).await.unwrap();
        store.delete(&kept, None).await.unwrap();
        store
            .put(&kept, "short".into(), PutOptions::create())
            .await
            .unwrap();
        assert_eq!(cabinet.names(), ["token-cache"], "after {changes} changes");
        if result.is_ok() && changes > 20 {
            break;
        }
    }
    assert!(outcomes[0] >= 5 && outcomes[1] >= 5, "{outcomes:?}");
}

#[tokio::test]
async fn a_delete_that_is_cut_anywhere_is_made_or_is_not() {
    let key = StoreKey::new("deleted").unwrap();
    for changes in 0..8 {
        let cabinet = Cabinet::narrow();
        let store = cabinet.open().await;
        let version = store.put(&key, value(b'd'), PutOptions::create()).await.unwrap();
        drop(store);
        let plan = Arc::new(Plan::default());
        let dying = cabinet.open_with(&plan, Arc::new(SystemClock)).await;
        plan.die_after(changes);
        let deleted = dying.delete(&key, Some(version)).await;
        let found = content(&cabinet).await;
        assert_eq!(found.is_empty(), deleted.is_ok(), "after {changes} changes");
    }
}
