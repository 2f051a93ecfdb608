//! The exploration: every strategy that is safe for a workload, a short run of each, longer runs of the best, and a rerun of what
//! is recommended.

mod choice;
mod matrix;
mod words;

use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use serde::Serialize;

pub use choice::{Choice, Contender, Score, WEIGHTS, choose, median_figures, ratios};
pub use matrix::{Candidate, Matrix, matrix, price_tags};
pub use words::{paragraph, reasons, waits_of};

use super::error::BenchError;
use super::file::{StoreKind, Workload};
use super::measured::{Figures, Measurement, lossy};
use super::run::{Bench, Trial};

/// How long the processes of an exploring run go on before they are measured, in seconds.
const WARM_UP: f64 = 0.5;

/// The longest time that an exploring run is measured, in seconds, unless few tokens make it longer.
const LONGEST: f64 = 6.0;

/// How many are run again, in turn, before one is chosen.
const FINALISTS: usize = 3;

/// How often finalists are run in turn, and how often the recommended one beside its rivals.
const LAPS: u32 = 2;

/// How long an exploration may take, and from what its requests are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// About how long it takes in all. It is kept as far as the number of candidates allows.
    pub budget: Duration,
    /// The seed; the rerun has the next.
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
    /// The rerun.
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

/// What another choice would cost beside the recommended one, run in turn.
#[derive(Clone, Debug, Serialize)]
pub struct Price {
    /// What it is.
    pub title: String,
    /// What was run.
    pub candidate: Candidate,
    /// What it brought.
    pub figures: Figures,
    /// What the recommended one brought right before it.
    pub beside: Figures,
}

/// A rerun of what is recommended, with another seed.
#[derive(Clone, Debug, Serialize)]
pub struct Confirmation {
    /// The seed.
    pub seed: u64,
    /// The recommended one first, then its rivals.
    pub contenders: Vec<Contender>,
    /// Whether it holds.
    pub outcome: Outcome,
}

/// What a rerun says of a recommendation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is better than its rivals again.
    First,
    /// It cannot be told apart from the best of them.
    Alike,
    /// A rival is better.
    Contradicted,
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
    let began = SystemClock.monotonic();
    let (available, missing) = available(bench, workload).await;
    let matrix = matrix(workload, &available);
    let mut left_out = matrix.left_out;
    left_out.extend(missing);
    let mut explorer = Explorer {
        bench,
        workload,
        observer,
        contenders: matrix
            .candidates
            .into_iter()
            .map(|candidate| Contender {
                candidate,
                runs: Vec::new(),
            })
            .collect(),
        overhead: 1.0,
    };
    if !available.contains(&workload.store.kind) {
        return Err(BenchError::NothingToExplore(left_out.join("; ")));
    }
    let budget = plan.budget.as_secs_f64();
    let everybody: Vec<_> = (0..explorer.contenders.len()).collect();
    explorer
        .lap("all strategies", &everybody, budget * 0.40, plan.seed)
        .await?;
    let half = explorer.best(&everybody, (everybody.len() / 4).max(FINALISTS + 1));
    explorer
        .lap("the better ones", &half, budget * 0.15, plan.seed)
        .await?;
    let finalists = explorer.best(&half, FINALISTS);
    for _ in 0..LAPS {
        let share = budget * 0.2 / f64::from(LAPS);
        explorer.lap("the best", &finalists, share, plan.seed).await?;
    }
    let choice = explorer
        .choice(&finalists)
        .ok_or_else(|| BenchError::NothingToExplore(left_out.join("; ")))?;
    let (confirmation, last) = explorer
        .confirm(&choice, budget * 0.17, plan.seed.wrapping_add(1))
        .await?;
    let prices = explorer.prices(choice.chosen, budget * 0.08, plan.seed).await?;
    let contenders = explorer.contenders;
    let paragraph = paragraph(workload, &contenders, &choice, Some(&confirmation));
    let expression = contenders[choice.chosen].candidate.strategy.expression();
    let exploration = Exploration {
        contenders,
        choice,
        confirmation: Some(confirmation),
        prices,
        left_out,
        paragraph,
        expression,
        seconds: SystemClock.monotonic().saturating_sub(began).as_secs_f64(),
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
    contenders: Vec<Contender>,
    /// What a run takes beside the time that is measured, in seconds, as the last lap had it.
    overhead: f64,
}

