//! Gate 10, by processes: accounts that one process removes while another refreshes them.

use std::ops::Range;
use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use rand::Rng;

use crate::fleet::orders::{Asking, Order, Outcome, SignedOut};
use crate::fleet::place::Backend;
use crate::fleet::provider::Kind;
use crate::fleet::scene::{ROTATING, Scene, SignedIn, ids, in_each};
use crate::fleet::{Member, Setup};
use crate::gate::{Gate, GateError};
use crate::stage::{Stage, chance, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 10,
    name: "removal-race",
    title: "one process signs an account out while another refreshes it, half of the time with the reply in hand, at two providers, over SQLite and over Redis",
    must: "0 resurrections: no record left, nobody served once the staleness bound has passed",
    unit: "removals",
    full_size: 10_000,
    test_size: 24,
    batch: 400,
    limits: &[
        "Where the reply is not in hand, the moments are chosen by chance and by the system, not enumerated: that is done with a model.",
        "Memory may serve an account until the hint has come, or the staleness bound has passed.",
        "glewlwyd fails some refreshes for its own sake, when its database is locked: these are counted and not judged.",
    ],
    floors: &[
        ("removals", 1.0),
        ("removed with the reply in hand", 0.4),
        ("late replies revoked", 0.4),
    ],
    run,
};

/// One refreshes, one signs out, two look on.
const PROCESSES: usize = 4;
/// Nothing expires while it runs: refreshes are forced.
const LIFETIME: u32 = 3600;
const ARRANGEMENTS_AT_ONCE: usize = 2;
/// How long memory is trusted.
const STALENESS: Duration = Duration::from_secs(1);
/// A refresh is begun within its own time, so that they do not queue.
const BETWEEN_REFRESHES: Duration = Duration::from_millis(15);
/// A sign-out follows its refresh within this: the time that one takes, and as much again.
const REMOVED_WITHIN: Duration = Duration::from_millis(60);
/// Counted and not judged: on a busy machine it finds its own database locked.
const FAILED_BY_GLEWLWYD: &str = "refreshes that glewlwyd failed by itself";
/// Far beyond what the sign-outs take.
const IN_HAND: Duration = Duration::from_secs(20);

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    runtime()?.block_on(in_each(
        &ROTATING,
        cases,
        ARRANGEMENTS_AT_ONCE,
        async |(kind, backend), cases| remove(stage, kind, backend, &cases).await,
    ))
}

async fn remove(stage: &Stage, kind: Kind, backend: Backend, cases: &[u64]) -> Result<Tally, GateError> {
    let mut tally = Tally::default();
    let change = |setup: &mut Setup| setup.max_staleness = STALENESS;
    let scene = Scene::new(stage, kind, backend, LIFETIME, cases.len(), change).await?;
    scene.versions(&mut tally).await?;
    let accounts = scene.sign_in_all(cases.len()).await?;
    let fleet = scene.fleet(stage, PROCESSES)?;
    let all = Asking::of(&ids(&accounts));
    fleet.tokens(&all).await?;
    let [refreshing, removing, ..] = &fleet.members[..] else {
        return Err(GateError::new("a fleet without members"));
    };
    let (in_hand, racing) = accounts.split_at(cases.len() / 2);
    let race = Race {
        scene: &scene,
        refreshing,
        removing,
    };
    race.with_replies_in_hand(in_hand, &mut tally).await?;
    race.at_any_moment(racing, &cases[in_hand.len()..], &mut tally)
        .await?;

    SystemClock.sleep(STALENESS).await;
    for outcomes in fleet.tokens(&all).await? {
        for (account, outcome) in accounts.iter().zip(outcomes) {
            tally.check(outcome.asks_the_user(), || {
                format!("{scene}: user {} is back: {outcome:?}", account.user)
            });
        }
    }
    fleet.end().await?;
    for account in &accounts {
        let record = scene.record(account).await?;
        tally.check(record.is_none(), || {
            format!("{scene}: user {} has a record again", account.user)
        });
    }
    let seen = scene.provider.seen().await?;
    let failed = tally.count(FAILED_BY_GLEWLWYD);
    tally.check(
        seen.sent == seen.granted + failed && seen.sent <= cases.len() as u64,
        || format!("{scene}: {seen:?}"),
    );
    // What comes after the sign-out is let go at the issuer too.
    tally.check(seen.revoked + failed >= in_hand.len() as u64, || {
        format!("{scene}: {seen:?}, {} replies came too late", in_hand.len())
    });
    tally.add("late replies revoked", seen.revoked);
    tally.add("removals", cases.len() as u64);
    scene.provider.tell_tried_again(&mut tally);
    Ok(tally)
}

