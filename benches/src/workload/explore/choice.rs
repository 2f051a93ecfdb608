//! Which strategy is recommended, given what was measured. Pure: the same figures give the same recommendation.

use serde::Serialize;

use super::matrix::Candidate;
use crate::workload::measured::Figures;

/// How much each figure weighs. Safety does not weigh: what is not safe is not tried, and what fails calls is not chosen.
pub const WEIGHTS: [(&str, f64); 4] = [
    ("the slowest hundredth of what callers wait", 0.4),
    ("the median of it", 0.15),
    ("requests at the authority", 0.25),
    ("processor time", 0.2),
];

/// What is too small to be worth a choice: nobody notices fifty microseconds now and then, ten each time, half a request a second, or
/// a microsecond of a processor.
const FLOORS: [f64; 4] = [50_000.0, 10_000.0, 0.5, 1_000.0];

/// Two that differ by less are alike, however well their runs agree.
const LEAST_NOISE: f64 = 0.05;

/// However much runs differ, what differs by this much is not alike.
const MOST_NOISE: f64 = 0.25;

/// A candidate and what its runs brought.
#[derive(Clone, Debug, Serialize)]
pub struct Contender {
    /// What was run.
    pub candidate: Candidate,
    /// What each run brought, in the order that they were made.
    pub runs: Vec<Figures>,
}

/// How a contender's cost compares with the reference; 1.0 is as good, smaller is better.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Of the median run.
    pub median: f64,
    /// Of the best.
    pub low: f64,
    /// Of the worst.
    pub high: f64,
}

impl Score {
    /// By how much runs differ from the median one, as a part of it.
    #[must_use]
    pub fn noise(&self) -> f64 {
        let half = (self.high - self.low) / 2.0 / self.median.max(f64::MIN_POSITIVE);
        half.clamp(LEAST_NOISE, MOST_NOISE)
    }

    /// Whether `self` and `other` cannot be told apart.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let noise = self.noise().max(other.noise());
        let (less, more) = (self.median.min(other.median), self.median.max(other.median));
        more <= less * (1.0 + noise)
    }
}

/// What is recommended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// Which contender.
    pub chosen: usize,
    /// The best of the others, if there is one.
    pub runner_up: Option<usize>,
    /// Those that measured as well as the best, the chosen one among them.
    pub alike: Vec<usize>,
    /// All scores.
    pub scores: Vec<Score>,
}

/// The contender to recommend: the one that costs least, and of those that cost alike the safest and simplest. `None` if there is none.
/// Costs are relative to those of the contender `reference`.
#[must_use]
pub fn choose(contenders: &[Contender], reference: usize) -> Option<Choice> {
    let reference = median_figures(&contenders.get(reference)?.runs)?;
    let scores: Vec<_> = contenders
        .iter()
        .map(|contender| score(&contender.runs, &reference))
        .collect();
    let sound: Vec<_> = (0..contenders.len())
        .filter(|index| failed(&contenders[*index].runs) == 0)
        .collect();
    let eligible = if sound.is_empty() {
        (0..contenders.len()).collect()
    } else {
        sound
    };
    let by_cost = |a: &usize, b: &usize| scores[*a].median.total_cmp(&scores[*b].median);
    let best = eligible.iter().copied().min_by(by_cost)?;
    let alike: Vec<_> = eligible
        .iter()
        .copied()
        .filter(|index| scores[*index].is_like(&scores[best]))
        .collect();
    let chosen = alike
        .iter()
        .copied()
        .min_by(|a, b| {
            let complexity = |index: &usize| contenders[*index].candidate.complexity();
            complexity(a).cmp(&complexity(b)).then_with(|| by_cost(a, b))
        })
        .unwrap_or(best);
    let runner_up = eligible
        .iter()
        .copied()
        .filter(|index| *index != chosen)
        .min_by(by_cost);
    Some(Choice {
        chosen,
        runner_up,
        alike,
        scores,
    })
}

/// How the cost of `runs` compares with `reference`.
#[must_use]
pub(super) fn score(runs: &[Figures], reference: &Figures) -> Score {
    let mut costs: Vec<_> = runs.iter().map(|run| cost(run, reference)).collect();
    costs.sort_by(f64::total_cmp);
    Score {
        median: middle(&costs).unwrap_or(f64::INFINITY),
        low: costs.first().copied().unwrap_or(f64::INFINITY),
        high: costs.last().copied().unwrap_or(f64::INFINITY),
    }
}

/// The weighted geometric mean of the ratios.
fn cost(run: &Figures, reference: &Figures) -> f64 {
    let pairs = measures(run).into_iter().zip(measures(reference));
    let logs = pairs.zip(FLOORS).zip(WEIGHTS);
    logs.map(|(((ours, theirs), floor), (_, weight))| weight * ((ours + floor) / (theirs + floor)).ln())
        .sum::<f64>()
        .exp()
}

