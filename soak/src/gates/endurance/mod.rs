//! Gate 22: a front end and its workers live on for hours while things go wrong.

mod adversary;
mod faults;
mod judge;
pub(crate) mod lock;
mod observer;
mod process;
mod resources;

use std::ops::Range;
use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use cache_testkit::oidc_provider;
use futures_util::StreamExt;
use futures_util::future::try_join;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Mutex;

use self::adversary::Adversary;
use self::faults::Faults;
use self::observer::Observer;
use self::process::Process;
use crate::fleet::orders::{Asking, Order, Outcome};
use crate::fleet::place::{Backend, Ground};
use crate::fleet::provider::{Kind, Provider};
use crate::fleet::scene::{ROTATING, Scene, SignedIn, ids};
use crate::fleet::serving::{Part, Serving, User};
use crate::fleet::{Limits, Program, Setup};
use crate::gate::{Gate, GateError};
use crate::stage::{Stage, chance, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 22,
    name: "endurance",
    title: "a front end and two workers live on one cache, at two providers that rotate strictly, over SQLite and over Redis, all four at once, while replies are lost, workers killed, processes stopped past their deadlines, Redis paused, restarted and cut off, databases locked, providers away, keys rotated, and users signed out during refreshes",
    must: "0 tokens of others, 0 expired tokens, nobody served beyond the staleness bound after a sign-out, 0 refresh tokens sent twice, 0 sessions ended but by a fault, every failure typed and explained by a fault, everybody served in the end, 0 panics; memory, descriptors and threads flat",
    unit: "seconds",
    full_size: 7_200,
    test_size: 12,
    batch: 7_200,
    limits: &[
        "It is one life: a run that was stopped begins anew, as memory that grows slowly shows in one process only.",
        "Flat means: the median of the last quarter is at most 5 % and 1 MiB above that of the second one for private memory (heap and stacks), and at most 2 above it for descriptors and threads. A life of less than ten minutes is all warming up, and is allowed more: 50 % and 16 MiB, and 24.",
        "Servers and providers, and the worker that is killed again and again, are counted and not judged.",
        "A failure counts as explained where a fault that can cause it was there during the call, or less than 15 s before (60 s for a request that was held back). What nobody can explain so is a violation, and what a coincidence explains is missed.",
        "Where the machine itself has no time, or its disk, for half a second, that counts as a fault and is counted, but was nobody's doing.",
        "glewlwyd refuses some sign-ins for its own sake, when its database is locked: these are counted and not judged.",
    ],
    floors: &[
        ("tokens out of memory", 40.0),
        ("tokens out of the issuer", 1.0),
        ("sign-outs", 0.2),
        ("refreshes granted", 1.0),
    ],
    run,
};

/// The lifetime of an access token, in seconds: every user and every session is refreshed each few seconds.
const LIFETIME: u32 = 8;
/// Users of each arrangement.
const USERS: usize = 6;
/// How long memory is trusted, and how long it serves beyond that while the store is away.
const STALENESS: Duration = Duration::from_secs(2);
const OUTAGE: Duration = Duration::from_secs(3);
const LIMITS: Limits = Limits {
    request: Duration::from_secs(4),
    commit: Duration::from_secs(4),
    acquire: Duration::from_secs(30),
};
/// How long a marker of these limits holds.
const DEADLINE: Duration = Duration::from_secs(8);
/// How long a store may take for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// A key is retired so long after its successor came: no writer has it any more.
const RETIRED_AFTER: Duration = Duration::from_secs(125);
/// How long faults are remembered.
const REMEMBERED: Duration = Duration::from_secs(300);
/// The last part of a life, in which nothing goes wrong.
const CALM: Duration = Duration::from_secs(2);
/// How long it may take in the end until everybody is served: until no process holds requests back any more.
const UNTIL_SERVED: Duration = Duration::from_secs(120);

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    let life = Duration::from_secs(cases.end - cases.start);
    let (began, worked) = (SystemClock.monotonic(), resources::processor_time());
    runtime()?.block_on(async {
        let lives = ROTATING.iter().zip(0..);
        let lives = lives.map(|(&(kind, backend), number)| live(stage, kind, backend, life, number));
        let mut tally = Tally::default();
        let mut lives: FuturesUnordered<_> = lives.collect();
        while let Some(lived) = lives.next().await {
            tally.merge(lived?);
            if tally.violations > 0 {
                break;
            }
        }
        // Until those that were killed in the end have been waited for.
        SystemClock.sleep(Duration::from_millis(500)).await;
        let worked = resources::processor_time().saturating_sub(worked);
        let lasted = SystemClock.monotonic().saturating_sub(began);
        let percent = worked.as_millis() * 100 / lasted.as_millis().max(1);
        tally.at_most("processor time in percent of one processor", percent as u64);
        Ok(tally)
    })
}

