//! What has happened between a run that was interrupted and the next one.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::migration::ConflictCause;
use cache_core::cache::{SignOutScope, TokenCache};
use cache_core::layout::MsalLayout;
use cache_core::seal::{Namespace, RecordKind};
use cache_core::store::error::Operation;
use cache_core::store::{PutOptions, Store, StoreKey};
use cache_core::strategy::SealPolicy;
use cache_testkit::clock::ManualClock;
use cache_testkit::fault::{Fault, FaultStore};

use crate::refusals::file_over;
use crate::scene::*;
use crate::support::*;

pub fn of_kind(namespace: &str, kind: RecordKind) -> impl Fn(&StoreKey) -> bool + Send + Sync + 'static {
    let namespace = Namespace::new(namespace).unwrap();
    move |key: &StoreKey| RecordKind::of(&namespace, key) == Some(kind)
}

pub fn faulty(store: &Arc<dyn Store>, clock: &ManualClock, fault: Fault) -> Arc<dyn Store> {
    let faults = FaultStore::new(Arc::clone(store), Arc::new(clock.clone()));
    faults.inject(fault);
    Arc::new(faults)
}

/// A crash right after the source lost a record of this kind, so that only the journal has it.
pub async fn crash_on_the_way(scene: &Scene, kind: RecordKind, name: &str) {
    let fault = Fault::crash_after()
        .on(Operation::Delete)
        .at_key(of_kind("tokenkeep", kind));
    let from = faulty(&scene.from, &scene.clock, fault);
    let (held, target) = (source_over(&from, &scene.clock).await, scene.target().await);
    held.migrate_to(&target)
        .source_name(name)
        .run()
        .await
        .unwrap_err();
    settle().await;
    assert_eq!(Holdings::of(&target).await.on_their_way, 1);
}

/// A crash right after the target got the first record, which the journal still has. Gives the target.
async fn crash_after_the_first_arrival(scene: &Scene, source: &TokenCache) -> TokenCache {
    let journal = of_kind("elsewhere", RecordKind::Migration);
    let fault = Fault::crash_before().on(Operation::Delete).at_key(journal);
    let to = faulty(&scene.to, &scene.clock, fault);
    let held = target_over(&to, &scene.clock).await;
    source.migrate_to(&held).run().await.unwrap_err();
    settle().await;
    let target = scene.target().await;
    let there = Holdings::of(&target).await;
    assert_eq!((there.partitions.len(), there.on_their_way), (1, 1));
    target
}

#[tokio::test]
async fn who_signs_out_of_what_has_arrived_stays_signed_out() {
    for scope in [Some(SignOutScope::Client), None] {
        let scene = Scene::new();
        let source = scene.source().await;
        scene.sign_in(&source, 1).await;
        let target = crash_after_the_first_arrival(&scene, &source).await;
        let found = match scope {
            Some(scope) => target.sign_out(&account(1), CLIENT, scope).await.unwrap(),
            None => target.forget_account(&account(1)).await.unwrap(),
        };
        assert!(found);
        let report = source.migrate_to(&target).run().await.unwrap();
        assert_eq!((report.moved, report.is_complete()), (0, true), "{report:?}");
        assert!(Holdings::of(&target).await.is_empty(), "the sign-out was undone");
    }
}

#[tokio::test]
async fn a_session_that_was_ended_after_it_arrived_stays_ended() {
    let scene = Scene::new();
    let source = scene.source().await;
    scene.sign_in(&source, 1).await;
    let granted = scene.granted(1);
    let (user, session) = (account(1), session("cookie"));
    source
        .begin_session(&user, &session, granted, HOUR)
        .await
        .unwrap();
    // Sessions go before their users.
    let target = crash_after_the_first_arrival(&scene, &source).await;
    assert!(target.end_session(&session).await.unwrap());
    assert!(source.migrate_to(&target).run().await.unwrap().is_complete());
    assert_eq!(target.session_account(&session).await.unwrap(), None);
}

