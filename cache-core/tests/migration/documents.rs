//! Into and out of the files of MSAL programs.

use std::sync::Arc;

use cache_core::cache::migration::MigrationError;
use cache_core::layout::MsalLayout;
use cache_core::schema::Partition;
use cache_core::store::Store;

use crate::refusals::file_over;
use crate::scene::*;

async fn plain(scene: &Scene) {
    let cache = scene.source().await;
    for number in 1..4 {
        scene.sign_in(&cache, number).await;
    }
}

#[tokio::test]
async fn accounts_go_into_a_file_and_come_back() {
    let scene = Scene::new();
    plain(&scene).await;
    let source = scene.source().await;
    let before = Holdings::of(&source).await;
    let place: Arc<dyn Store> = Arc::new(OneRecord(Arc::clone(&scene.to)));
    let file = file_over(&place, &scene.clock);
    let report = source.migrate_to(&file).allow_plaintext().run().await.unwrap();
    assert_eq!((report.moved, report.is_complete()), (3, true), "{report:?}");
    assert!(
        Holdings::of(&source).await.is_empty(),
        "the journal was in the source"
    );
    let document = scene.to.get(&OneRecord::key()).await.unwrap().unwrap();
    for number in 1..4 {
        assert!(String::from_utf8_lossy(&document.payload).contains(&format!("sub-{number}")));
    }
    scene.refresh(&file, 2).await.unwrap();
    let report = file.migrate_to(&source).source_name("file").run().await.unwrap();
    assert_eq!((report.moved, report.is_complete()), (3, true), "{report:?}");
    let after = Holdings::of(&source).await;
    assert_eq!(
        after.partitions.keys().collect::<Vec<_>>(),
        before.partitions.keys().collect::<Vec<_>>()
    );
    assert_eq!(
        after.partitions.get(&account(1).to_bytes()),
        before.partitions.get(&account(1).to_bytes())
    );
    assert!(
        scene.to.get(&OneRecord::key()).await.unwrap().is_none(),
        "nobody's rows are left in it"
    );
    for number in 1..4 {
        scene.refresh(&source, number).await.unwrap();
    }
    scene.assert_no_token_was_spent_twice();
}

#[tokio::test]
async fn one_file_goes_into_another_without_any_journal() {
    let scene = Scene::new();
    plain(&scene).await;
    let source = scene.source().await;
    let (one, two) = (empty(&scene.clock), empty(&scene.clock));
    let places: [Arc<dyn Store>; 2] = [
        Arc::new(OneRecord(Arc::clone(&one))),
        Arc::new(OneRecord(Arc::clone(&two))),
    ];
    let (first, second) = (
        file_over(&places[0], &scene.clock),
        file_over(&places[1], &scene.clock),
    );
    source.migrate_to(&first).allow_plaintext().run().await.unwrap();
    let report = first.migrate_to(&second).run().await.unwrap();
    assert_eq!((report.moved, report.is_complete()), (3, true), "{report:?}");
    assert!(one.get(&OneRecord::key()).await.unwrap().is_none());
    for number in 1..4 {
        scene.refresh(&second, number).await.unwrap();
    }
    scene.assert_no_token_was_spent_twice();

    // One place by two names loses nothing.
    let alias = file_over(&places[1], &scene.clock);
    let report = second.migrate_to(&alias).run().await;
    match report {
        Ok(report) => assert!(!report.is_complete(), "{report:?}"),
        Err(error) => assert!(matches!(error, MigrationError::SamePlace), "{error:?}"),
    }
    for number in 1..4 {
        scene.refresh(&second, number).await.unwrap();
    }
}

#[tokio::test]
async fn a_place_of_many_documents_takes_everything() {
    let scene = Scene::new();
    scene.fill().await;
    let source = scene.source().await;
    let before = Holdings::of(&source).await;
    let shared = cache_core::cache::TokenCache::builder(Arc::clone(&scene.to))
        .clock(Arc::new(scene.clock.clone()))
        .strategy(strategy().seal(cache_core::strategy::SealPolicy::PlaintextAllowed))
        .open_plaintext_shared(
            cache_core::seal::Namespace::default(),
            MsalLayout::node().authority(authority()),
        )
        .unwrap();
    let report = source.migrate_to(&shared).allow_plaintext().run().await.unwrap();
    assert_eq!((report.moved, report.is_complete()), (7, true), "{report:?}");
    assert!(Holdings::of(&source).await.is_empty());
    scene.refresh(&shared, 1).await.unwrap();
    let report = shared
        .migrate_to(&source)
        .source_name("node")
        .run()
        .await
        .unwrap();
    assert_eq!((report.moved, report.is_complete()), (7, true), "{report:?}");
    let after = Holdings::of(&source).await;
    assert_eq!(after.keys, before.keys);
    for key in [
        account(2),
        session("s"),
        app(),
        cache_core::schema::PartitionKey::Residue,
    ] {
        let in_both = [&after, &before].map(|holdings| without_names(&holdings.partitions[&key.to_bytes()]));
        assert_eq!(in_both[0], in_both[1], "{key:?}");
    }
    assert_eq!(after.expiries, before.expiries);
    scene.refresh(&source, 1).await.unwrap();
    scene.assert_no_token_was_spent_twice();
}

/// Without the names that MSAL Node gives to rows, which stay on them.
fn without_names(partition: &Partition) -> Partition {
    let mut partition = partition.clone();
    partition
        .access_tokens
        .iter_mut()
        .for_each(|row| row.foreign = None);
    partition
        .refresh_tokens
        .iter_mut()
        .for_each(|row| row.foreign = None);
    partition.id_tokens.iter_mut().for_each(|row| row.foreign = None);
    partition
}