impl Explorer<'_> {
    /// Runs those in `which` once each, within about `seconds` in all.
    async fn lap(&mut self, stage: &str, which: &[usize], seconds: f64, seed: u64) -> Result<(), BenchError> {
        let began = SystemClock.monotonic();
        let measured = self.measured_seconds(which.len(), seconds);
        for (done, index) in which.iter().enumerate() {
            self.observer.progress(stage, done, which.len());
            let candidate = self.contenders[*index].candidate;
            let figures = self.run(&candidate, measured, seed).await?.figures();
            self.contenders[*index].runs.push(figures);
        }
        self.observer.progress(stage, which.len(), which.len());
        let took = SystemClock.monotonic().saturating_sub(began).as_secs_f64();
        self.overhead = (took / part(which.len()) - measured).max(0.0);
        Ok(())
    }

    /// In whole units: within each, as many tokens expire.
    fn measured_seconds(&self, runs: usize, seconds: f64) -> f64 {
        let unit = unit_seconds(self.workload);
        let units = ((seconds / part(runs) - self.overhead) / unit).round();
        units.clamp(1.0, (LONGEST / unit).floor().max(1.0)) * unit
    }

    async fn run(&self, candidate: &Candidate, seconds: f64, seed: u64) -> Result<Measurement, BenchError> {
        let mut workload = self.workload.clone();
        workload.load.seconds = seconds;
        workload.load.warm_up_seconds = WARM_UP;
        let trial = Trial {
            workload,
            store: candidate.store,
            strategy: candidate.strategy,
            seed,
        };
        self.bench.run(&trial).await
    }

    /// The `count` best of `which`.
    fn best(&self, which: &[usize], count: usize) -> Vec<usize> {
        let some: Vec<_> = which
            .iter()
            .map(|index| self.contenders[*index].clone())
            .collect();
        let Some(choice) = choose(&some, 0) else {
            return which.to_vec();
        };
        let mut order: Vec<_> = (0..some.len()).collect();
        let fails = |index: usize| some[index].runs.iter().any(|run| run.failed > 0);
        order.sort_by(|a, b| {
            let cost = |index: &usize| choice.scores[*index].median;
            // One that is as good as the best but simpler must not fall out on the way.
            let first = |index: &usize| *index != choice.chosen;
            (first(a), fails(*a))
                .cmp(&(first(b), fails(*b)))
                .then_with(|| cost(a).total_cmp(&cost(b)))
        });
        order.into_iter().take(count).map(|index| which[index]).collect()
    }

    /// The choice among `finalists`, as an index of all contenders.
    fn choice(&self, finalists: &[usize]) -> Option<Choice> {
        let some: Vec<_> = finalists
            .iter()
            .map(|index| self.contenders[*index].clone())
            .collect();
        let among = choose(&some, 0)?;
        let everybody = choose(&self.contenders, 0)?;
        let whole = |index: usize| finalists[index];
        Some(Choice {
            chosen: whole(among.chosen),
            runner_up: among.runner_up.map(whole),
            alike: among.alike.into_iter().map(whole).collect(),
            scores: everybody.scores,
        })
    }

    /// Runs the recommended one again in turn with the runner-up and with what the workload itself says.
    async fn confirm(
        &mut self,
        choice: &Choice,
        seconds: f64,
        seed: u64,
    ) -> Result<(Confirmation, Measurement), BenchError> {
        let mut which = vec![choice.chosen];
        which.extend(choice.runner_up);
        if !which.contains(&0) {
            which.push(0);
        }
        let mut again: Vec<_> = which
            .iter()
            .map(|index| Contender {
                candidate: self.contenders[*index].candidate,
                runs: Vec::new(),
            })
            .collect();
        let laps = usize::try_from(LAPS).unwrap_or(1);
        let measured = self.measured_seconds(which.len() * laps, seconds);
        let mut last = None;
        for lap in 0..laps {
            for (index, contender) in again.iter_mut().enumerate() {
                self.observer
                    .progress("the rerun", lap * which.len() + index, laps * which.len());
                let measurement = self.run(&contender.candidate, measured, seed).await?;
                contender.runs.push(measurement.figures());
                if index == 0 {
                    last = Some(measurement);
                }
            }
        }
        let outcome = match choose(&again, 0) {
            Some(rerun)
                if rerun
                    .scores
                    .iter()
                    .skip(1)
                    .all(|rival| rerun.scores[0].median <= rival.median) =>
            {
                Outcome::First
            }
            Some(rerun) if rerun.alike.contains(&0) => Outcome::Alike,
            _ => Outcome::Contradicted,
        };
        let last = last.ok_or(BenchError::Stuck)?;
        let confirmation = Confirmation {
            seed,
            contenders: again,
            outcome,
        };
        Ok((confirmation, last))
    }

    async fn prices(&mut self, chosen: usize, seconds: f64, seed: u64) -> Result<Vec<Price>, BenchError> {
        let chosen = self.contenders[chosen].candidate;
        let tags = price_tags(self.workload, &chosen);
        let measured = self.measured_seconds(tags.len() * 2, seconds);
        let mut prices = Vec::new();
        for (index, (title, candidate)) in tags.iter().enumerate() {
            self.observer.progress("prices", index, tags.len());
            let beside = self.run(&chosen, measured, seed).await?.figures();
            let figures = self.run(candidate, measured, seed).await?.figures();
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
fn part(runs: usize) -> f64 {
    runs.max(1) as f64
}
