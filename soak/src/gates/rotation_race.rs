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
    floors: &[("expiries", 1.0), ("answers", 2.0)],
    run,
};

/// The lifetime of an access token, in seconds.
const LIFETIME: u32 = 2;
/// At most so many sessions at once in each arrangement: more than these cannot be refreshed in time by two processors.
const ACCOUNTS: usize = 50;
/// The fewest expiries of one session that are a race which goes on.
const ROUNDS: usize = 2;
/// How long one expiry of every session takes at most.
const SLOWEST_ROUND: Duration = Duration::from_secs(20);
/// How often members are told to live on where too few expiries were seen.
const PHASES: usize = 5;
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
    let began = SystemClock.now().to_seconds().0;
    let mut lives = vec![Vec::new(); accounts];
    for _ in 0..PHASES {
        let missing = (expiries as u64).saturating_sub(handed_out(&first, &lives));
        let is_refused = lives.iter().flatten().any(|outcome| outcome.token().is_none());
        if missing > 0 && !is_refused {
            live(&scene, &fleet, &first, missing, &mut lives).await?;
        }
    }
    fleet.end().await?;

    let mut tally = Tally::default();
    scene.versions(&mut tally).await?;
    let seen = scene.provider.seen().await?;
    tally.check(seen.sent == seen.granted && seen.revoked == 0, || {
        format!("{scene}: {seen:?}")
    });
    let mut most = 0;
    for (signed_in, life) in first.iter().zip(&lives) {
        most += examine(&scene, signed_in, began, life, &mut tally);
    }
    tally.check(seen.sent <= most, || {
        format!(
            "{scene}: {} refreshes while {most} tokens can have expired",
            seen.sent
        )
    });
    let expired = handed_out(&first, &lives);
    if expired < expiries as u64 && tally.violations == 0 {
        return Err(GateError::new(format!(
            "{scene}: most tokens expire before anybody gets them; this machine is too busy"
        )));
    }
    tally.add("expiries", expired);
    tally.add(&format!("expiries at {scene}"), expired);
    tally.add("refreshes", seen.granted);
    tally.add(
        "refreshes of tokens that expired unseen",
        seen.granted.saturating_sub(expired),
    );
    tally.add("sessions", accounts as u64);
    scene.provider.tell_tried_again(&mut tally);
    Ok(tally)
}

/// Lets all members live until about so many more tokens were sent, and adds what they saw of each account.
async fn live(
    scene: &Scene,
    fleet: &Fleet,
    accounts: &[SignedIn],
    more: u64,
    lives: &mut [Vec<Outcome>],
) -> Result<(), GateError> {
    let enough = scene.provider.sent() + more;
    // Sessions that have ended send nothing any more.
    let rounds = u32::try_from(more / accounts.len() as u64).unwrap_or(u32::MAX);
    let until = SystemClock.monotonic() + SLOWEST_ROUND.saturating_mul(rounds.saturating_add(1));
    let lead = async {
        while scene.provider.sent() < enough && SystemClock.monotonic() < until {
            SystemClock.sleep(Duration::from_millis(100)).await;
        }
        try_join_all(fleet.members.iter().map(|member| member.ask(Order::Stop))).await
    };
    let order = Order::Live {
        accounts: ids(accounts),
    };
    let living = try_join_all(fleet.members.iter().map(|member| member.ask(order.clone())));
    let (answers, _) = tokio::try_join!(living, lead)?;
    for answer in answers {
        let Answer::Lives(seen) = answer else {
            return Err(unexpected(&answer));
        };
        for (life, seen) in lives.iter_mut().zip(seen) {
            life.extend(seen);
        }
    }
    Ok(())
}

/// How many tokens anybody got, beside the first of each account: so many expired under the eyes of all.
fn handed_out(accounts: &[SignedIn], lives: &[Vec<Outcome>]) -> u64 {
    let of_account = |(signed_in, life): (&SignedIn, &Vec<Outcome>)| {
        let tokens = life.iter().filter_map(Outcome::token);
        let fingerprints: BTreeSet<_> = tokens.map(|token| &token.fingerprint).collect();
        fingerprints
            .iter()
            .filter(|&&token| *token != signed_in.fingerprint)
            .count() as u64
    };
    accounts.iter().zip(lives).map(of_account).sum()
}

/// Checks what was seen of one account; how many tokens can have expired in its time.
fn examine(scene: &Scene, signed_in: &SignedIn, began: i64, life: &[Outcome], tally: &mut Tally) -> u64 {
    let user = signed_in.user;
    let mut expiry_of = BTreeMap::from([(signed_in.fingerprint.as_str(), signed_in.expires_on.0)]);
    let (mut obtained, mut twice, mut refused) = (BTreeSet::new(), 0, Vec::new());
    for outcome in life {
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
    lived.unsigned_abs() / u64::from(LIFETIME)
}