async fn live(
    stage: &Stage,
    kind: Kind,
    backend: Backend,
    life: Duration,
    number: u64,
) -> Result<Tally, GateError> {
    let provider = Provider::start(kind, LIFETIME, USERS).await?;
    let ground = Ground::prepare(stage, backend, true).await?;
    let scene = Scene::on(ground, provider, backend, |setup| arrange(setup, kind)).await?;
    let tally = Mutex::new(Tally::default());
    scene.versions(&mut *tally.lock().await).await?;
    // By whoever leads, who so learns what the issuer calls them.
    let users = scene.sign_in_all(USERS).await?;
    scene.provider.proxy().keep_exchanges();
    let processes = start(stage, &scene, &users, life, number).await?;
    let faults = Faults::default();
    let observer = Observer::new(&scene, &processes, USERS, &faults, &tally);
    let adversary = Adversary {
        stage,
        scene: &scene,
        processes: &processes,
        faults: &faults,
        rotated: Mutex::default(),
    };
    let is_over = Mutex::new(false);
    let folder = stage.folder()?;
    let end = SystemClock.monotonic() + life;
    let kinds = if backend == Backend::Redis { 8 } else { 6 };
    // Each kind every two minutes or three, or once in a short life.
    let between = ((life.saturating_sub(DEADLINE)) / kinds).min(Duration::from_secs(20));
    let raging = async {
        let chance = chance(GATE.number, number);
        adversary
            .rage(chance, between, end.saturating_sub(CALM), &tally)
            .await?;
        let calm = end.saturating_sub(SystemClock.monotonic());
        SystemClock.sleep(calm).await;
        serve_everybody(&scene, &processes, &users, &tally).await?;
        *is_over.lock().await = true;
        Ok(())
    };
    let watching = async {
        observer.watch(&is_over).await;
        Ok::<_, GateError>(())
    };
    let is_whole = tokio::select! {
        lived = try_join(raging, watching) => lived.map(|_| true)?,
        stalled = observer.look_at_the_machine(folder.path()) => stalled.map(|()| true)?,
        () = observer.violated() => false,
    };
    if is_whole {
        observer.judge_resources(life).await;
        check_issuer(&scene, &tally).await?;
    }
    tally
        .lock()
        .await
        .add("seconds lived, of all arrangements", life.as_secs());
    if is_whole {
        for process in processes {
            process.end().await?;
        }
    }
    let mut tally = tally.into_inner();
    for example in &mut tally.examples {
        if !example.starts_with(&scene.to_string()) {
            example.insert_str(0, &format!("{scene}: "));
        }
    }
    Ok(tally)
}

/// What all processes of an arrangement are told.
fn arrange(setup: &mut Setup, kind: Kind) {
    setup.limits = LIMITS;
    setup.max_staleness = STALENESS;
    setup.outage = OUTAGE;
    setup.patience = PATIENCE;
    setup.issuer.others_port = setup.issuer.refresh_port;
    if kind == Kind::OidcProvider {
        oidc_provider::SERVICE_CLIENT_ID.clone_into(&mut setup.issuer.client_id);
        setup.issuer.is_confidential = true;
    }
}

async fn start(
    stage: &Stage,
    scene: &Scene,
    users: &[SignedIn],
    life: Duration,
    number: u64,
) -> Result<Vec<Process>, GateError> {
    let password = scene.provider.credential(0).1.to_owned();
    let named = |user: &SignedIn| User {
        name: scene.provider.credential(user.user).0,
        id: user.id.clone(),
    };
    let longest = (life / 4).min(Duration::from_secs(30));
    let front_end = Part::FrontEnd {
        password,
        stays: (longest / 4, longest),
        away: STALENESS + Duration::from_millis(500),
    };
    let places = [
        ("front end", Program::FrontEnd, front_end),
        ("worker", Program::Worker, Part::Worker),
        ("mortal worker", Program::Worker, Part::Worker),
    ];
    let mut processes = Vec::new();
    for ((name, program, part), place) in places.into_iter().zip(0..) {
        let setup = Setup {
            program,
            ..scene.setup.clone()
        };
        let serving = Serving {
            part,
            users: users.iter().map(named).collect(),
            sessions: scene.provider.kind() == Kind::OidcProvider,
            seed: number * 10 + place,
        };
        processes.push(Process::start(stage, name, setup, serving).await?);
    }
    Ok(processes)
}

/// Nobody is signed out any more, and nothing goes wrong: everybody is served by all processes.
async fn serve_everybody(
    scene: &Scene,
    processes: &[Process],
    users: &[SignedIn],
    tally: &Mutex<Tally>,
) -> Result<(), GateError> {
    let began = SystemClock.monotonic();
    let mut members = Vec::new();
    for process in processes {
        members.push(process.current().await.1);
    }
    members[judge::FRONT_END].ask(Order::Settle).await?;
    let asking = Asking {
        whose: true,
        ..Asking::of(&ids(users))
    };
    for (process, member) in members.iter().enumerate() {
        loop {
            // Who is not signed in is not listed, which is an error to who asks for the account.
            let outcomes = member.tokens(asking.clone()).await;
            let is_served = |(user, outcome): (&SignedIn, &Outcome)| {
                let subject = outcome.token().and_then(|token| token.subject.as_ref());
                subject == Some(&user.id)
            };
            let waited = SystemClock.monotonic().saturating_sub(began);
            if let Ok(outcomes) = &outcomes
                && users.iter().zip(outcomes).all(is_served)
            {
                let mut tally = tally.lock().await;
                let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                tally.at_most("ms in the end until everybody was served", waited);
                tally.add("users served by a process in the end", outcomes.len() as u64);
                break;
            }
            if waited > UNTIL_SERVED {
                let mut tally = tally.lock().await;
                tally.violation(format_args!(
                    "{scene}: process {process} does not serve everybody in the end: {outcomes:?}"
                ));
                return Ok(());
            }
            SystemClock.sleep(Duration::from_millis(300)).await;
        }
    }
    Ok(())
}

/// The issuer ended no session by itself.
async fn check_issuer(scene: &Scene, tally: &Mutex<Tally>) -> Result<(), GateError> {
    let seen = scene.provider.seen().await?;
    let mut tally = tally.lock().await;
    let asked = tally.count("revocations sent");
    tally.check(seen.revoked <= asked && seen.reused == 0, || {
        format!("{scene}: {seen:?}, and {asked} revocations were sent")
    });
    tally.add(
        "sessions ended by the issuers, at a client's request",
        seen.revoked,
    );
    Ok(())
}

const _: () = assert!(
    LIMITS.request.as_secs() + LIMITS.commit.as_secs() == DEADLINE.as_secs(),
    "the marker's deadline"
);
