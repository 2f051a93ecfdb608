//! Gate 8: processes that are killed between a token reply and its commit.

use std::ops::Range;
use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use futures_util::future::try_join_all;
use rand::Rng;

use crate::fleet::orders::{Asking, Order, Outcome};
use crate::fleet::place::Backend;
use crate::fleet::provider::Kind;
use crate::fleet::scene::{ROTATING, Scene, SignedIn, ids, in_each};
use crate::fleet::{Fleet, Limits, Member, Setup};
use crate::gate::{Gate, GateError};
use crate::stage::{Stage, chance, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 8,
    name: "killed-spender",
    title: "`kill -9` of a process that has the reply to its refresh and has not stored it, half of the time at a random moment from the reply on, at two providers that rotate, over SQLite and over Redis",
    must: "a typed outcome for the others, at most one re-authentication, 0 tokens of a wrong user, 0 tokens sent again; the window measured",
    unit: "kills",
    full_size: 1_000,
    test_size: 16,
    batch: 100,
    limits: &[
        "Whoever is killed in the window loses the session where tokens rotate: the reply was the only place with the next token. How long the window is, in which that can happen, is in the figures.",
        "The window was measured on refreshes that were not disturbed, one at a time, from the last byte of the reply to the return of the call.",
    ],
    floors: &[
        ("processes killed", 1.0),
        ("replies lost by the kill", 0.3),
        ("windows measured", 1.0),
    ],
    run,
};

/// Two processes live on and want every token.
const SURVIVORS: usize = 2;
const ARRANGEMENTS_AT_ONCE: usize = 2;
/// Nothing expires while it runs: refreshes are forced.
const LIFETIME: u32 = 3600;
/// A marker holds for four seconds.
const LIMITS: Limits = Limits {
    request: Duration::from_secs(3),
    commit: Duration::from_secs(1),
    acquire: Duration::from_secs(60),
};
/// How long after the reply a kill comes at most, where the reply is not held: longer than the commit takes.
const KILLED_WITHIN: Duration = Duration::from_millis(10);
/// Where it is held, nothing but the kill ends that.
const IN_HAND: Duration = Duration::from_secs(60);

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    runtime()?.block_on(in_each(
        &ROTATING,
        cases,
        ARRANGEMENTS_AT_ONCE,
        async |(kind, backend), cases| kill(stage, kind, backend, &cases).await,
    ))
}

async fn kill(stage: &Stage, kind: Kind, backend: Backend, cases: &[u64]) -> Result<Tally, GateError> {
    let mut tally = Tally::default();
    let change = |setup: &mut Setup| setup.limits = LIMITS;
    let scene = Scene::new(stage, kind, backend, LIFETIME, cases.len(), change).await?;
    scene.versions(&mut tally).await?;
    let accounts = scene.sign_in_all(cases.len()).await?;
    let survivors = scene.fleet(stage, SURVIVORS)?;
    let victims = scene.fleet(stage, cases.len())?;
    let suffering = victims.members.iter().zip(&accounts).zip(cases.iter().zip(0..));
    try_join_all(suffering.map(|((victim, account), (&case, turn))| suffer(victim, account, case, turn)))
        .await?;
    tally.add("processes killed", cases.len() as u64);

    let anew = Asking {
        force: true,
        ..whose(&accounts)
    };
    let told = survivors.tokens(&anew).await?;
    let mut lost = Vec::new();
    for (index, account) in accounts.iter().enumerate() {
        let told: Vec<_> = told.iter().map(|told| &told[index]).collect();
        if told.iter().all(|told| is_of(told, account)) {
            tally.add("commits that were before the kill", 1);
        } else if told.iter().all(|told| **told == Outcome::SpentUnknown) {
            tally.add("replies lost by the kill", 1);
            lost.push(account.clone());
        } else {
            tally.violation(format_args!("{scene}: user {}: {told:?}", account.user));
        }
    }
    sign_in_again(&scene, &survivors, &lost, &mut tally).await?;
    // A session that was broken has nothing to measure.
    if tally.violations == 0 {
        measure(&survivors, &accounts, backend, &mut tally).await?;
    }
    survivors.end().await?;
    let seen = scene.provider.seen().await?;
    tally.check(seen.sent == seen.granted && seen.revoked == 0, || {
        format!("{scene}: {seen:?}")
    });
    scene.provider.tell_tried_again(&mut tally);
    Ok(tally)
}

/// Refreshes, and is killed once it has the reply: before it can store it, or at some moment from then on.
async fn suffer(victim: &Member, account: &SignedIn, case: u64, turn: u64) -> Result<(), GateError> {
    let is_held = turn.is_multiple_of(2);
    let hold = Order::Hold {
        replies: 1,
        at_most: if is_held { IN_HAND } else { Duration::ZERO },
    };
    victim.ask(hold).await?;
    let refresh = Order::Tokens(Asking {
        force: true,
        ..Asking::of(std::slice::from_ref(&account.id))
    });
    let refreshing = victim.order(refresh).await?;
    victim.has_replies_in_hand().await?;
    let after = KILLED_WITHIN.mul_f64(chance(GATE.number, case).random());
    SystemClock.sleep(after).await;
    victim.kill().await?;
    drop(refreshing);
    Ok(())
}

fn whose(accounts: &[SignedIn]) -> Asking {
    Asking {
        whose: true,
        ..Asking::of(&ids(accounts))
    }
}

/// Whether it is a token that the provider says is this user's.
fn is_of(outcome: &Outcome, account: &SignedIn) -> bool {
    let subject = outcome.token().and_then(|token| token.subject.as_deref());
    subject == Some(account.id.as_str())
}

/// Signs each of these users in, once, after which everybody is served.
async fn sign_in_again(
    scene: &Scene,
    survivors: &Fleet,
    lost: &[SignedIn],
    tally: &mut Tally,
) -> Result<(), GateError> {
    for account in lost {
        let again = scene.sign_in(account.user).await?;
        tally.check(again.id == account.id, || {
            format!("{scene}: user {} came back as another", account.user)
        });
        tally.add("re-authentications", 1);
    }
    for told in survivors.tokens(&whose(lost)).await? {
        for (account, told) in lost.iter().zip(told) {
            tally.check(is_of(&told, account), || {
                format!("{scene}: user {} signed in again: {told:?}", account.user)
            });
        }
    }
    Ok(())
}

/// How long it takes from the reply to the acknowledged commit, for each account.
async fn measure(
    survivors: &Fleet,
    accounts: &[SignedIn],
    backend: Backend,
    tally: &mut Tally,
) -> Result<(), GateError> {
    let mut windows = Vec::new();
    for (account, survivor) in accounts.iter().zip(survivors.members.iter().cycle()) {
        let anew = Asking {
            force: true,
            ..Asking::of(std::slice::from_ref(&account.id))
        };
        let told = survivor.tokens(anew).await?;
        let window = told[0].token().and_then(|token| token.after_reply);
        windows.push(window.ok_or_else(|| GateError::new(format!("no refresh: {told:?}")))?);
    }
    windows.sort_unstable();
    tally.add("windows measured", windows.len() as u64);
    if let (Some(&median), Some(&longest)) = (windows.get(windows.len() / 2), windows.last()) {
        tally.at_most(
            &format!("window over {backend} in µs, half of a batch within"),
            median,
        );
        tally.at_most(&format!("window over {backend} in µs, all within"), longest);
    }
    Ok(())
}
