//! Every point at which a process can die or an acknowledgement be lost, on either side.

use std::sync::Arc;

use cache_core::cache::TokenCache;
use cache_core::layout::MsalLayout;
use cache_core::seal::Namespace;
use cache_core::store::error::Operation;
use cache_core::store::{Record, Store, StoreKey};
use cache_core::strategy::SealPolicy;
use cache_testkit::clock::ManualClock;
use cache_testkit::fault::{Fault, FaultStore};

use crate::refusals::file_over;
use crate::scene::*;
use crate::support::*;

const OPERATIONS: [Operation; 5] = [
    Operation::Get,
    Operation::Put,
    Operation::Delete,
    Operation::Head,
    Operation::Scan,
];

/// What a process that dies leaves of its operation, and what an answer that is lost does.
const FAULTS: [fn() -> Fault; 4] = [
    Fault::crash_before,
    Fault::crash_after,
    Fault::lost_request,
    Fault::lost_reply,
];

/// Which side is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    From,
    To,
}

struct Sides {
    scene: Scene,
    faults: [FaultStore; 2],
    source: TokenCache,
    target: TokenCache,
}

impl Sides {
    /// The caches as a process opens them, over stores that fail when told to.
    async fn new(
        records: &[(StoreKey, Record)],
        target_records: &[(StoreKey, Record)],
        clock: &ManualClock,
    ) -> Self {
        let from = restored(clock, records).await;
        let to = restored(clock, target_records).await;
        let faults = [&from, &to].map(|store| FaultStore::new(Arc::clone(store), Arc::new(clock.clone())));
        let faulty = faults.clone().map(|faults| Arc::new(faults) as Arc<dyn Store>);
        Self {
            source: source_over(&faulty[0], clock).await,
            target: target_over(&faulty[1], clock).await,
            scene: Scene {
                clock: clock.clone(),
                issuer: Issuer::new(clock),
                from,
                to,
            },
            faults,
        }
    }

    fn side(&self, side: Side) -> &FaultStore {
        &self.faults[usize::from(side == Side::To)]
    }
}

/// What is in the two stores before each case: a sealed source, and a target with nothing but its key ring.
async fn prepared() -> (
    ManualClock,
    Vec<(StoreKey, Record)>,
    Vec<(StoreKey, Record)>,
    Holdings,
) {
    let scene = Scene::new();
    scene.fill().await;
    let before = Holdings::of(&scene.source().await).await;
    drop(scene.target().await);
    (
        scene.clock.clone(),
        snapshot(&scene.from).await,
        snapshot(&scene.to).await,
        before,
    )
}

#[tokio::test]
async fn nothing_is_lost_and_nothing_doubled_wherever_it_stops() {
    let (clock, from, to, before) = prepared().await;
    let _ticking = ticking(&clock);
    let (mut cases, mut stopped) = (0, 0);
    for side in [Side::From, Side::To] {
        for operation in OPERATIONS {
            for fault in FAULTS {
                for strike in 0.. {
                    let sides = Sides::new(&from, &to, &clock).await;
                    sides.side(side).reset_counts();
                    sides
                        .side(side)
                        .inject(fault().on(operation).after(strike).once());
                    let outcome = sides.source.migrate_to(&sides.target).run().await;
                    let case = format!("{side:?} {operation:?} {:?} at {strike}", fault());
                    if sides.side(side).count(operation) <= strike {
                        assert!(outcome.unwrap().is_complete(), "{case}");
                        break;
                    }
                    cases += 1;
                    stopped += usize::from(outcome.is_err());
                    check_in_between(&sides.scene, &before, &case).await;
                    finish(&sides.scene, &case).await;
                    let (source, target) = (sides.scene.source().await, sides.scene.target().await);
                    assert_eq!(Holdings::of(&target).await, before, "{case}");
                    assert!(Holdings::of(&source).await.is_empty(), "{case}");
                }
            }
        }
    }
    assert!(
        cases > 250 && stopped > 200,
        "{cases} cases, of which {stopped} stopped it"
    );
}

