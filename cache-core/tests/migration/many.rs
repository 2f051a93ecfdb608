//! Many records.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cache_core::cache::migration::{MigrationObserver, MigrationProgress};

use crate::scene::*;

#[derive(Default)]
struct Calls(AtomicU64);

impl MigrationObserver for Calls {
    fn progress(&self, progress: &MigrationProgress) -> ControlFlow<()> {
        assert_eq!(progress.done, self.0.fetch_add(1, Ordering::Relaxed));
        ControlFlow::Continue(())
    }
}

#[tokio::test]
async fn ten_thousand_accounts_move() {
    const ACCOUNTS: usize = 10_000;
    let scene = Scene::new();
    let source = scene.source().await;
    for number in 0..ACCOUNTS {
        scene.sign_in(&source, number).await;
    }
    let tokens = Holdings::of(&source).await.refresh_tokens();
    let target = scene.target().await;
    let calls = Arc::new(Calls::default());
    let observer: Arc<dyn MigrationObserver> = calls.clone();
    let report = source.migrate_to(&target).observer(observer).run().await.unwrap();
    assert_eq!((report.moved, report.is_complete()), (ACCOUNTS as u64, true));
    assert_eq!(calls.0.load(Ordering::Relaxed), ACCOUNTS as u64 + 1);
    assert_eq!(Holdings::of(&target).await.refresh_tokens(), tokens);
    assert!(Holdings::of(&source).await.is_empty());
}
