//! What a token costs as partitions become many.

use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use serde::Serialize;

use super::chosen::Chosen;
use super::error::BenchError;
use super::explore::{Candidate, Observer};
use super::file::Workload;
use super::measured::{Measurement, Tier};
use super::run::{Bench, Trial};

/// No workload is filled with more tokens than this: that would take longer than it is worth.
const MOST_TOKENS: u64 = 8_000;

/// A number of users or tenants, and what a token costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SweepPoint {
    /// Users or tenants.
    pub subjects: u32,
    /// The median of a hit in memory, in nanoseconds.
    pub memory_nanoseconds: Option<u64>,
    /// The median of a hit in the store, in nanoseconds, where memory keeps nothing.
    pub store_nanoseconds: Option<u64>,
}

/// Runs the workload's tokens with ever more users or tenants, in one process with one task that never pauses, so that nothing but
/// the number differs; up to `most` of them, and no more once the system's monotonic clock shows `until`.
///
/// # Errors
/// That a run failed.
pub async fn sweep(
    bench: &Bench,
    workload: &Workload,
    candidate: &Candidate,
    seed: u64,
    (most, until): (u32, Option<Duration>),
    observer: &dyn Observer,
) -> Result<Vec<SweepPoint>, BenchError> {
    let numbers: Vec<_> = [1, 10, 100, 1000, 4000]
        .into_iter()
        .filter(|number| *number <= most && scaled(workload, *number).tokens() <= MOST_TOKENS)
        .collect();
    let mut points = Vec::new();
    let mut last = Duration::ZERO;
    for (done, number) in numbers.iter().enumerate() {
        let began = SystemClock.monotonic();
        // The next takes longer than the last one, as there is more to fill.
        if until.is_some_and(|until| began + last.mul_f64(1.5) > until) {
            break;
        }
        observer.progress("more partitions", done, numbers.len());
        let usual = Chosen::of(candidate.strategy.preset);
        let with_memory =
            if candidate.strategy.memory_bytes == 0 || candidate.strategy.max_staleness_seconds == 0 {
                Chosen {
                    memory_bytes: usual.memory_bytes,
                    max_staleness_seconds: usual.max_staleness_seconds,
                    ..candidate.strategy
                }
            } else {
                candidate.strategy
            };
        let without = Chosen {
            memory_bytes: 0,
            ..candidate.strategy
        };
        let mut runs = Vec::new();
        for strategy in [with_memory, without] {
            let trial = Trial {
                workload: scaled(workload, *number),
                store: candidate.store,
                strategy,
                seed,
            };
            runs.push(bench.run(&trial).await?);
        }
        points.push(SweepPoint {
            subjects: *number,
            memory_nanoseconds: runs.first().and_then(|run| median(run, Tier::Memory)),
            store_nanoseconds: runs.get(1).and_then(|run| median(run, Tier::Store)),
        });
        last = SystemClock.monotonic().saturating_sub(began);
    }
    observer.progress("more partitions", numbers.len(), numbers.len());
    Ok(points)
}

fn scaled(workload: &Workload, number: u32) -> Workload {
    let mut scaled = workload.clone();
    if scaled.subjects.users > 0 {
        scaled.subjects.users = number;
        scaled.subjects.tenants = 0;
    } else {
        scaled.subjects.tenants = number;
    }
    scaled.subjects.zipf = 0.0;
    scaled.load.processes = 1;
    scaled.load.tasks = 1;
    scaled.load.think_milliseconds = 0.0;
    scaled.load.requests_per_process = 0;
    scaled.load.warm_up_seconds = 0.2;
    scaled.load.seconds = 0.3;
    scaled.tokens.lifetime_seconds = 3600;
    scaled.tokens.refresh_after = 0.0;
    scaled
}

fn median(run: &Measurement, tier: Tier) -> Option<u64> {
    let latencies = &run.calls.tiers[tier as usize];
    (latencies.count() >= 20).then(|| latencies.quantile(0.5))
}