struct Race<'a> {
    scene: &'a Scene,
    refreshing: &'a Member,
    removing: &'a Member,
}

impl Race<'_> {
    async fn with_replies_in_hand(&self, accounts: &[SignedIn], tally: &mut Tally) -> Result<(), GateError> {
        if accounts.is_empty() {
            return Ok(());
        }
        let hold = Order::Hold {
            replies: accounts.len(),
            at_most: IN_HAND,
        };
        self.refreshing.ask(hold).await?;
        let refresh = Order::Tokens(Asking {
            force: true,
            ..Asking::of(&ids(accounts))
        });
        let refreshing = self.refreshing.order(refresh).await?;
        self.refreshing.has_replies_in_hand().await?;
        let signed_out = self.removing.sign_out(&ids(accounts), Vec::new()).await?;
        self.refreshing.ask(Order::Release).await?;
        let refreshed = refreshing.tokens().await?;
        self.check_sign_outs(accounts, &signed_out, tally);
        for (account, outcome) in accounts.iter().zip(refreshed) {
            let is_failed = self.is_failed_by_glewlwyd(&outcome, tally);
            tally.check(is_failed || outcome.asks_the_user(), || {
                let scene = self.scene;
                format!(
                    "{scene}: user {} was signed out before: {outcome:?}",
                    account.user
                )
            });
            tally.add("removed with the reply in hand", 1);
        }
        Ok(())
    }

    async fn at_any_moment(
        &self,
        accounts: &[SignedIn],
        cases: &[u64],
        tally: &mut Tally,
    ) -> Result<(), GateError> {
        let (mut refresh_after, mut remove_after) = (Vec::new(), Vec::new());
        for (&case, turn) in cases.iter().zip(0..) {
            let begin = BETWEEN_REFRESHES * turn;
            refresh_after.push(begin);
            remove_after.push(begin + REMOVED_WITHIN.mul_f64(chance(GATE.number, case).random()));
        }
        let refresh = Asking {
            force: true,
            after: refresh_after,
            ..Asking::of(&ids(accounts))
        };
        let ids = ids(accounts);
        let (refreshed, signed_out) = tokio::try_join!(
            self.refreshing.tokens(refresh),
            self.removing.sign_out(&ids, remove_after)
        )?;
        self.check_sign_outs(accounts, &signed_out, tally);
        for (account, outcome) in accounts.iter().zip(refreshed) {
            let before = matches!(outcome, Outcome::Token(_));
            let is_failed = self.is_failed_by_glewlwyd(&outcome, tally);
            tally.check(before || is_failed || outcome.asks_the_user(), || {
                format!("{}: user {}: {outcome:?}", self.scene, account.user)
            });
            tally.add("removed after the refresh", before.into());
            tally.add("removed during the refresh or before it", (!before).into());
        }
        Ok(())
    }

    /// Whether it is what the caller is told of an error of the server. That glewlwyd made it is seen by what it has granted.
    fn is_failed_by_glewlwyd(&self, outcome: &Outcome, tally: &mut Tally) -> bool {
        let is_failed = self.scene.provider.kind() == Kind::Glewlwyd && *outcome == Outcome::Unknown;
        tally.add(FAILED_BY_GLEWLWYD, is_failed.into());
        is_failed
    }

    fn check_sign_outs(&self, accounts: &[SignedIn], signed_out: &[SignedOut], tally: &mut Tally) {
        for (account, signed_out) in accounts.iter().zip(signed_out) {
            tally.check(signed_out.found, || {
                let scene = self.scene;
                format!("{scene}: user {} was not there to be signed out", account.user)
            });
        }
    }
}
