//! A sign-out reaches every process that holds the account in memory: by the hint, or, where the channel is cut, within the staleness
//! bound.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic; figures are printed"
)]

use std::time::Duration;

use soak::fleet::orders::{Answer, Asking, Order, Outcome};
use soak::fleet::place::Backend;
use soak::fleet::provider::Kind;
use soak::fleet::scene::{Scene, SignedIn};
use soak::fleet::{Fleet, PROCESSES};
use soak::stage::Stage;

/// How long memory is trusted: for so long that only a hint explains a refusal in a test's time, or short.
const AN_HOUR: Duration = Duration::from_secs(3600);
const A_SECOND: Duration = Duration::from_secs(1);

/// How much of something is done, unless `TOKENKEEP_ROUNDS` says otherwise.
fn rounds(default: u64) -> u64 {
    std::env::var("TOKENKEEP_ROUNDS").map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_an_account_and_end_with_their_fleet() {
    let stage = stage();
    let scene = Scene::new(&stage, Kind::OidcProvider, Backend::Sqlite, 3600, 1, |_| ())
        .await
        .unwrap();
    let signed_in = scene.sign_in(0).await.unwrap();
    let fleet = scene.fleet(&stage, 2).unwrap();
    let asking = Asking::of(std::slice::from_ref(&signed_in.id));
    for outcomes in fleet.tokens(&asking).await.unwrap() {
        let [Outcome::Token(token)] = &outcomes[..] else {
            panic!("{outcomes:?}")
        };
        assert_eq!(token.fingerprint, signed_in.fingerprint);
        assert!(!token.is_of_authority && !token.is_of_memory, "{token:?}");
    }
    fleet.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_is_heard_by_all_on_sqlite() {
    heard_by_all(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_channel_a_sign_out_holds_within_the_staleness_bound_on_sqlite() {
    within_the_staleness_bound(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_is_heard_by_all_on_redis() {
    heard_by_all(Backend::Redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_channel_a_sign_out_holds_within_the_staleness_bound_on_redis() {
    within_the_staleness_bound(Backend::Redis).await;
}

async fn heard_by_all(backend: Backend) {
    let watched = Watched::new(backend, AN_HOUR, true).await;
    let mut latencies = Vec::new();
    for _ in 0..rounds(30) {
        let (at, looks) = watched.sign_out_under_all_eyes().await;
        // Refused before the one who signs out even knows that it did counts as at once.
        let after = |look: &Look| Duration::from_micros(look.refused_at.saturating_sub(at));
        latencies.extend(looks.iter().map(after));
    }
    watched.fleet.end().await.unwrap();
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    println!(
        "{backend}: from the sign-out's return to the refusal in {} other processes, {} samples: p50 {:.1?}, p99 {:.1?}, longest {:.1?}",
        PROCESSES - 1,
        latencies.len(),
        at(50),
        at(99),
        at(100)
    );
}

async fn within_the_staleness_bound(backend: Backend) {
    let watched = Watched::new(backend, A_SECOND, false).await;
    for _ in 0..rounds(3).min(10) {
        let (at, looks) = watched.sign_out_under_all_eyes().await;
        for look in looks {
            let bound = at + u64::try_from(A_SECOND.as_micros()).unwrap();
            assert!(
                look.last_served < bound,
                "served at {} after the bound of the sign-out at {at}",
                look.last_served
            );
        }
    }
    watched.fleet.end().await.unwrap();
}

fn stage() -> Stage {
    Stage::new(env!("CARGO_BIN_EXE_soak")).unwrap()
}

/// A fleet that holds one account in memory.
struct Watched {
    scene: Scene,
    fleet: Fleet,
    /// Its folder is the store's.
    _stage: Stage,
}

/// How one process's look ended.
struct Look {
    refused_at: u64,
    last_served: u64,
}

impl Watched {
    async fn new(backend: Backend, max_staleness: Duration, watch: bool) -> Self {
        let stage = stage();
        let scene = Scene::new(&stage, Kind::OidcProvider, backend, 3600, 1, |setup| {
            setup.max_staleness = max_staleness;
            setup.watch = watch;
        })
        .await
        .unwrap();
        let fleet = scene.fleet(&stage, PROCESSES).unwrap();
        Self {
            scene,
            fleet,
            _stage: stage,
        }
    }

    /// Signs a user in, whom all then hold in memory, and out by one of them. Gives when that returned, and what became of the others.
    async fn sign_out_under_all_eyes(&self) -> (u64, Vec<Look>) {
        let SignedIn { id, .. } = self.scene.sign_in(0).await.unwrap();
        let account = || id.clone();
        let (one, others) = self.fleet.members.split_first().unwrap();
        one.tokens(Asking::of(&[account()])).await.unwrap();
        for other in others {
            other.ask(Order::Look { account: account() }).await.unwrap();
        }
        let signed_out = one.sign_out(&[account()], Vec::new()).await.unwrap();
        assert!(signed_out[0].found);
        let mut looks = Vec::new();
        for other in others {
            let Answer::Looked {
                refused,
                refused_at,
                last_served,
            } = other.ask(Order::Looked).await.unwrap()
            else {
                panic!("no answer to a look")
            };
            assert!(refused.asks_the_user(), "{refused:?}");
            looks.push(Look {
                refused_at,
                last_served,
            });
        }
        (signed_out[0].at, looks)
    }
}
