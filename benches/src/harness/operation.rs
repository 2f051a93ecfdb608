//! What is measured: an operation that can be repeated.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;

use super::stopwatch::{Stopwatch, time};

/// An operation to be measured. It runs as often as it is told and says how long that took.
///
/// With several threads or tasks the time is that of the whole divided by what all of them did: the inverse of the throughput. Two threads
/// that do not hinder each other halve it.
pub struct Operation<'a>(Box<dyn FnMut(u64) -> Duration + 'a>);

impl Operation<'_> {
    /// Runs the operation `iterations` times and returns the time that they took together.
    pub(super) fn run(&mut self, iterations: u64) -> Duration {
        (self.0)(iterations)
    }
}

impl std::fmt::Debug for Operation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Operation")
    }
}

/// An operation of one thread. What it returns is dropped within the time.
pub fn sync<'a, T>(mut operation: impl FnMut() -> T + 'a) -> Operation<'a> {
    batch(move |iterations| {
        for _ in 0..iterations {
            std::hint::black_box(operation());
        }
    })
}

/// An asynchronous operation, awaited again and again by one task on `runtime`.
pub fn on<'a, T>(runtime: &'a Runtime, mut operation: impl AsyncFnMut() -> T + 'a) -> Operation<'a> {
    batch(move |iterations| {
        runtime.block_on(async {
            for _ in 0..iterations {
                std::hint::black_box(operation().await);
            }
        });
    })
}

/// An operation that each of `count` threads does, at the same time. `make` is called in the thread, with its number, before the time
/// begins.
pub fn threads<'a, T, F>(count: usize, make: impl Fn(usize) -> F + Sync + 'a) -> Operation<'a>
where
    F: FnMut() -> T,
{
    timed(move |iterations| {
        let each = iterations.div_ceil(count as u64);
        let (ready, stopwatch) = (AtomicUsize::new(0), Stopwatch::start());
        let turns: Vec<(Duration, Duration)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..count)
                .map(|thread| {
                    let (make, ready, stopwatch) = (&make, &ready, &stopwatch);
                    scope.spawn(move || {
                        let mut operation = make(thread);
                        ready.fetch_add(1, Ordering::AcqRel);
                        // Who sleeps until the others are ready is woken when half of them are done.
                        while ready.load(Ordering::Acquire) < count {
                            std::thread::yield_now();
                        }
                        let began = stopwatch.elapsed();
                        for _ in 0..each {
                            std::hint::black_box(operation());
                        }
                        (began, stopwatch.elapsed())
                    })
                })
                .collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| match thread.join() {
                Ok(turn) => turn,
                // A panic in a thread is this program's too.
                Err(panic) => std::panic::resume_unwind(panic),
            };
            threads.into_iter().map(join).collect()
        });
        let began = turns.iter().map(|turn| turn.0).min().unwrap_or_default();
        let ended = turns.iter().map(|turn| turn.1).max().unwrap_or_default();
        scaled(ended.saturating_sub(began), iterations, each * count as u64)
    })
}

/// An asynchronous operation that each of `count` spawned tasks awaits again and again, at the same time. `make` is called with the task's
/// number for each operation.
pub fn tasks<'a, F, T>(
    runtime: &'a Runtime,
    count: usize,
    make: impl Fn(usize) -> F + Clone + Send + Sync + 'static,
) -> Operation<'a>
where
    F: Future<Output = T> + Send,
    T: Send,
{
    timed(move |iterations| {
        let each = iterations.div_ceil(count as u64);
        let elapsed = runtime.block_on(async {
            let stopwatch = Stopwatch::start();
            let tasks: Vec<_> = (0..count)
                .map(|task| {
                    let make = make.clone();
                    tokio::spawn(async move {
                        for _ in 0..each {
                            std::hint::black_box(make(task).await);
                        }
                    })
                })
                .collect();
            for task in tasks {
                // A panic in a task is this program's too.
                if let Err(error) = task.await {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
            stopwatch.elapsed()
        });
        scaled(elapsed, iterations, each * count as u64)
    })
}

/// An operation with an input that `setup` makes. Neither that nor the drop of what the operation returns is in the time.
pub fn prepared<'a, I, T>(
    mut setup: impl FnMut() -> I + 'a,
    mut operation: impl FnMut(I) -> T + 'a,
) -> Operation<'a> {
    timed(move |iterations| {
        let inputs: Vec<I> = (0..iterations).map(|_| setup()).collect();
        let mut outputs = Vec::with_capacity(inputs.len());
        let stopwatch = Stopwatch::start();
        for input in inputs {
            outputs.push(operation(input));
        }
        stopwatch.elapsed()
    })
}

/// As [`prepared`], with both halves asynchronous.
pub fn prepared_on<'a, I, T>(
    runtime: &'a Runtime,
    mut setup: impl AsyncFnMut() -> I + 'a,
    mut operation: impl AsyncFnMut(I) -> T + 'a,
) -> Operation<'a> {
    timed(move |iterations| {
        runtime.block_on(async {
            let mut inputs = Vec::new();
            for _ in 0..iterations {
                inputs.push(setup().await);
            }
            let mut outputs = Vec::with_capacity(inputs.len());
            let stopwatch = Stopwatch::start();
            for input in inputs {
                outputs.push(operation(input).await);
            }
            stopwatch.elapsed()
        })
    })
}

/// Something that does the operation as often as it is told.
pub fn batch<'a>(mut operations: impl FnMut(u64) + 'a) -> Operation<'a> {
    timed(move |iterations| time(|| operations(iterations)))
}

/// Something that does the operation as often as it is told and measures itself what belongs to it, with a [`Stopwatch`].
pub fn timed<'a>(operations: impl FnMut(u64) -> Duration + 'a) -> Operation<'a> {
    Operation(Box::new(operations))
}

/// The time that `wanted` operations would have taken at the pace of those that were `done`.
fn scaled(elapsed: Duration, wanted: u64, done: u64) -> Duration {
    elapsed.mul_f64(wanted as f64 / done as f64)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn runtime() -> Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn every_kind_runs_as_often_as_it_is_told() {
        let runtime = runtime();
        let counted = Cell::new(0);
        let count = || counted.set(counted.get() + 1);
        let kinds = [
            sync(count),
            on(&runtime, async || count()),
            batch(|iterations| (0..iterations).for_each(|_| count())),
            prepared(|| 1, |_| count()),
            prepared_on(&runtime, async || 1, async |_| count()),
        ];
        for mut operation in kinds {
            counted.set(0);
            operation.run(7);
            assert_eq!(counted.get(), 7);
        }
    }

    #[test]
    fn threads_and_tasks_share_the_iterations() {
        let runtime = runtime();
        static DONE: AtomicU64 = AtomicU64::new(0);
        threads(2, |_| || DONE.fetch_add(1, Ordering::Relaxed)).run(10);
        assert_eq!(DONE.swap(0, Ordering::Relaxed), 10);
        tasks(&runtime, 4, |_| async { DONE.fetch_add(1, Ordering::Relaxed) }).run(8);
        assert_eq!(DONE.load(Ordering::Relaxed), 8);
    }

    #[test]
    fn setting_up_is_not_in_the_time() {
        let slow = || {
            let stopwatch = Stopwatch::start();
            while stopwatch.elapsed() < Duration::from_millis(5) {}
        };
        assert!(prepared(slow, |()| ()).run(10) < Duration::from_millis(40));
    }
}
