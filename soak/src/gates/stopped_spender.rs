//! Gate 9: a process that is stopped between its request and its commit, for longer than its time, and wakes with the replies in its hands.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use cache_core::store::Record;
use futures_util::future::try_join_all;

use crate::fleet::orders::{Asking, Order, Outcome};
use crate::fleet::place::Backend;
use crate::fleet::provider::Kind;
use crate::fleet::scene::{Scene, SignedIn, ids, in_each, until_expired};
use crate::fleet::{Limits, Member, Setup};
use crate::gate::{Gate, GateError};
use crate::stage::{Stage, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 9,
    name: "stopped-spender",
    title: "a process that sent refresh tokens is stopped (`SIGSTOP`) past its deadline and woken with the replies in its hands, over SQLite and over Redis",
    must: "its commits refused, 0 records overwritten; where tokens rotate 0 tokens are sent again, everybody else is told each time that the \
           token may be spent, and so is the woken process, at first perhaps that the outcome is unknown; where reuse is safe the session lives on",
    unit: "spends of stopped processes",
    full_size: 1_000,
    test_size: 12,
    batch: 60,
    limits: &[
        "A stop holds up all spends of its process: 10 each at full size, so that the 1,000 are of about a hundred stops.",
        "A session whose spender was stopped is lost where tokens rotate: the issuer has replaced the token, and only the sleeper knows by which.",
        "A process that is stopped after its last look at the clock and before the first byte of its request sends late.",
    ],
    floors: &[("spends of stopped processes", 1.0), ("processes stopped", 0.01)],
    run,
};

const ARRANGEMENTS: [(Kind, Backend); 6] = [
    (Kind::OidcProvider, Backend::Sqlite),
    (Kind::Glewlwyd, Backend::Redis),
    (Kind::ReuseSafe, Backend::Sqlite),
    (Kind::OidcProvider, Backend::Redis),
    (Kind::Glewlwyd, Backend::Sqlite),
    (Kind::ReuseSafe, Backend::Redis),
];
/// Most of a case's time is waiting.
const ARRANGEMENTS_AT_ONCE: usize = 3;
/// One is stopped, the others want its tokens meanwhile.
const PROCESSES: usize = 8;
/// A marker holds for five seconds.
const LIMITS: Limits = Limits {
    request: Duration::from_secs(4),
    commit: Duration::from_secs(1),
    acquire: Duration::from_secs(60),
};
/// How long the replies are in hand: enough to be stopped, and over long before the spender is woken.
const IN_HAND: Duration = Duration::from_millis(1_500);
/// The lifetime of access tokens, in seconds: that of the first ones, and of all where tokens rotate, as no other reaches anybody.
const LIFETIME: u32 = 2;
const HOUR: u32 = 3600;

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    runtime()?.block_on(in_each(
        &ARRANGEMENTS,
        cases,
        ARRANGEMENTS_AT_ONCE,
        async |(kind, backend), spends| {
            let spends = spends.len();
            let change = |setup: &mut Setup| setup.limits = LIMITS;
            let scene = Scene::new(stage, kind, backend, LIFETIME, spends, change).await?;
            stop_and_wake(stage, &scene, spends).await
        },
    ))
}

