//! Operations that take turns.

use std::time::Duration;

use super::operation::Operation;
use super::print;
use super::question::Question;
use super::report::{ComparisonReport, EntryReport, Role};
use super::statistics::Estimate;

/// Some operations that do the same, to be measured side by side. Nothing runs before [`run`](Self::run).
#[must_use = "nothing is measured without `run`"]
#[derive(Debug)]
pub struct Comparison<'q, 'a> {
    question: &'q mut Question,
    name: String,
    entries: Vec<Entry<'a>>,
    batch: Duration,
    rounds: Option<usize>,
}

#[derive(Debug)]
struct Entry<'a> {
    name: String,
    role: Role,
    operation: Operation<'a>,
    iterations: u64,
    /// Nanoseconds an operation, a value for each round.
    samples: Vec<f64>,
}

impl<'q, 'a> Comparison<'q, 'a> {
    /// How long an operation's turn is. Short turns are seldom interrupted; long ones hide what a start costs.
    const BATCH: Duration = Duration::from_micros(300);
    /// How long a comparison of four operations takes.
    const BUDGET_EACH: Duration = Duration::from_millis(250);
    const QUICK_BUDGET_EACH: Duration = Duration::from_millis(5);
    const FEWEST_ROUNDS: usize = 9;
    const MOST_ROUNDS: usize = 501;
    const QUICK_ROUNDS: usize = 3;

    pub(super) fn new(question: &'q mut Question, name: &str) -> Self {
        Self {
            question,
            name: name.to_owned(),
            entries: Vec::new(),
            batch: Self::BATCH,
            rounds: None,
        }
    }

    /// Adds what the others are measured against: what the machine allows. The first limit is that of the ratios.
    pub fn limit(self, name: &str, operation: Operation<'a>) -> Self {
        self.entry(name, Role::Limit, operation)
    }

    /// Adds what this project does.
    pub fn variant(self, name: &str, operation: Operation<'a>) -> Self {
        self.entry(name, Role::Variant, operation)
    }

    /// Adds what people use instead.
    pub fn peer(self, name: &str, operation: Operation<'a>) -> Self {
        self.entry(name, Role::Peer, operation)
    }

    /// Sets about how long each operation's turns are. An operation runs once a turn at least.
    pub fn batch(mut self, batch: Duration) -> Self {
        self.batch = batch;
        self
    }

    /// Sets the number of rounds, except in smoke runs.
    pub fn rounds(mut self, rounds: usize) -> Self {
        self.rounds = Some(rounds);
        self
    }

    /// Measures, prints, and keeps the result for the report.
    pub fn run(mut self) -> Measured {
        if !self.question.wants(&self.name) {
            return Measured::none(self.name);
        }
        let quick = self.question.is_quick();
        let batch = if quick { self.batch / 10 } else { self.batch };
        for entry in &mut self.entries {
            entry.calibrate(batch);
        }
        let rounds = self.count_rounds(quick);
        for round in 0..rounds {
            // Whoever runs after a certain other one would always find its leavings in the processor's caches.
            let count = self.entries.len();
            for turn in 0..count {
                self.entries[(round + turn) % count].sample();
            }
        }
        let measured = Measured::new(self.name, rounds, self.entries);
        print::comparison(&measured.report);
        self.question.add(measured.report.clone());
        measured
    }

    fn entry(mut self, name: &str, role: Role, operation: Operation<'a>) -> Self {
        self.entries.push(Entry {
            name: name.to_owned(),
            role,
            operation,
            iterations: 1,
            samples: Vec::new(),
        });
        self
    }

    fn count_rounds(&mut self, quick: bool) -> usize {
        if quick {
            let one: Duration = self.entries.iter_mut().map(Entry::sample).sum();
            let budget = Self::QUICK_BUDGET_EACH * self.entries.len() as u32;
            return if one > budget { 1 } else { Self::QUICK_ROUNDS };
        }
        // The first round, which also warms up.
        let one: Duration = self.entries.iter_mut().map(Entry::sample).sum();
        for entry in &mut self.entries {
            entry.samples.clear();
        }
        self.rounds.unwrap_or_else(|| {
            let budget = Self::BUDGET_EACH * self.entries.len() as u32;
            let rounds = (budget.as_secs_f64() / one.as_secs_f64().max(1e-9)) as usize;
            rounds.clamp(Self::FEWEST_ROUNDS, Self::MOST_ROUNDS)
        })
    }
}

