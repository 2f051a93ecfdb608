//! The exploration: every strategy that is safe for a workload is run briefly, the most promising ones anew and again in turn, and
//! what the [`rule`] recommends of them once more beside its rivals, with other requests.

mod contender;
mod matrix;
mod rank_sum;
pub mod rule;
mod schedule;
mod words;

use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use serde::Serialize;

pub use contender::{Contender, median_figures};
pub use matrix::{Candidate, Matrix, matrix, price_tags};
pub use rule::{CHANCE, Choice, HUNDREDTH, LEAST_RUNS, Needs, Step, choose};
pub use words::{Told, fates, paragraph, reasons, sentences, waits_of};

use super::error::BenchError;
use super::file::{StoreKind, Workload};
use super::measured::{Figures, Measurement};
use super::run::{Bench, Trial};
use schedule::{FINALISTS, Laps, RIVALS, Schedule};

/// How long the processes of an exploring run go on before they are measured, in seconds.
const WARM_UP: f64 = 0.5;

/// How long an exploration may take, and from what its requests are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// How long it may take in all, the sweep after it included.
    pub budget: Duration,
    /// The seed of the first lap; each lap has the next.
    pub seed: u64,
}

/// Is told how far things are.
pub trait Observer: Sync {
    /// `done` of `total` runs of the stage `stage` are over.
    fn progress(&self, stage: &str, done: usize, total: usize);
}

/// What an exploration found.
#[derive(Clone, Debug, Serialize)]
pub struct Exploration {
    /// Every candidate; the first is what the workload itself says.
    pub contenders: Vec<Contender>,
    /// Which one is recommended.
    pub choice: Choice,
    /// Those that the rule chose from: they ran often enough to tell a difference from chance.
    pub finalists: Vec<usize>,
    /// What the workload asks of every strategy.
    pub needs: Needs,
    /// The rerun; nothing if there was no time, or no rival.
    pub confirmation: Option<Confirmation>,
    /// What the choices that are not recommended would cost.
    pub prices: Vec<Price>,
    /// What was not tried, and why.
    pub left_out: Vec<String>,
    /// The recommendation in plain words.
    pub paragraph: String,
    /// The recommendation as Rust.
    pub expression: String,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// What another choice would cost beside the recommended one.
#[derive(Clone, Debug, Serialize)]
pub struct Price {
    /// What it is.
    pub title: String,
    /// What was run.
    pub candidate: Candidate,
    /// What it brought.
    pub figures: Figures,
    /// What the recommended one brought in its last run before.
    pub beside: Figures,
}

/// A rerun of what is recommended, with other requests.
#[derive(Clone, Debug, Serialize)]
pub struct Confirmation {
    /// The seed of its first lap.
    pub seed: u64,
    /// The recommended one first, then its rivals.
    pub contenders: Vec<Contender>,
    /// What the rule chooses of them.
    pub choice: Choice,
    /// Whether the recommendation holds.
    pub outcome: Outcome,
}

/// What a rerun says of a recommendation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Its rivals are behind again.
    First,
    /// It is not behind, and some rival is not either.
    Alike,
    /// It is behind.
    Contradicted,
}

impl Outcome {
    fn of(choice: &Choice) -> Self {
        let is_behind = |out_at: &Option<Step>| out_at.is_some_and(|step| step != Step::Settings);
        match choice.out_at.split_first() {
            Some((ours, _)) if is_behind(ours) => Self::Contradicted,
            Some((_, rivals)) if !rivals.is_empty() && rivals.iter().all(is_behind) => Self::First,
            _ => Self::Alike,
        }
    }
}

impl Exploration {
    /// What is recommended.
    #[must_use]
    pub fn recommended(&self) -> Option<&Contender> {
        self.contenders.get(self.choice.chosen)
    }
}

