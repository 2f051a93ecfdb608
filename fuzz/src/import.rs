//! Files that a person imports.

use cache_core::codec::msal::RowOrigin;

use crate::scene::{LIMIT, Scene, block_on};
use crate::{Outcome, Target};

/// The target.
pub const TARGET: Target = Target {
    name: "import",
    title: "files for `tokenkeep import`, through the cache and out again",
    run,
    seeds: || crate::msal_json::FILES.iter().map(|file| file.to_vec()).collect(),
    max_len: 8192,
};

/// Imports the bytes twice, and exports them.
///
/// # Panics
/// When rows get lost or double, or a refused file left something behind.
pub fn run(data: &[u8]) -> Outcome {
    block_on(async {
        let scene = Scene::new();
        let cache = scene.cache_in_clear();
        let identify = |origin: &RowOrigin<'_>| origin.default_identity();
        let Ok(first) = cache.import(data, &identify).await else {
            assert!(
                cache.inspect().await.expect("a memory store").is_empty(),
                "a refused file left records"
            );
            return Outcome::Refused;
        };
        let exported = cache.export().await.expect("a memory store");
        cache
            .import(data, &identify)
            .await
            .expect("it was imported before");
        let again = cache.export().await.expect("a memory store");
        assert!(exported.unreadable.is_empty() && again.unreadable.is_empty());
        assert!(
            exported.json.expose() == again.json.expose(),
            "the same file again changed something"
        );
        let accounts = cache.accounts().await.expect("a memory store").accounts.len();
        assert!(accounts <= first.accounts);
        cache.shutdown(LIMIT).await;
        Outcome::taken(first.partitions > 0)
    })
}
