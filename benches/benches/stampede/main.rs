//! Stampedes: what it costs that many tasks, in one process or several, need one token at the same moment.

mod fleet;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use benches::harness::{
    Estimate, Operation, Question, QuestionError, Row, answer, at_most, exactly, on, prepared_on,
};
use benches::payload::{FakeAuthority, LIFETIME, Payload, fill, open};
use cache_core::cache::{AcquireOptions, TokenCache};
use cache_core::codec::BincodeCodec;
use cache_core::store::{MemoryStore, Store};
use cache_core::strategy::Strategy;
use cache_core::strategy::flights::{Flights, Landing};
use cache_core::time::{Clock, SystemClock, UnixSeconds};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

fn main() -> ExitCode {
    if let Some(member) = fleet::Member::of_this_process() {
        return member.run();
    }
    answer(
        "stampede",
        "What does it cost that 1,000 tasks need one token at the same moment?",
        ask,
    )
}

const TASKS: usize = 1000;
/// How long the authority takes.
const LATENCY: Duration = Duration::from_millis(50);

fn ask(question: &mut Question) -> Result<(), QuestionError> {
    let one = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let two = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    the_wrapper(question, &one);
    the_flights(question, &one, "one thread");
    the_flights(question, &two, "two threads");
    the_cache(question, &one)?;
    the_fleet(question)?;
    for paragraph in MEANS {
        question.means(paragraph);
    }
    Ok(())
}

const MEANS: [&str; 3] = [
    "Whoever needs a token that somebody else is already getting waits for that. The one request is made by a task of its own, so that it is not lost \
     when the caller who began it goes away; everybody else costs a look at a table and a place in a queue.",
    "Over processes the store decides: one of them writes that it is spending the refresh token, the others wait for the change. A process that is \
     alone pays for that with two commits.",
    "There is nothing to choose here: requests are merged unless `Coalescing::None` says otherwise, and that is for measurements.",
];

/// What merging costs whoever is alone.
fn the_wrapper(question: &mut Question, runtime: &Runtime) {
    let flights = Flights::<[u64; 4], u64>::new();
    let measured = question
        .compare("one caller, nobody else")
        .limit(
            "a spawned task, awaited",
            on(runtime, async || tokio::spawn(async { 1_u64 }).await.unwrap_or(0)),
        )
        .variant(
            "Flights::join",
            on(runtime, async || {
                flights
                    .join(std::hint::black_box([1, 2, 3, 4]), || async { 1_u64 })
                    .await
            }),
        )
        .run();
    let microseconds = measured
        .nanoseconds("Flights::join")
        .map(|time| scaled(time, 1e-3));
    question
        .target(
            Row::Stampede,
            "µs for the wrapper on an uncontended miss, its task included",
            at_most(0.3),
            microseconds,
        )
        .reason(
            "spawning the leader as a task of its own, which no caller's cancellation stops, is most of it",
        )
        .next_idea("poll the work in place until it first waits, and spawn only what is left");
}

/// The mechanism alone, with work that takes no time.
fn the_flights(question: &mut Question, runtime: &Runtime, on_threads: &str) {
    let flights = Arc::new(Flights::<[u64; 4], u64>::new());
    let counted = Arc::new(AtomicUsize::new(0));
    let started = Arc::new(AtomicUsize::new(0));
    let join = {
        let (counted, started) = (Arc::clone(&counted), Arc::clone(&started));
        move || {
            started.fetch_add(1, Ordering::Relaxed);
            let (flights, counted) = (Arc::clone(&flights), Arc::clone(&counted));
            async move {
                let work = || async move { counted.fetch_add(1, Ordering::Relaxed) as u64 };
                all(TASKS, move |_| {
                    let (flights, work) = (Arc::clone(&flights), work.clone());
                    async move { flights.join([1, 2, 3, 4], work).await == Landing::Lost }
                })
                .await
            }
        }
    };
    let measured = question
        .compare(&format!("1,000 tasks, the flights alone, {on_threads}"))
        .limit("a bare Notify", on(runtime, bare_notify))
        .variant("Flights::join", on(runtime, async || join().await))
        .batch(Duration::from_millis(5))
        .run();
    if on_threads == "one thread" {
        question
            .target(
                Row::Stampede,
                "× a bare Notify, 1,000 tasks, the flights alone",
                at_most(1.3),
                measured.ratio("Flights::join"),
            )
            .reason("each task looks at the table under its lock, and clones the result")
            .next_idea("a table that readers need no lock for");
    }
}