/// Explores `workload`. Gives the last run of what is recommended, too.
///
/// # Errors
/// That a run failed, or that no store that the workload allows can be had.
pub async fn explore(
    bench: &Bench,
    workload: &Workload,
    plan: Plan,
    observer: &dyn Observer,
) -> Result<(Exploration, Measurement), BenchError> {
    let schedule = Schedule::new(plan.budget);
    let (available, missing) = available(bench, workload).await;
    let matrix = matrix(workload, &available);
    let mut left_out = matrix.left_out;
    left_out.extend(missing);
    if !available.contains(&workload.store.kind) {
        return Err(BenchError::NothingToExplore(left_out.join("; ")));
    }
    let own = Candidate::of(workload);
    let prices = price_tags(workload, &own).len();
    let mut explorer = Explorer {
        bench,
        workload,
        observer,
        schedule,
        own,
        needs: Needs::of(workload),
        contenders: matrix.candidates.into_iter().map(Contender::new).collect(),
        latest: None,
        seed: plan.seed,
    };
    // Shows what a run takes beside the time that is measured, and says nothing else: what comes first is slower.
    explorer.observer.progress("a first run", 0, 1);
    explorer.run(&own).await?;
    explorer
        .schedule
        .plan(workload, explorer.contenders.len(), prices);
    left_out.extend(explorer.first_lap(prices).await?);
    let everybody: Vec<_> = (0..explorer.contenders.len()).collect();
    let screened = rule::screen(&explorer.contenders, &everybody, &own, &explorer.needs);
    let mut finalists: Vec<_> = screened
        .iter()
        .map(|(index, _)| *index)
        .filter(|index| *index != 0)
        .take(FINALISTS - 1)
        .collect();
    // What the workload itself says must not lose for want of runs.
    finalists.insert(0, 0);
    let laps = explorer.schedule.laps(finalists.len(), prices);
    if laps.finalists > 0 {
        // The run that made one a finalist may have been a lucky one: it must not count in the comparison.
        for index in &finalists {
            explorer.contenders[*index].runs.clear();
        }
    }
    explorer.laps("the best", &finalists, laps.finalists).await?;
    let mut choice = choose(&explorer.contenders, &finalists, &own, &explorer.needs)
        .ok_or_else(|| BenchError::NothingToExplore(left_out.join("; ")))?;
    for (index, step) in screened {
        if !finalists.contains(&index) {
            choice.out_at[index] = step.or(Some(Step::Settings));
        }
    }
    let confirmation = explorer.confirm(&choice, laps, prices).await?;
    let prices = explorer.prices(choice.chosen).await?;
    let last = match explorer.latest.take() {
        Some((candidate, last)) if candidate == explorer.contenders[choice.chosen].candidate => last,
        _ => {
            explorer
                .run(&explorer.contenders[choice.chosen].candidate.clone())
                .await?
        }
    };
    let contenders = explorer.contenders;
    let told = Told {
        workload,
        contenders: &contenders,
        finalists: &finalists,
        choice: &choice,
        needs: &explorer.needs,
        confirmation: confirmation.as_ref(),
    };
    let exploration = Exploration {
        paragraph: paragraph(&told),
        expression: contenders[choice.chosen].candidate.strategy.expression(),
        contenders,
        choice,
        finalists,
        needs: explorer.needs,
        confirmation,
        prices,
        left_out,
        seconds: explorer.schedule.elapsed(),
    };
    Ok((exploration, last))
}

/// The stores that a workload may choose from and that can be had here, and why others cannot.
async fn available(bench: &Bench, workload: &Workload) -> (Vec<StoreKind>, Vec<String>) {
    let (mut available, mut missing) = (Vec::new(), Vec::new());
    for kind in workload.stores_to_explore() {
        match bench.has(kind).await {
            Ok(()) => available.push(kind),
            Err(error) => missing.push(format!("{}: {error}", kind.title())),
        }
    }
    (available, missing)
}

struct Explorer<'a> {
    bench: &'a Bench,
    workload: &'a Workload,
    observer: &'a dyn Observer,
    schedule: Schedule,
    /// What the workload itself says.
    own: Candidate,
    needs: Needs,
    contenders: Vec<Contender>,
    /// The last run in full of what seems to be recommended.
    latest: Option<(Candidate, Measurement)>,
    /// The seed of the next lap.
    seed: u64,
}

