//! Gate 7: replies that are lost once the refresh token was sent.

use std::ops::Range;
use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use cache_testkit::proxy::Behaviour;

use crate::fleet::orders::{Asking, Outcome};
use crate::fleet::place::Backend;
use crate::fleet::provider::Kind;
use crate::fleet::scene::{ROTATING, Scene, ids, in_each, until_expired};
use crate::fleet::{Limits, Setup};
use crate::gate::{Gate, GateError};
use crate::stage::{Stage, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 7,
    name: "lost-reply",
    title: "the reply to a refresh is lost (dropped, cut short, half closed, reset) while four processes want the token, at two providers that rotate, over SQLite and over Redis",
    must: "0 tokens sent again, 0 sessions revoked, a typed outcome for each caller, before and after the deadline",
    unit: "lost replies",
    full_size: 1_000,
    test_size: 16,
    batch: 200,
    limits: &[
        "An issuer whose tokens survive their use is sent a token once more, after the deadline: the policy for it is another.",
        "The session is lost: only the reply held its next token. The user signs in again.",
    ],
    floors: &[
        ("replies lost", 1.0),
        ("callers told, each by a typed outcome", 8.0),
    ],
    run,
};

const PROCESSES: usize = 4;
const ARRANGEMENTS_AT_ONCE: usize = 2;
/// The lifetime of an access token, in seconds: it has expired when the refresh begins, so nothing is left to be served.
const LIFETIME: u32 = 2;
/// How the connection to the provider is lost once the request is through.
const LOSSES: [Behaviour; 4] = [
    Behaviour::DropReply { request_bytes: 1 },
    Behaviour::HalfClose { request_bytes: 1 },
    Behaviour::Reset { request_bytes: 1 },
    Behaviour::CutReply { reply_bytes: 40 },
];
/// The marker's deadline is four seconds: whoever loses the race for it waits no longer.
const LIMITS: Limits = Limits {
    request: Duration::from_secs(3),
    commit: Duration::from_secs(1),
    acquire: Duration::from_secs(60),
};

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    runtime()?.block_on(in_each(
        &ROTATING,
        cases,
        ARRANGEMENTS_AT_ONCE,
        async |(kind, backend), cases| lose(stage, kind, backend, cases.len()).await,
    ))
}

async fn lose(stage: &Stage, kind: Kind, backend: Backend, replies: usize) -> Result<Tally, GateError> {
    let mut tally = Tally::default();
    let change = |setup: &mut Setup| setup.limits = LIMITS;
    let scene = Scene::new(stage, kind, backend, LIFETIME, replies, change).await?;
    scene.versions(&mut tally).await?;
    let accounts = scene.sign_in_all(replies).await?;
    until_expired(&accounts).await;
    let losses = LOSSES.into_iter().cycle().take(replies);
    scene.provider.proxy().script(losses);
    let fleet = scene.fleet(stage, PROCESSES)?;
    let asking = Asking::of(&ids(&accounts));
    let at_first = fleet.tokens(&asking).await?;
    SystemClock.sleep(LIMITS.request + LIMITS.commit).await;
    let later = fleet.tokens(&asking).await?;
    fleet.end().await?;

    for account in 0..replies {
        let told = |answers: &[Vec<Outcome>]| {
            let told = answers.iter().map(|answers| answers[account].clone());
            told.collect::<Vec<_>>()
        };
        let (at_first, later) = (told(&at_first), told(&later));
        let count = |told: &[Outcome], outcome| told.iter().filter(|told| **told == outcome).count();
        let typed = count(&at_first, Outcome::Unknown) == 1
            && count(&at_first, Outcome::SpentUnknown) == PROCESSES - 1
            && count(&later, Outcome::SpentUnknown) == PROCESSES;
        tally.check(typed, || {
            format!("{scene}: account {account}: {at_first:?}, later {later:?}")
        });
        tally.add("callers told, each by a typed outcome", 2 * PROCESSES as u64);
    }
    let (seen, replies) = (scene.provider.seen().await?, replies as u64);
    tally.check(seen.sent == replies, || {
        format!("{scene}: {} tokens were sent again", seen.sent.abs_diff(replies))
    });
    tally.check(seen.granted == replies && seen.revoked == 0, || {
        format!("{scene}: {seen:?} for {replies} sessions")
    });
    let lost = scene.provider.proxy().statistics().replies_lost;
    tally.check(lost == replies, || format!("{scene}: {lost} replies were lost"));
    tally.add("replies lost", lost);
    tally.add("tokens sent again", seen.sent.saturating_sub(replies));
    scene.provider.tell_tried_again(&mut tally);
    Ok(tally)
}