#[tokio::test]
async fn who_signs_out_while_it_is_read_back_stays_signed_out() {
    let scene = Scene::new();
    let source = scene.source().await;
    scene.sign_in(&source, 1).await;
    let faults = FaultStore::new(Arc::clone(&scene.to), Arc::new(scene.clock.clone()));
    let (fault, paused) = Fault::pause_after();
    let is_user = of_kind("elsewhere", RecordKind::User);
    faults.inject(fault.on(Operation::Put).at_key(is_user).once());
    let to: Arc<dyn Store> = Arc::new(faults);
    let (held, target) = (target_over(&to, &scene.clock).await, scene.target().await);
    let migration = source.migrate_to(&held);
    let (report, ()) = tokio::join!(migration.run(), async {
        paused.reached().await;
        let removed = target.sign_out(&account(1), CLIENT, SignOutScope::Client).await;
        assert!(removed.unwrap());
        paused.release();
    });
    let report = report.unwrap();
    assert_eq!((report.gone, report.is_complete()), (1, true), "{report:?}");
    assert!(source.migrate_to(&target).run().await.unwrap().is_complete());
    assert!(Holdings::of(&target).await.is_empty(), "the sign-out was undone");
}

/// Somebody else's sign-in in the target says nothing of what is on its way.
#[tokio::test]
async fn a_sign_out_of_another_sign_in_leaves_the_journal_alone() {
    let scene = Scene::new();
    scene.sign_in(&scene.source().await, 1).await;
    let tokens = Holdings::of(&scene.source().await).await.refresh_tokens();
    crash_on_the_way(&scene, RecordKind::User, "").await;
    let target = scene.target().await;
    let mut response = scene.granted(1);
    "other-client".clone_into(&mut response.client_id);
    target.sign_in(&account(1), response).await.unwrap();
    let removed = target
        .sign_out(&account(1), "other-client", SignOutScope::Client)
        .await;
    assert!(removed.unwrap());
    let report = scene.source().await.migrate_to(&target).run().await.unwrap();
    assert_eq!((report.moved, report.is_complete()), (1, true), "{report:?}");
    assert_eq!(Holdings::of(&target).await.refresh_tokens(), tokens);
}

#[tokio::test]
async fn a_sealed_source_is_known_under_every_name() {
    let scene = Scene::new();
    scene.sign_in(&scene.source().await, 1).await;
    crash_on_the_way(&scene, RecordKind::User, "redis://localhost").await;
    let (source, target) = (scene.source().await, scene.target().await);
    let again = source.migrate_to(&target).source_name("redis://127.0.0.1:6379/0");
    assert_eq!(again.plan().await.unwrap().unfinished, 1);
    let report = again.run().await.unwrap();
    assert_eq!((report.moved, report.is_complete()), (1, true), "{report:?}");
    scene.refresh(&target, 1).await.unwrap();
}

#[tokio::test]
async fn what_has_expired_on_its_way_is_gone() {
    let scene = Scene::new();
    scene.fill().await;
    crash_on_the_way(&scene, RecordKind::Session, "").await;
    scene.clock.advance(Duration::from_secs(25 * 3600));
    let (source, target) = (scene.source().await, scene.target().await);
    let report = source.migrate_to(&target).run().await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.gone, 1);
    assert_eq!(Holdings::of(&target).await.on_their_way, 0);
}

/// Who can write to an unsealed target could otherwise put tokens into the sealed source, by the journal.
#[tokio::test]
async fn the_journal_of_sealed_tokens_is_sealed() {
    let scene = Scene::new();
    scene.sign_in(&scene.source().await, 1).await;
    let tokens = Holdings::of(&scene.source().await).await.refresh_tokens();
    let shared = TokenCache::builder(Arc::clone(&scene.to))
        .clock(Arc::new(scene.clock.clone()))
        .strategy(strategy().seal(SealPolicy::PlaintextAllowed))
        .open_plaintext_shared(Namespace::default(), MsalLayout::node().authority(authority()))
        .unwrap();
    let is_user = of_kind("tokenkeep", RecordKind::User);
    let fault = Fault::crash_after().on(Operation::Delete).at_key(is_user);
    let held = source_over(&faulty(&scene.from, &scene.clock, fault), &scene.clock).await;
    let migration = held.migrate_to(&shared).allow_plaintext();
    migration.run().await.unwrap_err();
    settle().await;
    let source = scene.source().await;
    assert!(snapshot(&scene.to).await.is_empty());
    assert_eq!(Holdings::of(&source).await.on_their_way, 1);

    let report = source.migrate_to(&shared).allow_plaintext().run().await.unwrap();
    assert_eq!((report.moved, report.is_complete()), (1, true), "{report:?}");
    assert!(Holdings::of(&source).await.is_empty());
    let report = shared
        .migrate_to(&source)
        .source_name("node")
        .run()
        .await
        .unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(Holdings::of(&source).await.refresh_tokens(), tokens);
}