impl Explorer<'_> {
    /// Runs each once, as far as there is time, and says what was not run. The workload's own comes first, and what is furthest
    /// from it last.
    async fn first_lap(&mut self, prices: usize) -> Result<Option<String>, BenchError> {
        let total = self.contenders.len();
        let mut done = 0;
        while done < total
            && (done < 2
                || self
                    .schedule
                    .has_time_for(1, prices + schedule::after_the_first_lap(done)))
        {
            self.observer.progress("all strategies", done, total);
            let candidate = self.contenders[done].candidate;
            let figures = self.run(&candidate).await?.figures();
            self.contenders[done].runs.push(figures);
            done += 1;
        }
        self.observer.progress("all strategies", done, total);
        self.seed = self.seed.wrapping_add(1);
        self.contenders.truncate(done);
        Ok((done < total).then(|| {
            format!(
                "{} of {total} strategies, those that differ most from the workload’s own: there was no time for them, and a greater \
                 --budget has it",
                total - done
            )
        }))
    }

    /// Runs those in `which` in turn, `laps` times.
    async fn laps(&mut self, stage: &str, which: &[usize], laps: usize) -> Result<(), BenchError> {
        for lap in 0..laps {
            for (place, index) in which.iter().enumerate() {
                let done = lap * which.len() + place;
                self.observer.progress(stage, done, laps * which.len());
                let candidate = self.contenders[*index].candidate;
                let figures = self.run(&candidate).await?.figures();
                self.contenders[*index].runs.push(figures);
            }
            self.seed = self.seed.wrapping_add(1);
        }
        Ok(())
    }

    async fn run(&mut self, candidate: &Candidate) -> Result<Measurement, BenchError> {
        let began = SystemClock.monotonic();
        let mut workload = self.workload.clone();
        workload.load.seconds = self.schedule.measured();
        workload.load.warm_up_seconds = WARM_UP;
        let trial = Trial {
            workload,
            store: candidate.store,
            strategy: candidate.strategy,
            seed: self.seed,
        };
        let measurement = self.bench.run(&trial).await?;
        let took = SystemClock.monotonic().saturating_sub(began).as_secs_f64();
        self.schedule.note(took);
        Ok(measurement)
    }

    /// Runs the recommended one again in turn with the runner-up and with what the workload itself says.
    async fn confirm(
        &mut self,
        choice: &Choice,
        laps: Laps,
        prices: usize,
    ) -> Result<Option<Confirmation>, BenchError> {
        let mut which = vec![choice.chosen];
        which.extend(choice.runner_up);
        if !which.contains(&0) {
            which.push(0);
        }
        which.truncate(RIVALS);
        let mut again: Vec<_> = which
            .iter()
            .map(|index| Contender::new(self.contenders[*index].candidate))
            .collect();
        let seed = self.seed;
        for lap in 0..laps.rerun {
            if !self.schedule.has_time_for(which.len(), prices) {
                break;
            }
            for (place, contender) in again.iter_mut().enumerate() {
                let done = lap * which.len() + place;
                self.observer
                    .progress("the rerun", done, laps.rerun * which.len());
                let measurement = self.run(&contender.candidate).await?;
                contender.runs.push(measurement.figures());
                if place == 0 {
                    self.latest = Some((contender.candidate, measurement));
                }
            }
            self.seed = self.seed.wrapping_add(1);
        }
        let everybody: Vec<_> = (0..again.len()).collect();
        if again.len() < 2 {
            return Ok(None);
        }
        let choice = choose(&again, &everybody, &self.own, &self.needs);
        Ok(choice.map(|choice| Confirmation {
            seed,
            contenders: again,
            outcome: Outcome::of(&choice),
            choice,
        }))
    }

    /// Runs what is not recommended, as far as there is time.
    async fn prices(&mut self, chosen: usize) -> Result<Vec<Price>, BenchError> {
        let chosen = self.contenders[chosen].candidate;
        let Some(beside) = self.latest.as_ref().map(|(_, last)| last.figures()) else {
            return Ok(Vec::new());
        };
        let tags = price_tags(self.workload, &chosen);
        let mut prices = Vec::new();
        // The same requests as in the last lap of the rerun.
        self.seed = self.seed.wrapping_sub(1);
        for (index, (title, candidate)) in tags.iter().enumerate() {
            if !self.schedule.has_time_for(1, 0) {
                break;
            }
            self.observer.progress("prices", index, tags.len());
            let figures = self.run(candidate).await?.figures();
            prices.push(Price {
                title: (*title).to_owned(),
                candidate: *candidate,
                figures,
                beside,
            });
        }
        Ok(prices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rerun_confirms_only_what_it_shows() {
        let choice = |out_at: &[Option<Step>]| Choice {
            chosen: 0,
            runner_up: None,
            out_at: out_at.to_vec(),
        };
        let of = |out_at: &[Option<Step>]| Outcome::of(&choice(out_at));
        assert_eq!(
            of(&[None, Some(Step::Waits), Some(Step::Processor)]),
            Outcome::First
        );
        assert_eq!(
            of(&[None, Some(Step::Waits), Some(Step::Settings)]),
            Outcome::Alike
        );
        assert_eq!(of(&[Some(Step::Settings), None]), Outcome::Alike);
        assert_eq!(of(&[Some(Step::Requests), None]), Outcome::Contradicted);
    }
}