/// The figures that are weighed.
#[must_use]
pub(super) fn measures(figures: &Figures) -> [f64; 4] {
    [
        figures.slowest_nanoseconds,
        figures.median_nanoseconds,
        figures.requests_per_second,
        figures.cpu_nanoseconds,
    ]
}

/// By how much each of the weighed figures of `other` is worse than those of `this`, small ones counting little.
#[must_use]
pub fn ratios(this: &Figures, other: &Figures) -> [f64; 4] {
    let (ours, theirs) = (measures(this), measures(other));
    std::array::from_fn(|index| (theirs[index] + FLOORS[index]) / (ours[index] + FLOORS[index]))
}

/// The median of each figure over `runs`; `None` where there is none.
#[must_use]
pub fn median_figures(runs: &[Figures]) -> Option<Figures> {
    let median = |of: fn(&Figures) -> f64| {
        let mut values: Vec<_> = runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        middle(&values)
    };
    Some(Figures {
        median_nanoseconds: median(|run| run.median_nanoseconds)?,
        p99_nanoseconds: median(|run| run.p99_nanoseconds)?,
        slowest_nanoseconds: median(|run| run.slowest_nanoseconds)?,
        requests_per_second: median(|run| run.requests_per_second)?,
        cpu_nanoseconds: median(|run| run.cpu_nanoseconds)?,
        failed: failed(runs),
        calls: runs.iter().map(|run| run.calls).sum(),
    })
}

fn failed(runs: &[Figures]) -> u64 {
    runs.iter().map(|run| run.failed).sum()
}

fn middle(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(upper, *sorted.get(sorted.len() / 2 - 1)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::chosen::Chosen;
    use crate::workload::presets;
    use crate::workload::strategy::{Preset, Refresh, Write};

    fn figures(milliseconds: f64, requests: f64, microseconds: f64) -> Figures {
        Figures {
            median_nanoseconds: 1000.0,
            p99_nanoseconds: milliseconds * 1e6,
            slowest_nanoseconds: milliseconds * 1e6,
            requests_per_second: requests,
            cpu_nanoseconds: microseconds * 1e3,
            failed: 0,
            calls: 1000,
        }
    }

    fn contender(change: impl FnOnce(&mut Candidate), runs: Vec<Figures>) -> Contender {
        let mut candidate = Candidate::of(&presets::workload("multi-tenant-daemon").unwrap());
        change(&mut candidate);
        Contender { candidate, runs }
    }

    #[test]
    fn the_cheapest_is_chosen_when_it_can_be_told_apart() {
        let contenders = [
            contender(|_| {}, vec![figures(60.0, 10.0, 20.0), figures(62.0, 10.0, 21.0)]),
            contender(
                |candidate| candidate.strategy.refresh = Refresh::OnDemand,
                vec![figures(6.0, 11.0, 20.0), figures(6.2, 10.5, 20.0)],
            ),
        ];
        let choice = choose(&contenders, 0).unwrap();
        assert_eq!((choice.chosen, choice.runner_up), (1, Some(0)));
        assert_eq!(choice.alike, [1]);
        assert!((choice.scores[0].median - 1.0).abs() < 0.03);
    }

    #[test]
    fn of_those_that_are_alike_the_safest_and_simplest_is_chosen() {
        let through = |candidate: &mut Candidate| candidate.strategy.write = Write::Through;
        let contenders = [
            contender(|_| {}, vec![figures(5.0, 10.0, 20.0)]),
            contender(through, vec![figures(5.1, 10.0, 20.5)]),
        ];
        let choice = choose(&contenders, 0).unwrap();
        assert_eq!(choice.chosen, 1, "writing behind is not worth two percent");
        assert_eq!(choice.alike, [0, 1]);
    }

    #[test]
    fn what_fails_calls_is_not_chosen() {
        let mut failing = figures(1.0, 1.0, 1.0);
        failing.failed = 1;
        let contenders = [
            contender(|_| {}, vec![figures(50.0, 10.0, 20.0)]),
            contender(|candidate| candidate.strategy.memory_bytes = 0, vec![failing]),
        ];
        assert_eq!(choose(&contenders, 0).unwrap().chosen, 0);
    }

    #[test]
    fn what_nobody_notices_does_not_count() {
        let (fast, slow) = (figures(0.001, 0.0, 0.1), figures(0.004, 0.0, 0.4));
        let score = score(&[slow], &fast);
        assert!(score.median < 1.1, "{score:?}");
        let noisy = Score {
            median: 1.0,
            low: 0.2,
            high: 5.0,
        };
        assert!((noisy.noise() - MOST_NOISE).abs() < f64::EPSILON);
    }

    #[test]
    fn without_contenders_there_is_no_choice() {
        assert!(choose(&[], 0).is_none());
        let chosen = Chosen::of(Preset::DesktopTool);
        assert_eq!(chosen.difference(&chosen), Vec::<String>::new());
    }
}