/// The file has another program's sign-in by now, and nothing of what was in it.
#[tokio::test]
async fn who_signs_in_by_another_program_of_a_file_does_not_cost_the_first_its_tokens() {
    let scene = Scene::new();
    let file = file_over(&(Arc::new(OneRecord(Arc::clone(&scene.from))) as _), &scene.clock);
    scene.sign_in(&file, 1).await;
    let fault = Fault::crash_after().on(Operation::Delete);
    let place: Arc<dyn Store> = Arc::new(OneRecord(faulty(&scene.from, &scene.clock, fault)));
    let (held, target) = (file_over(&place, &scene.clock), scene.target().await);
    held.migrate_to(&target)
        .source_name("file")
        .run()
        .await
        .unwrap_err();
    settle().await;
    assert!(scene.from.get(&OneRecord::key()).await.unwrap().is_none());
    assert_eq!(Holdings::of(&target).await.on_their_way, 1);
    let mut response = scene.granted(1);
    "other-client".clone_into(&mut response.client_id);
    file.sign_in(&account(1), response).await.unwrap();

    let report = file.migrate_to(&target).source_name("file").run().await.unwrap();
    assert_eq!(report.conflicts.len(), 1, "{report:?}");
    assert_eq!(report.conflicts[0].cause, ConflictCause::TargetDiffers);
    scene.refresh(&target, 1).await.unwrap();
    scene.assert_no_token_was_spent_twice();
    assert!(scene.from.get(&OneRecord::key()).await.unwrap().is_some());
}

fn rows_of(user: &str, environment: &str) -> serde_json::Value {
    let home = format!("{user}.t");
    serde_json::json!({
        "Account": { format!("{home}-{environment}-t"): {
            "home_account_id": home, "environment": environment, "realm": "t", "local_account_id": user,
            "username": user, "authority_type": "MSSTS" } },
        "RefreshToken": { format!("{home}-{environment}-refreshtoken-c--"): {
            "home_account_id": home, "environment": environment, "client_id": "c", "secret": format!("token of {user}"),
            "credential_type": "RefreshToken" } },
        "AppMetadata": { format!("appmetadata-{environment}-c"): { "client_id": "c", "environment": environment } },
    })
}

async fn file_of(rows: serde_json::Value, clock: &ManualClock) -> Arc<dyn Store> {
    let store = empty(clock);
    let rows = rows.to_string().into_bytes().into();
    store
        .put(&OneRecord::key(), rows, PutOptions::create())
        .await
        .unwrap();
    store
}

/// From one file into another there is no journal, and the target calls the cloud by another of its names.
#[tokio::test]
async fn a_file_that_names_the_cloud_otherwise_knows_what_it_was_given() {
    let clock = ManualClock::new();
    let _ticking = ticking(&clock);
    let from = file_of(rows_of("alice", "login.microsoftonline.com"), &clock).await;
    let to = file_of(rows_of("bob", "login.windows.net"), &clock).await;
    let over = |store: &Arc<dyn Store>| file_over(&(Arc::new(OneRecord(Arc::clone(store))) as _), &clock);
    let fault = Fault::crash_after().on(Operation::Put);
    let held = over(&faulty(&to, &clock, fault));
    over(&from).migrate_to(&held).run().await.unwrap_err();
    settle().await;
    assert!(from.get(&OneRecord::key()).await.unwrap().is_some());

    let report = over(&from).migrate_to(&over(&to)).run().await.unwrap();
    assert_eq!(
        (report.already_there, report.is_complete()),
        (1, true),
        "{report:?}"
    );
    assert!(from.get(&OneRecord::key()).await.unwrap().is_none());
    let document = to.get(&OneRecord::key()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&document.payload).into_owned();
    for token in ["token of alice", "token of bob"] {
        assert_eq!(text.matches(token).count(), 1, "{text}");
    }
}
