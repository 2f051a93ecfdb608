//! The rule by which a strategy is recommended. Pure: the same figures give the same recommendation.
//!
//! Figures are not weighed against each other, as nobody can say how many requests a millisecond is worth. They are looked at one
//! after the other, from what is noticed first by whoever uses the program, and what is behind in one is out, however it does in the
//! next. The steps are those of [`Step`].
//!
//! | step | stays | why it is asked here |
//! |---|---|---|
//! | needs | what fails no call, signs nobody out, and keeps within the `needs` of the workload | nothing makes up for that |
//! | waits | the least mean of the slowest hundredth of what callers wait | who uses the program feels it; a percentile would not see what is rarer than itself |
//! | requests | the fewest requests at the authority | it throttles who asks too much; only asking early makes waits shorter, so asked before them this would decide alone |
//! | processor | the least processor time | somebody pays for it |
//! | settings | the fewest changes to the workload's own strategy | what brings nothing is not worth a line |
//!
//! *Behind* is what is worse than the best by more than [chance](CHANCE) explains, given how its runs and those of the best are
//! spread, and by more than a [hundredth](HUNDREDTH) of the whole that it is part of: for waits, of the round trip to the authority,
//! as a token is asked for to send a request over a network; for requests, of those of the best, and never less than such a count
//! varies by itself; for processor time, of one processor under this load.

use serde::Serialize;

use super::contender::{Contender, median};
use super::matrix::Candidate;
use super::rank_sum;
use crate::workload::file::Workload;
use crate::workload::measured::{Figures, lossy};
use crate::workload::strategy::Sealing;

/// What chance explains: a difference that it makes at most once in twenty times is one, as is usual for measurements.
pub const CHANCE: f64 = 0.05;

/// The smallest part of a whole that is looked at.
pub const HUNDREDTH: f64 = 0.01;

/// How often each must have run: fewer runs tell no difference from chance.
pub const LEAST_RUNS: usize = 3;

/// What is looked at, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// That no call fails, nobody is signed out, and the needs of the workload are met.
    Needs,
    /// The mean of the slowest hundredth of what callers wait.
    Waits,
    /// Requests at the authority.
    Requests,
    /// Processor time.
    Processor,
    /// How much differs from the workload's own strategy.
    Settings,
}

impl Step {
    /// All, in their order.
    pub const ALL: [Self; 5] = [
        Self::Needs,
        Self::Waits,
        Self::Requests,
        Self::Processor,
        Self::Settings,
    ];

    /// Those that compare what was measured.
    pub const MEASURED: [Self; 3] = [Self::Waits, Self::Requests, Self::Processor];

    /// In a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Needs => "needs",
            Self::Waits => "waits",
            Self::Requests => "requests",
            Self::Processor => "processor",
            Self::Settings => "settings",
        }
    }

    /// What it looks at, as in a sentence.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Needs => "the workload’s needs",
            Self::Waits => "the slowest waits",
            Self::Requests => "requests at the authority",
            Self::Processor => "processor time",
            Self::Settings => "settings that differ",
        }
    }

    /// The figure that it compares; nothing for what is not measured.
    #[must_use]
    pub fn figure(self, figures: &Figures) -> Option<f64> {
        match self {
            Self::Needs | Self::Settings => None,
            Self::Waits => Some(figures.slowest_nanoseconds),
            Self::Requests => Some(figures.requests_per_second),
            Self::Processor => Some(figures.cpu_nanoseconds),
        }
    }
}

/// What a workload asks of every strategy, and the wholes of which parts are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Needs {
    /// A request to the authority, in nanoseconds.
    pub round_trip_nanoseconds: f64,
    /// By how many bytes a process may grow at most.
    pub memory_bytes: Option<u64>,
    /// How often in a second the authority may be asked at most.
    pub requests_per_second: Option<f64>,
}

impl Needs {
    /// Those of `workload`.
    #[must_use]
    pub fn of(workload: &Workload) -> Self {
        Self {
            round_trip_nanoseconds: workload.authority.latency_milliseconds * 1e6,
            memory_bytes: workload.needs.memory_mib.map(|mib| u64::from(mib) << 20),
            requests_per_second: workload.needs.requests_per_second,
        }
    }

    /// Why `contender` does not meet them; `None` if it does.
    #[must_use]
    pub fn unmet(&self, contender: &Contender) -> Option<&'static str> {
        if contender.candidate.strategy.seal == Sealing::Plaintext {
            return Some("it does not encrypt");
        }
        let figures = contender.median()?;
        if figures.failed > 0 {
            return Some("calls failed");
        }
        let exceeds = |bound: Option<u64>| bound.is_some_and(|bound| figures.grown_bytes > Some(bound));
        if exceeds(self.memory_bytes) {
            return Some("it took more memory than the workload allows");
        }
        self.requests_per_second
            .is_some_and(|bound| figures.requests_per_second > bound)
            .then_some("it asked the authority more often than the workload allows")
    }
}

/// What is recommended, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// Which contender.
    pub chosen: usize,
    /// The one that was left beside it the longest, if there is another.
    pub runner_up: Option<usize>,
    /// The step at which each was behind; nothing for the chosen one.
    pub out_at: Vec<Option<Step>>,
}

impl Choice {
    /// The step that left the chosen one alone.
    #[must_use]
    pub fn decided_by(&self) -> Option<Step> {
        self.out_at.iter().copied().flatten().max()
    }
}