/// 1,000 tasks that wait for one that does nothing.
async fn bare_notify() {
    let flight = Arc::new((OnceLock::new(), Notify::new()));
    let waiting = {
        let flight = Arc::clone(&flight);
        all(TASKS, move |task| {
            let flight = Arc::clone(&flight);
            async move {
                let landed = flight.1.notified();
                if task == 0 {
                    let flight = Arc::clone(&flight);
                    tokio::spawn(async move {
                        let _ = flight.0.set(1_u64);
                        flight.1.notify_waiters();
                    });
                }
                if flight.0.get().is_none() {
                    landed.await;
                }
                flight.0.get().copied()
            }
        })
    };
    waiting.await;
}

/// Runs `count` tasks to their end.
async fn all<F>(count: usize, make: impl Fn(usize) -> F)
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let tasks: Vec<_> = (0..count).map(|task| tokio::spawn(make(task))).collect();
    for task in tasks {
        let _ = task.await;
    }
}

/// Whole acquisitions of a token that has expired.
fn the_cache(question: &mut Question, runtime: &Runtime) -> Result<(), QuestionError> {
    for (name, latency) in [
        ("an authority that takes 50 ms", LATENCY),
        ("an authority that takes no time", Duration::ZERO),
    ] {
        let comparison = format!("1,000 tasks, one expiry, {name}");
        if !question.wants(&comparison) {
            continue;
        }
        let rounds = question.sized(15, 1);
        let stampede = runtime.block_on(Stampede::new(8 * (rounds + 4), latency))?;
        let stampede = Arc::new(stampede);
        let turn = if latency.is_zero() {
            Duration::from_millis(1)
        } else {
            LATENCY
        };
        let measured = question
            .compare(&comparison)
            .limit("a bare Notify", waiting_for(runtime, latency))
            .variant("TokenCache::acquire", stampede.operation(runtime, false))
            .variant("the first caller is cancelled", stampede.operation(runtime, true))
            .batch(turn)
            .rounds(rounds)
            .run();
        let asked = stampede.requests_a_stampede();
        question.count(&format!("requests, {name}"), asked, "requests a stampede");
        question
            .target(
                Row::Stampede,
                &format!("requests for 1,000 tasks, also when the first is cancelled, {name}"),
                exactly(1.0),
                Estimate::exact(asked),
            )
            .reason("a caller began its look before another's answer was stored")
            .next_idea("look at the answer once more before asking");
        if latency == LATENCY {
            question
                .target(
                    Row::Stampede,
                    "× a bare Notify, 1,000 tasks, the whole acquisition, 50 ms at the authority",
                    at_most(1.3),
                    measured.ratio("TokenCache::acquire"),
                )
                .reason("two commits for the marker and the tokens, and a look at the store")
                .next_idea("hand the tokens to the waiters while they are being stored");
        }
    }
    Ok(())
}

/// As [`bare_notify`], for what takes `latency`.
fn waiting_for(runtime: &Runtime, latency: Duration) -> Operation<'_> {
    on(runtime, async move || {
        let flight = Arc::new((OnceLock::new(), Notify::new()));
        let leader = Arc::clone(&flight);
        tokio::spawn(async move {
            if !latency.is_zero() {
                SystemClock.sleep(latency).await;
            }
            let _ = leader.0.set(1_u64);
            leader.1.notify_waiters();
        });
        all(TASKS, move |_| {
            let flight = Arc::clone(&flight);
            async move {
                let landed = flight.1.notified();
                if flight.0.get().is_none() {
                    landed.await;
                }
                flight.0.get().copied()
            }
        })
        .await;
    })
}