/// Each token is in one place that programs use at the most, and none is nowhere.
async fn check_in_between(scene: &Scene, before: &Holdings, case: &str) {
    settle().await;
    let (source, target) = (scene.source().await, scene.target().await);
    let (kept, there) = (Holdings::of(&source).await, Holdings::of(&target).await);
    let (kept_tokens, there_tokens) = (kept.refresh_tokens(), there.refresh_tokens());
    assert!(
        kept_tokens.is_disjoint(&there_tokens),
        "{case}: a token is in use in both"
    );
    let on_their_way = kept.on_their_way + there.on_their_way;
    let all: std::collections::BTreeSet<_> = kept_tokens.union(&there_tokens).cloned().collect();
    assert!(all.is_subset(&before.refresh_tokens()), "{case}");
    assert!(
        all.len() + on_their_way >= before.refresh_tokens().len(),
        "{case}: a token is nowhere"
    );
    assert!(
        kept.keys.union(&there.keys).count() == before.keys.len(),
        "{case}: a key is nowhere"
    );
}

/// Starts again, as often as it takes.
async fn finish(scene: &Scene, case: &str) {
    let (source, target) = (scene.source().await, scene.target().await);
    for _ in 0..3 {
        let report = source
            .migrate_to(&target)
            .run()
            .await
            .unwrap_or_else(|error| panic!("{case}: {error:?}"));
        if report.is_complete() {
            return;
        }
    }
    panic!("{case}: it does not end");
}

#[tokio::test]
async fn whoever_uses_either_side_after_a_crash_keeps_the_newest_token() {
    let clock = ManualClock::new();
    let _ticking = ticking(&clock);
    let mut refreshed = [0; 2];
    for side in [Side::From, Side::To] {
        for operation in [Operation::Put, Operation::Delete, Operation::Get] {
            for fault in [Fault::crash_before, Fault::crash_after] {
                for strike in 0.. {
                    let issuer = Issuer::new(&clock);
                    let scene = Scene {
                        clock: clock.clone(),
                        issuer,
                        from: empty(&clock),
                        to: empty(&clock),
                    };
                    for number in 1..3 {
                        scene.sign_in(&scene.source().await, number).await;
                    }
                    let store = if side == Side::From {
                        &scene.from
                    } else {
                        &scene.to
                    };
                    drop(scene.target().await);
                    let faults = FaultStore::new(Arc::clone(store), Arc::new(clock.clone()));
                    let faulty: Arc<dyn Store> = Arc::new(faults.clone());
                    let (source, target) = match side {
                        Side::From => (source_over(&faulty, &clock).await, scene.target().await),
                        Side::To => (scene.source().await, target_over(&faulty, &clock).await),
                    };
                    faults.reset_counts();
                    faults.inject(fault().on(operation).after(strike).once());
                    let outcome = source.migrate_to(&target).run().await;
                    let case = format!("{side:?} {operation:?} {:?} at {strike}", fault());
                    if faults.count(operation) <= strike {
                        assert!(outcome.unwrap().is_complete(), "{case}");
                        break;
                    }
                    settle().await;
                    // Programs go on with whichever side has the account.
                    for number in 1..3 {
                        for (place, cache) in [scene.source().await, scene.target().await].iter().enumerate()
                        {
                            if scene.refresh(cache, number).await.is_ok() {
                                refreshed[place] += 1;
                            }
                        }
                    }
                    scene.assert_no_token_was_spent_twice();
                    finish(&scene, &case).await;
                    let target = scene.target().await;
                    for number in 1..3 {
                        let found = scene.refresh(&target, number).await;
                        found.unwrap_or_else(|error| panic!("{case}: {error:?}"));
                    }
                    scene.assert_no_token_was_spent_twice();
                    assert!(Holdings::of(&scene.source().await).await.is_empty(), "{case}");
                    assert_eq!(Holdings::of(&target).await.refresh_tokens().len(), 2, "{case}");
                }
            }
        }
    }
    assert!(refreshed[0] > 20 && refreshed[1] > 20, "{refreshed:?}");
}

