//! Gate 6: processes that ask for a token at the very moment when it expires, again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use futures_util::future::try_join_all;

use crate::fleet::orders::{Answer, Order, Outcome};
use crate::fleet::place::Backend;
use crate::fleet::provider::Kind;
use crate::fleet::scene::{ROTATING, Scene, SignedIn, ids, in_each};
use crate::fleet::{Fleet, PROCESSES, unexpected};
use crate::gate::{Gate, GateError};
use crate::stage::{Stage, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 6,
    name: "rotation-race",
    title: "16 processes that race for each expiry of tokens of 2 s, at two providers that rotate strictly, over SQLite and over Redis",
    must: "1 refresh for each expiry, 0 refused, 0 sessions revoked, everybody served",
    unit: "expiries",
    full_size: 10_000,
    test_size: 80,
    batch: 2_000,
    limits: &[
        "All processes share one machine and its clock.",
        "A token that expires before it is stored, on a machine that is busy beyond measure, is replaced unseen; these are counted.",
    ],
    run,
};

/// The lifetime of an access token, in seconds.
const LIFETIME: u32 = 2;
/// At most so many sessions at once in each arrangement.
const ACCOUNTS: usize = 100;
/// The fewest expiries of one session that are a race which goes on.
const ROUNDS: usize = 2;
/// Two fleets are enough for two processors.
const ARRANGEMENTS_AT_ONCE: usize = 2;

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    runtime()?.block_on(in_each(
        &ROTATING,
        cases,
        ARRANGEMENTS_AT_ONCE,
        async |(kind, backend), expiries| race(stage, kind, backend, expiries.len()).await,
    ))
}

async fn race(stage: &Stage, kind: Kind, backend: Backend, expiries: usize) -> Result<Tally, GateError> {
    let accounts = (expiries / ROUNDS).clamp(1, ACCOUNTS);
    let scene = Scene::new(stage, kind, backend, LIFETIME, accounts, |_| ()).await?;
    let first = scene.sign_in_all(accounts).await?;
    let fleet = scene.fleet(stage, PROCESSES)?;
    let (clock, began) = (SystemClock, SystemClock.now().to_seconds().0);
    let lead = async {
        while scene.provider.sent() < expiries as u64 {
            clock.sleep(Duration::from_millis(100)).await;
        }
        try_join_all(fleet.members.iter().map(|member| member.ask(Order::Stop))).await
    };
    let (lives, _) = tokio::try_join!(live(&fleet, &first), lead)?;
    fleet.end().await?;

    let mut tally = Tally::default();
    scene.versions(&mut tally).await?;
    let seen = scene.provider.seen().await?;
    tally.check(seen.sent == seen.granted && seen.revoked == 0, || {
        format!("{scene}: {seen:?}")
    });
    let (mut handed_out, mut most) = (0, 0);
    for (number, signed_in) in first.iter().enumerate() {
        let lives: Vec<_> = lives.iter().map(|life| life[number].as_slice()).collect();
        let life = examine(&scene, signed_in, began, &lives, &mut tally);
        handed_out += life.handed_out;
        most += life.most;
    }
    tally.check(seen.sent <= most, || {
        format!(
            "{scene}: {} refreshes while {most} tokens can have expired",
            seen.sent
        )
    });
    tally.add("expiries", seen.sent);
    tally.add("refreshes", seen.granted);
    tally.add(
        "of tokens that expired unseen",
        seen.granted.saturating_sub(handed_out),
    );
    tally.add(&format!("expiries at {scene}"), seen.sent);
    tally.add("sessions", accounts as u64);
    Ok(tally)
}

/// What each member saw of each account.
async fn live(fleet: &Fleet, accounts: &[SignedIn]) -> Result<Vec<Vec<Vec<Outcome>>>, GateError> {
    let order = Order::Live {
        accounts: ids(accounts),
    };
    let lives = fleet.members.iter().map(|member| member.ask(order.clone()));
    try_join_all(lives)
        .await?
        .into_iter()
        .map(|answer| match answer {
            Answer::Lives(lives) => Ok(lives),
            other => Err(unexpected(&other)),
        })
        .collect()
}

/// What a session's life comes to.
struct Life {
    /// How many tokens anybody got, beside the first.
    handed_out: u64,
    /// How many can have expired in its time.
    most: u64,
}

fn examine(scene: &Scene, signed_in: &SignedIn, began: i64, lives: &[&[Outcome]], tally: &mut Tally) -> Life {
    let user = signed_in.user;
    let mut expiry_of = BTreeMap::from([(signed_in.fingerprint.as_str(), signed_in.expires_on.0)]);
    let (mut obtained, mut twice, mut refused) = (BTreeSet::new(), 0, Vec::new());
    for outcome in lives.iter().copied().flatten() {
        tally.add("answers", 1);
        let Some(token) = outcome.token() else {
            refused.push(outcome);
            continue;
        };
        expiry_of.insert(&token.fingerprint, token.expires_on);
        if token.is_of_authority && !obtained.insert(&token.fingerprint) {
            twice += 1;
        }
    }
    tally.check(refused.is_empty(), || {
        let times = refused.len();
        format!(
            "{scene}: user {user} was not served {times} times: {:?}",
            refused[0]
        )
    });
    tally.check(twice == 0, || {
        format!("{scene}: user {user}: {twice} tokens that two say they obtained")
    });
    let mut ends: Vec<i64> = expiry_of.into_values().collect();
    ends.sort_unstable();
    tally.check(
        ends.windows(2).all(|pair| pair[1] - pair[0] >= LIFETIME.into()),
        || format!("{scene}: user {user}: a token was replaced before it had expired: {ends:?}"),
    );
    tally.check(ends.len() > 1, || format!("{scene}: user {user} was left out"));
    let last = ends.last().copied().unwrap_or_default();
    let lived = last - began.max(signed_in.expires_on.0);
    Life {
        handed_out: ends.len() as u64 - 1,
        most: lived.unsigned_abs() / u64::from(LIFETIME),
    }
}