async fn stop_and_wake(stage: &Stage, scene: &Scene, spends: usize) -> Result<Tally, GateError> {
    let mut tally = Tally::default();
    scene.versions(&mut tally).await?;
    let accounts = scene.sign_in_all(spends).await?;
    until_expired(&accounts).await;
    let rotates = scene.provider.kind() != Kind::ReuseSafe;
    if !rotates {
        scene.provider.set_lifetime(HOUR).await?;
    }
    let fleet = scene.fleet(stage, PROCESSES)?;
    let [spender, others @ ..] = &fleet.members[..] else {
        return Err(GateError::new("a fleet without members"));
    };
    let asking = Asking::of(&ids(&accounts));
    let hold = Order::Hold {
        replies: spends,
        at_most: IN_HAND,
    };
    spender.ask(hold).await?;
    let spending = spender.order(Order::Tokens(asking.clone())).await?;
    spender.has_replies_in_hand().await?;
    spender.stop()?;
    let meanwhile = ask_all(others, &asking).await?;
    let left = records(scene, &accounts).await?;
    spender.wake()?;
    let woken = spending.tokens().await?;
    let afterwards = ask_all(&fleet.members, &asking).await?;
    fleet.end().await?;

    tally.add("processes stopped", 1);
    tally.add("spends of stopped processes", spends as u64);
    for (index, (before, after)) in left.iter().zip(records(scene, &accounts).await?).enumerate() {
        tally.check(
            before.version == after.version && before.payload == after.payload,
            || format!("{scene}: account {index} was written again by the one that was stopped"),
        );
    }
    for index in 0..spends {
        let of = |answers: &[Vec<Outcome>]| answers.iter().map(|answers| answers[index].clone()).collect();
        let told = Told {
            meanwhile: of(&meanwhile),
            woken: woken[index].clone(),
            afterwards: of(&afterwards),
        };
        if rotates {
            told.ask_the_user(scene, index, &mut tally);
        } else {
            told.lives_on(scene, index, &mut tally);
        }
    }
    let seen = scene.provider.seen().await?;
    let (sent, spends) = (seen.sent, spends as u64);
    let expected = if rotates { spends } else { 2 * spends };
    tally.check(sent == expected && seen.granted == sent, || {
        format!("{scene}: {seen:?} after {spends} spends of a stopped process")
    });
    if rotates {
        // What its reply brought is revoked by whoever may not store it, as nobody could use it.
        tally.check(seen.revoked <= spends, || format!("{scene}: {seen:?}"));
        tally.add(
            &format!("late replies revoked at {}", scene.provider.kind()),
            seen.revoked,
        );
    } else {
        tally.check(seen.revoked == 0, || format!("{scene}: {seen:?}"));
    }
    scene.provider.tell_tried_again(&mut tally);
    Ok(tally)
}

async fn ask_all(members: &[Member], asking: &Asking) -> Result<Vec<Vec<Outcome>>, GateError> {
    try_join_all(members.iter().map(|member| member.tokens(asking.clone()))).await
}

/// What lies in the store.
async fn records(scene: &Scene, accounts: &[SignedIn]) -> Result<Vec<Record>, GateError> {
    let mut records = Vec::new();
    for account in accounts {
        let record = scene.record(account).await?;
        records.push(record.ok_or_else(|| GateError::new("an account has no record"))?);
    }
    Ok(records)
}

/// What everybody was told of one account.
struct Told {
    /// The others, while the spender was stopped.
    meanwhile: Vec<Outcome>,
    /// The spender, once it was woken.
    woken: Outcome,
    /// All, at the end.
    afterwards: Vec<Outcome>,
}

impl Told {
    fn all(&self) -> impl Iterator<Item = &Outcome> {
        let woken = std::iter::once(&self.woken);
        self.meanwhile.iter().chain(woken).chain(&self.afterwards)
    }

    fn ask_the_user(&self, scene: &Scene, index: usize, tally: &mut Tally) {
        let is_typed = |outcome: &Outcome| *outcome == Outcome::SpentUnknown;
        let others = self.meanwhile.iter().chain(&self.afterwards);
        // Whether the sleeper finds its reply or the end of its time first is the system's choice.
        let woken = is_typed(&self.woken) || self.woken == Outcome::Unknown;
        tally.check(woken && others.into_iter().all(is_typed), || {
            format!("{scene}: account {index}: {:?}", self.all().collect::<Vec<_>>())
        });
        let kind = scene.provider.kind();
        tally.add(&format!("outcomes typed at {kind}"), 1);
        tally.add(
            "woken with an unknown outcome",
            (self.woken == Outcome::Unknown).into(),
        );
    }

    fn lives_on(&self, scene: &Scene, index: usize, tally: &mut Tally) {
        let tokens: Vec<_> = self.all().filter_map(Outcome::token).collect();
        let different: BTreeSet<_> = tokens.iter().map(|token| &token.fingerprint).collect();
        let obtained = self.meanwhile.iter().filter_map(Outcome::token);
        let obtained = obtained.filter(|token| token.is_of_authority).count();
        tally.check(
            tokens.len() == self.all().count() && different.len() == 1 && obtained == 1,
            || format!("{scene}: account {index}: {:?}", self.all().collect::<Vec<_>>()),
        );
        tally.add("sessions that live on where reuse is safe", 1);
    }
}