/// The one of `which` to recommend, by the rule; `own` is what the workload itself says. `None` if none of them has run.
///
/// Where none meets the needs, all are compared by what they brought.
#[must_use]
pub fn choose(contenders: &[Contender], which: &[usize], own: &Candidate, needs: &Needs) -> Option<Choice> {
    let mut out_at = vec![None; contenders.len()];
    let mut runner_up = None;
    let mut left = sound(contenders, which, needs);
    for index in which.iter().filter(|index| !left.contains(index)) {
        out_at[*index] = Some(Step::Needs);
    }
    for step in Step::MEASURED {
        let best = least(contenders, &left, step)?;
        let (behind, ahead): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|index| is_behind(step, &contenders[*index], &contenders[best], needs));
        for index in &behind {
            out_at[*index] = Some(step);
        }
        runner_up = least(contenders, &behind, step).or(runner_up);
        left = ahead;
    }
    let changes = |index: &usize| contenders[*index].candidate.difference(own).len();
    let fewest = left.iter().map(changes).min()?;
    // Among as few changes, the one that takes least of the processor, though it may be chance.
    let simplest: Vec<_> = left
        .iter()
        .copied()
        .filter(|index| changes(index) == fewest)
        .collect();
    let chosen = least(contenders, &simplest, Step::Processor)?;
    left.retain(|index| *index != chosen);
    for index in &left {
        out_at[*index] = Some(Step::Settings);
    }
    Some(Choice {
        chosen,
        runner_up: left.iter().copied().min_by_key(changes).or(runner_up),
        out_at,
    })
}

/// All of `which` after too few runs to choose, the most promising first, and the step at which each seems behind. One run tells
/// nothing from chance, so this does not recommend: it says which to run again.
#[must_use]
pub fn screen(
    contenders: &[Contender],
    which: &[usize],
    own: &Candidate,
    needs: &Needs,
) -> Vec<(usize, Option<Step>)> {
    let mut left = sound(contenders, which, needs);
    let mut order: Vec<Vec<(usize, Option<Step>)>> = Vec::new();
    let unsound = which.iter().filter(|index| !left.contains(index));
    order.push(unsound.map(|index| (*index, Some(Step::Needs))).collect());
    for step in Step::MEASURED {
        let Some(best) = least(contenders, &left, step) else {
            break;
        };
        let (mut behind, ahead): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|index| is_further(step, &contenders[*index], &contenders[best], needs));
        behind.sort_by(|a, b| value(contenders, *a, step).total_cmp(&value(contenders, *b, step)));
        order.push(behind.into_iter().map(|index| (index, Some(step))).collect());
        left = ahead;
    }
    left.sort_by_key(|index| contenders[*index].candidate.difference(own).len());
    order.push(left.into_iter().map(|index| (index, None)).collect());
    order.into_iter().rev().flatten().collect()
}

/// Those that have run and meet the needs; all that have run, if none does.
fn sound(contenders: &[Contender], which: &[usize], needs: &Needs) -> Vec<usize> {
    let has_run = |index: &usize| contenders.get(*index).is_some_and(|one| !one.runs.is_empty());
    let ran: Vec<_> = which.iter().copied().filter(has_run).collect();
    let meets = |index: &usize| needs.unmet(&contenders[*index]).is_none();
    let sound: Vec<_> = ran.iter().copied().filter(meets).collect();
    if sound.is_empty() { ran } else { sound }
}

/// Whether `one` is worse than `best` by more than chance and more than a hundredth.
#[must_use]
pub fn is_behind(step: Step, one: &Contender, best: &Contender, needs: &Needs) -> bool {
    is_further(step, one, best, needs)
        && rank_sum::by_chance(&values(one, step), &values(best, step)) <= CHANCE
}

/// Whether `one` is worse than `best` by more than is looked at.
fn is_further(step: Step, one: &Contender, best: &Contender, needs: &Needs) -> bool {
    let (Some(ours), Some(theirs)) = (one.median(), best.median()) else {
        return false;
    };
    let (Some(this), Some(that)) = (step.figure(&ours), step.figure(&theirs)) else {
        return false;
    };
    let resolution = match step {
        Step::Needs | Step::Settings => return false,
        Step::Waits => needs.round_trip_nanoseconds * HUNDREDTH,
        Step::Requests => that * HUNDREDTH,
        Step::Processor => 1e9 * HUNDREDTH / theirs.waits_per_second.max(f64::MIN_POSITIVE),
    };
    // A count of n varies by about √n, so two differ when that is exceeded twice.
    let varies = || {
        let (ours, theirs) = (lossy(ours.requests), lossy(theirs.requests));
        let (more, fewer) = (one.runs.len(), best.runs.len());
        ours / part(more) - theirs / part(fewer)
            <= 2.0 * (ours / part(more).powi(2) + theirs / part(fewer).powi(2)).sqrt()
    };
    this - that > resolution && !(step == Step::Requests && varies())
}

fn least(contenders: &[Contender], which: &[usize], step: Step) -> Option<usize> {
    which
        .iter()
        .copied()
        .min_by(|a, b| value(contenders, *a, step).total_cmp(&value(contenders, *b, step)))
}

fn value(contenders: &[Contender], index: usize, step: Step) -> f64 {
    median(values(&contenders[index], step)).unwrap_or(f64::INFINITY)
}

fn values(contender: &Contender, step: Step) -> Vec<f64> {
    contender.runs.iter().filter_map(|run| step.figure(run)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "there are never many runs")]
fn part(runs: usize) -> f64 {
    runs.max(1) as f64
}

#[cfg(test)]
mod tests;
