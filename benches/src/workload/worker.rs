//! A process that asks for tokens: the same program again, told by its parent what to do.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::time::{Clock, SystemClock};
use futures_util::{StreamExt, stream};

use super::calls::{Authority, Prepared};
use super::counting::CountingStore;
use super::error::BenchError;
use super::file::Workload;
use super::filling;
use super::grants::Grants;
use super::link::{Job, Link};
use super::measured::{Calls, PIECES, Share};
use super::sequence::{Sequence, Subject};
use super::usage;

/// How long a worker's last refreshes and writes may take.
const LAST_WRITES: Duration = Duration::from_secs(20);

/// How many tokens are asked for at the same time before the run.
const AT_ONCE: usize = 16;

/// How many requests a task that never pauses makes before it lets others run.
const IN_A_ROW: u32 = 64;

/// Does what the parent says on standard input, and answers on standard output.
///
/// # Errors
/// [`BenchError`], also when the parent is gone.
pub async fn serve() -> Result<(), BenchError> {
    let (link, job, writing) = Link::open().await?;
    let work = async {
        let share = if job.workload.is_short_lived() {
            live_shortly(&link, &job).await?
        } else {
            live_on(&link, &job).await?
        };
        link.done(share);
        Ok(())
    };
    tokio::select! {
        result = work => result?,
        () = link.orphaned() => return Err(BenchError::Orphaned),
    }
    let _ = writing.await;
    Ok(())
}

/// What the tasks of a worker share.
struct Shared {
    cache: TokenCache,
    requests: Vec<Prepared>,
    workload: Arc<Workload>,
    seed: u64,
    process: u32,
    measured_from: Duration,
    until: Duration,
}

async fn live_on(link: &Arc<Link>, job: &Job) -> Result<Share, BenchError> {
    let workload = Arc::new(job.workload.clone());
    let size_before = usage::resident_bytes();
    let open = job.place.open().await?;
    let (store, counters) = CountingStore::new(open.store());
    let cache = filling::open(store, &job.strategy, &job.key).await?;
    if job.fills {
        filling::fill(&cache, &workload, &job.strategy, false).await?;
    }
    let grants = Grants::new(Arc::clone(&workload));
    let requests = Subject::all(&workload)
        .map(|subject| Prepared::new(&cache, &grants, subject, Authority::Parent(Arc::clone(link))))
        .collect::<Vec<_>>();
    see_all(&cache, &requests).await;
    link.ready().await;

    let clock = SystemClock;
    let measured_from = clock.monotonic() + Duration::from_secs_f64(workload.load.warm_up_seconds);
    let shared = Arc::new(Shared {
        cache: cache.clone(),
        requests,
        seed: job.seed,
        process: job.process,
        measured_from,
        until: measured_from + Duration::from_secs_f64(workload.load.seconds),
        workload: Arc::clone(&workload),
    });
    let tasks: Vec<_> = (0..workload.load.tasks)
        .map(|task| tokio::spawn(ask_until_the_end(Arc::clone(&shared), task)))
        .collect();
    clock.sleep(measured_from.saturating_sub(clock.monotonic())).await;
    let (cpu_before, store_before) = (usage::processor_time(), counters.read());
    let mut share = Share::default();
    for task in tasks {
        match task.await {
            Ok(calls) => share.calls.add(&calls),
            Err(error) => share.calls.note_error(&error),
        }
    }
    share.store = counters.read().since(&store_before);
    share.cpu_nanoseconds = elapsed(cpu_before, usage::processor_time());
    share.grown_bytes = usage::resident_bytes()
        .zip(size_before)
        .map(|(after, before)| after.saturating_sub(before));
    cache.shutdown(LAST_WRITES).await;
    open.close().await;
    Ok(share)
}

/// Asks for each token once: a process that lives on has seen them all long ago, and a short run must not measure its beginning.
async fn see_all(cache: &TokenCache, requests: &[Prepared]) {
    let mut seen =
        stream::iter(requests.iter().map(|request| request.acquire(cache))).buffer_unordered(AT_ONCE);
    // What fails here fails in the run too, and is counted there.
    while seen.next().await.is_some() {}
}

async fn ask_until_the_end(shared: Arc<Shared>, task: u32) -> Calls {
    let clock = SystemClock;
    let mut calls = Calls::new();
    let measured = shared.until.saturating_sub(shared.measured_from).as_secs_f64();
    let mut in_a_row = 0;
    for step in Sequence::new(&shared.workload, shared.seed, shared.process, task) {
        if step.pause.is_zero() {
            in_a_row += 1;
            if in_a_row % IN_A_ROW == 0 {
                tokio::task::yield_now().await;
            }
        } else {
            clock.sleep(step.pause).await;
        }
        let began = clock.monotonic();
        if began >= shared.until {
            break;
        }
        let Some(request) = request_of(&shared.requests, step.subject) else {
            continue;
        };
        let result = request.acquire(&shared.cache).await;
        let took = clock.monotonic().saturating_sub(began);
        let Some(since) = began.checked_sub(shared.measured_from) else {
            calls.warm_up += 1;
            continue;
        };
        match result {
            Ok(acquired) => calls.note(
                acquired.source().into(),
                took,
                piece(since.as_secs_f64() / measured),
            ),
            Err(error) => calls.note_error(&error),
        }
    }
    calls
}

/// Which piece of the measured time `part` of it lies in.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "the number of pieces is small, and a part is not negative"
)]
pub(super) fn piece(part: f64) -> usize {
    (part * PIECES as f64) as usize
}

/// One process of many: opens, asks, closes. What its user waits for is all of it.
async fn live_shortly(link: &Arc<Link>, job: &Job) -> Result<Share, BenchError> {
    let clock = SystemClock;
    let workload = Arc::new(job.workload.clone());
    let born = clock.monotonic();
    let open = job.place.open().await?;
    let (store, counters) = CountingStore::new(open.store());
    let cache = filling::open(store, &job.strategy, &job.key).await?;
    let grants = Grants::new(Arc::clone(&workload));
    let mut share = Share {
        calls: Calls::new(),
        ..Share::default()
    };
    let steps = Sequence::new(&workload, job.seed, job.process, 0);
    let count = usize::try_from(workload.load.requests_per_process).unwrap_or(usize::MAX);
    for step in steps.take(count) {
        let request = Prepared::new(&cache, &grants, step.subject, Authority::Parent(Arc::clone(link)));
        let began = clock.monotonic();
        match request.acquire(&cache).await {
            Ok(acquired) => {
                let took = clock.monotonic().saturating_sub(began);
                share.calls.note(acquired.source().into(), took, job.piece);
            }
            Err(error) => share.calls.note_error(&error),
        }
    }
    cache.shutdown(LAST_WRITES).await;
    open.close().await;
    let life = clock.monotonic().saturating_sub(born);
    share.life_nanoseconds = u64::try_from(life.as_nanos()).ok();
    share.store = counters.read();
    share.cpu_nanoseconds = elapsed(Some(Duration::ZERO), usage::processor_time());
    Ok(share)
}

fn request_of(requests: &[Prepared], subject: Subject) -> Option<&Prepared> {
    requests.get(usize::try_from(subject.0).ok()?)
}

fn elapsed(before: Option<Duration>, after: Option<Duration>) -> Option<u64> {
    u64::try_from(after?.saturating_sub(before?).as_nanos()).ok()
}
