//! How an exploration keeps within its budget: what a run takes beside the time that is measured is measured too, and what does not
//! fit any more is not begun.

use std::time::Duration;

use cache_core::time::{Clock, SystemClock};

use super::rule::LEAST_RUNS;
use crate::workload::file::Workload;
use crate::workload::measured::lossy;

/// How many are run again before one is chosen: the workload's own, and the most promising of the others.
pub(super) const FINALISTS: usize = 4;

/// How many take part in the rerun at most.
pub(super) const RIVALS: usize = 3;

/// The longest time that an exploring run is measured, in seconds, unless few tokens make it longer.
const LONGEST: f64 = 6.0;

/// The shortest.
const SHORTEST: f64 = 0.3;

/// How often what is compared runs at most: more would tell nothing new.
const MOST_LAPS: usize = 6;

/// The part of the budget that is left for what comes after the comparison.
const AFTERWARDS: f64 = 0.1;

/// How much longer than the last ones a run may take.
const SLACK: f64 = 1.15;

/// When what is due.
pub(super) struct Schedule {
    began: Duration,
    /// The budget of the comparison, in seconds.
    budget: f64,
    /// How long each run is measured, in seconds.
    measured: f64,
    /// What a run takes beside that, in seconds, as the last ones had it.
    overhead: f64,
}

/// How often finalists run in turn after the first lap, and then what is recommended and its rivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Laps {
    pub(super) finalists: usize,
    pub(super) rerun: usize,
}

impl Schedule {
    /// From now on, for `budget`.
    pub(super) fn new(budget: Duration) -> Self {
        Self {
            began: SystemClock.monotonic(),
            budget: budget.as_secs_f64() * (1.0 - AFTERWARDS),
            measured: SHORTEST,
            overhead: 0.0,
        }
    }

    /// How long the next run is measured, in seconds.
    pub(super) fn measured(&self) -> f64 {
        self.measured
    }

    /// How long it is since the beginning, in seconds.
    pub(super) fn elapsed(&self) -> f64 {
        SystemClock.monotonic().saturating_sub(self.began).as_secs_f64()
    }

    /// Notes that a run took `seconds` in all.
    pub(super) fn note(&mut self, seconds: f64) {
        let overhead = (seconds - self.measured).max(0.0);
        self.overhead = if self.overhead == 0.0 {
            overhead
        } else {
            f64::midpoint(self.overhead, overhead)
        };
    }

    /// Decides how long runs are measured, for `candidates` strategies and `prices` more runs in the end.
    pub(super) fn plan(&mut self, workload: &Workload, candidates: usize, prices: usize) {
        let runs = candidates + after_the_first_lap(candidates) + prices;
        let each = (self.budget - self.elapsed()) / real(runs) - self.overhead * SLACK;
        self.measured = in_whole_units(each, unit_seconds(workload));
    }

    /// How many laps there is time for, with `finalists` of the candidates and `prices` more runs in the end.
    pub(super) fn laps(&self, finalists: usize, prices: usize) -> Laps {
        let rivals = finalists.min(RIVALS);
        let runs = (self.budget - self.elapsed()) / self.run() - real(prices);
        let least = (finalists + rivals) * LEAST_RUNS;
        let spare = ((runs - real(least)) / real(finalists + rivals)).floor();
        let laps = whole((real(LEAST_RUNS) + spare).clamp(0.0, real(MOST_LAPS)));
        Laps {
            finalists: laps,
            rerun: laps,
        }
    }

    /// Whether there is time for `runs` runs, and for `later` that must come after them.
    pub(super) fn has_time_for(&self, runs: usize, later: usize) -> bool {
        self.elapsed() + self.run() * real(runs + later) <= self.budget * 1.02
    }

    fn run(&self) -> f64 {
        self.measured + self.overhead
    }
}

/// The fewest runs that a choice and its rerun need, of as many candidates.
pub(super) fn after_the_first_lap(candidates: usize) -> usize {
    (candidates.min(FINALISTS) + candidates.min(RIVALS)) * LEAST_RUNS
}

/// Whole units where there is time for one: within each, as many tokens expire.
fn in_whole_units(seconds: f64, unit: f64) -> f64 {
    if seconds < unit {
        return seconds.max(SHORTEST);
    }
    ((seconds / unit).floor() * unit).min((LONGEST / unit).floor().max(1.0) * unit)
}

/// The time that runs are measured in: a second, as expiries are in whole seconds, or a token's life where so few tokens expire in a
/// second that one run would see none and the next two.
fn unit_seconds(workload: &Workload) -> f64 {
    const FEW: f64 = 5.0;
    let lifetime = f64::from(workload.tokens.lifetime_seconds);
    if lossy(workload.tokens()) / lifetime < FEW {
        lifetime.min(LONGEST)
    } else {
        1.0
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are never many runs")]
fn real(runs: usize) -> f64 {
    runs as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few laps, not fewer than none"
)]
fn whole(laps: f64) -> usize {
    laps as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::presets;

    fn schedule(budget: u64, overhead: f64) -> Schedule {
        Schedule {
            overhead,
            ..Schedule::new(Duration::from_secs(budget))
        }
    }

    #[test]
    fn runs_are_as_long_as_the_budget_allows() {
        let workload = presets::workload("multi-tenant-daemon").unwrap();
        let mut long = schedule(1000, 0.8);
        long.plan(&workload, 28, 3);
        assert!((long.measured - 6.0).abs() < 1e-9, "{}", long.measured);
        let mut usual = schedule(120, 0.8);
        usual.plan(&workload, 28, 3);
        assert!((usual.measured - 1.0).abs() < 1e-9, "{}", usual.measured);
        assert!(usual.run() * 52.0 <= 108.0, "all of it fits");
        let mut short = schedule(10, 0.8);
        short.plan(&workload, 28, 3);
        assert!((short.measured - SHORTEST).abs() < 1e-9);
        assert!(!short.has_time_for(28, 0));
    }

    #[test]
    fn a_token_of_few_is_watched_for_its_whole_life() {
        let workload = presets::workload("desktop-tool").unwrap();
        let mut schedule = schedule(170, 0.8);
        schedule.plan(&workload, 6, 2);
        assert!((schedule.measured - 4.0).abs() < 1e-9, "{}", schedule.measured);
    }

    #[test]
    fn what_time_is_left_goes_into_more_laps() {
        let mut least = schedule(40, 0.5);
        least.measured = 1.0;
        let laps = least.laps(4, 0);
        assert_eq!(
            laps,
            Laps {
                finalists: 3,
                rerun: 3
            }
        );
        let mut more = schedule(60, 0.5);
        more.measured = 1.0;
        assert_eq!(
            more.laps(4, 0),
            Laps {
                finalists: 5,
                rerun: 5
            }
        );
        let mut too_little = schedule(6, 0.5);
        too_little.measured = 1.0;
        assert_eq!(
            too_little.laps(4, 0),
            Laps {
                finalists: 0,
                rerun: 0
            }
        );
    }
}