/// Into a file, whose journal is in the source; and from one file into another, which has none.
#[tokio::test]
async fn documents_survive_every_crash_too() {
    let clock = ManualClock::new();
    let _ticking = ticking(&clock);
    let signed_in = async || {
        let scene = Scene {
            clock: clock.clone(),
            issuer: Issuer::new(&clock),
            from: empty(&clock),
            to: empty(&clock),
        };
        for number in 1..3 {
            scene.sign_in(&scene.source().await, number).await;
        }
        scene
    };
    let scene = signed_in().await;
    let sealed = snapshot(&scene.from).await;
    let tokens = Holdings::of(&scene.source().await).await.refresh_tokens();
    let place: Arc<dyn Store> = Arc::new(OneRecord(Arc::clone(&scene.to)));
    let file = file_over(&place, &clock);
    scene
        .source()
        .await
        .migrate_to(&file)
        .allow_plaintext()
        .run()
        .await
        .unwrap();
    let written = snapshot(&scene.to).await;
    let sources = [("sealed", &sealed), ("file", &written)];
    let mut cases = 0;
    for (what, records) in sources {
        for side in [Side::From, Side::To] {
            for operation in [Operation::Put, Operation::Delete, Operation::Get] {
                for fault in FAULTS {
                    for strike in 0.. {
                        let stores = [restored(&clock, records).await, empty(&clock)];
                        let faults = stores
                            .clone()
                            .map(|store| FaultStore::new(store, Arc::new(clock.clone())));
                        let faulty = faults.clone().map(|faults| Arc::new(faults) as Arc<dyn Store>);
                        let [source, target] = open_sides(what, &faulty, &clock).await;
                        let struck = &faults[usize::from(side == Side::To)];
                        struck.reset_counts();
                        struck.inject(fault().on(operation).after(strike).once());
                        let migration = source.migrate_to(&target).allow_plaintext().source_name(what);
                        let outcome = migration.run().await;
                        let case = format!("{what} {side:?} {operation:?} {:?} at {strike}", fault());
                        if struck.count(operation) <= strike {
                            assert!(outcome.unwrap().is_complete(), "{case}");
                            break;
                        }
                        cases += 1;
                        settle().await;
                        let [source, target] = open_sides(what, &stores, &clock).await;
                        let again = source.migrate_to(&target).allow_plaintext().source_name(what);
                        let report = again.run().await.unwrap();
                        assert!(report.is_complete(), "{case}: {report:?}");
                        assert_eq!(in_document(&stores[1]).await, tokens, "{case}");
                        let left = match what {
                            "sealed" => Holdings::of(&source).await.is_empty(),
                            _ => stores[0].get(&OneRecord::key()).await.unwrap().is_none(),
                        };
                        assert!(left, "{case}");
                    }
                }
            }
        }
    }
    assert!(cases > 100, "{cases}");
}

async fn open_sides(what: &str, stores: &[Arc<dyn Store>; 2], clock: &ManualClock) -> [TokenCache; 2] {
    let source = if what == "sealed" {
        source_over(&stores[0], clock).await
    } else {
        one_record(&stores[0], clock)
    };
    [source, one_record(&stores[1], clock)]
}

fn one_record(store: &Arc<dyn Store>, clock: &ManualClock) -> TokenCache {
    let place: Arc<dyn Store> = Arc::new(OneRecord(Arc::clone(store)));
    TokenCache::builder(place)
        .clock(Arc::new(clock.clone()))
        .strategy(strategy().seal(SealPolicy::PlaintextAllowed))
        .open_plaintext_shared(
            Namespace::default(),
            MsalLayout::single_record(OneRecord::key()).authority(authority()),
        )
        .unwrap()
}

async fn in_document(store: &Arc<dyn Store>) -> std::collections::BTreeSet<String> {
    let record = store.get(&OneRecord::key()).await.unwrap().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&record.payload).unwrap();
    let rows = document["RefreshToken"].as_object().unwrap();
    let tokens: Vec<_> = rows
        .values()
        .map(|row| row["secret"].as_str().unwrap().to_owned())
        .collect();
    let distinct: std::collections::BTreeSet<_> = tokens.iter().cloned().collect();
    assert_eq!(distinct.len(), tokens.len());
    distinct
}