/// Users whose access tokens have expired, one for each stampede.
struct Stampede {
    cache: TokenCache,
    payload: Payload,
    authority: FakeAuthority,
    latency: Duration,
    next: AtomicUsize,
    begun: AtomicUsize,
    requests: Arc<AtomicUsize>,
}

impl Stampede {
    async fn new(users: usize, latency: Duration) -> Result<Self, QuestionError> {
        let now = SystemClock.now().to_seconds();
        let payload = Payload::new(5, UnixSeconds(now.0 - 2 * 3900));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let cache = open(Arc::clone(&store), Strategy::web_front_end()).await?;
        let partitions = (0..users).map(|user| payload.partition(user, 1));
        fill(&store, cache.sealer(), &BincodeCodec, partitions).await?;
        Ok(Self {
            authority: FakeAuthority::granting(
                Arc::new(SystemClock),
                latency,
                payload.response(0, 0),
                LIFETIME,
            ),
            cache,
            payload,
            latency,
            next: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            requests: Arc::default(),
        })
    }

    fn operation<'a>(self: &Arc<Self>, runtime: &'a Runtime, cancel_first: bool) -> Operation<'a> {
        let (before, this) = (Arc::clone(self), Arc::clone(self));
        prepared_on(
            runtime,
            async move || before.next.fetch_add(1, Ordering::Relaxed),
            async move |user| this.run(user, cancel_first).await,
        )
    }

    async fn run(&self, user: usize, cancel_first: bool) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let granting = FakeAuthority::granting(
            Arc::new(SystemClock),
            self.latency,
            self.payload.response(user, 0),
            LIFETIME,
        );
        let authority = Arc::new(granting.counting_with(&self.authority));
        let request = self.payload.request(user, 0);
        let acquire = move |_| {
            let (cache, request, authority) =
                (self.cache.clone(), Arc::clone(&request), Arc::clone(&authority));
            async move {
                let acquired = cache.acquire(request, AcquireOptions::default(), authority).await;
                acquired.is_ok()
            }
        };
        if cancel_first {
            let first = tokio::spawn(acquire(0));
            // It has asked, and waits.
            tokio::task::yield_now().await;
            first.abort();
        }
        let succeeded = Arc::clone(&self.requests);
        all(TASKS, move |task| {
            let (acquired, succeeded) = (acquire(task), Arc::clone(&succeeded));
            async move {
                if acquired.await {
                    succeeded.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
        .await;
    }

    /// Not a number where a task got no token.
    fn requests_a_stampede(&self) -> f64 {
        let begun = self.begun.load(Ordering::Relaxed);
        if self.requests.load(Ordering::Relaxed) != begun * TASKS {
            return f64::NAN;
        }
        self.authority.requests() as f64 / begun as f64
    }
}

/// Several processes over one store.
fn the_fleet(question: &mut Question) -> Result<(), QuestionError> {
    for processes in [1, 4, 8] {
        let name = format!("{TASKS} tasks in each of {processes} processes");
        if !question.wants(&name) {
            continue;
        }
        let rounds = question.sized(5, 1);
        let outcome = fleet::run(processes, TASKS, rounds, LATENCY)?;
        question.count(
            &format!("{name}: requests"),
            outcome.requests as f64 / rounds as f64,
            "requests a stampede",
        );
        question.count(
            &format!("{name}: until the last has its token, median"),
            outcome.slowest.as_secs_f64() * 1e3,
            "ms",
        );
        question
            .target(
                Row::Stampede,
                &format!("requests, {name}, over SQLite"),
                exactly(1.0),
                Estimate::exact(outcome.requests as f64 / rounds as f64),
            )
            .reason("a process did not see the other's marker")
            .next_idea("look at the store's log of changes");
    }
    Ok(())
}

fn scaled(time: Estimate, by: f64) -> Estimate {
    Estimate {
        median: time.median * by,
        lower: time.lower * by,
        upper: time.upper * by,
    }
}