impl Entry<'_> {
    /// Finds how often the operation runs in a turn of `batch`.
    fn calibrate(&mut self, batch: Duration) {
        const MOST: u64 = 1 << 24;
        const FAR_BEYOND: u32 = 16;
        let mut iterations = 1;
        loop {
            let mut elapsed = self.operation.run(iterations);
            // A run that finds nothing in the processor's caches, or is interrupted, does not decide alone: a turn of one operation would
            // measure the change of turns.
            if elapsed < batch * FAR_BEYOND {
                elapsed = elapsed.min(self.operation.run(iterations));
            }
            let elapsed = elapsed.max(Duration::from_nanos(1));
            let fitting = iterations as f64 * batch.as_secs_f64() / elapsed.as_secs_f64();
            // What is measured over a quarter of the turn is measured well enough.
            if elapsed >= batch / 4 || iterations >= MOST {
                self.iterations = (fitting as u64).clamp(1, MOST);
                return;
            }
            iterations = (fitting as u64).clamp(iterations + 1, iterations * 8);
        }
    }

    fn sample(&mut self) -> Duration {
        let elapsed = self.operation.run(self.iterations);
        self.samples
            .push(elapsed.as_secs_f64() * 1e9 / self.iterations as f64);
        elapsed
    }
}

/// The result of a comparison.
#[derive(Clone, Debug)]
pub struct Measured {
    report: ComparisonReport,
    /// Of each entry, nanoseconds an operation in each round.
    samples: Vec<Vec<f64>>,
}

impl Measured {
    fn new(name: String, rounds: usize, entries: Vec<Entry<'_>>) -> Self {
        let limit = entries.iter().position(|entry| entry.role == Role::Limit);
        let limits = limit.map(|limit| entries[limit].samples.clone());
        let (reports, samples) = entries
            .into_iter()
            .enumerate()
            .map(|(place, entry)| {
                let limits = limits.as_ref().filter(|_| limit != Some(place));
                let report = EntryReport {
                    nanoseconds: Estimate::of(&entry.samples).unwrap_or(Estimate::exact(0.0)),
                    fastest: entry.samples.iter().copied().fold(f64::INFINITY, f64::min),
                    ratio: limits.and_then(|limits| Estimate::of_ratios(&entry.samples, limits)),
                    name: entry.name,
                    role: entry.role,
                    iterations: entry.iterations,
                };
                (report, entry.samples)
            })
            .unzip();
        Self {
            report: ComparisonReport {
                name,
                rounds,
                entries: reports,
            },
            samples,
        }
    }

    /// Of a comparison that the filter left out.
    fn none(name: String) -> Self {
        Self {
            report: ComparisonReport {
                name,
                rounds: 0,
                entries: Vec::new(),
            },
            samples: Vec::new(),
        }
    }

    /// The time of `entry` over that of the limit; `None` when the filter left the comparison out.
    ///
    /// # Panics
    /// When there is no such entry, or it is the limit.
    #[must_use]
    pub fn ratio(&self, entry: &str) -> Option<Estimate> {
        let place = self.place(entry)?;
        let ratio = self.report.entries[place].ratio;
        assert!(
            ratio.is_some(),
            "{}: {entry} has no ratio to a limit",
            self.report.name
        );
        ratio
    }

    /// The time of `entry` over that of `other`; `None` when the filter left the comparison out. The other way round it says how many times
    /// faster an entry is.
    ///
    /// # Panics
    /// When there is no such entry.
    #[must_use]
    pub fn ratio_of(&self, entry: &str, other: &str) -> Option<Estimate> {
        let (entry, other) = (self.place(entry)?, self.place(other)?);
        Estimate::of_ratios(&self.samples[entry], &self.samples[other])
    }

    /// The time of `entry`, in nanoseconds an operation; `None` when the filter left the comparison out.
    ///
    /// # Panics
    /// When there is no such entry.
    #[must_use]
    pub fn nanoseconds(&self, entry: &str) -> Option<Estimate> {
        Some(self.report.entries[self.place(entry)?].nanoseconds)
    }

    fn place(&self, entry: &str) -> Option<usize> {
        if self.report.entries.is_empty() {
            return None;
        }
        let place = self.report.entries.iter().position(|each| each.name == entry);
        assert!(place.is_some(), "{} has no entry {entry}", self.report.name);
        place
    }
}
