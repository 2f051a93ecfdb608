//! What a question's program writes: `QUESTION.json`. `cargo xtask bench` reads it, and whatever measures without this harness writes it too.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::statistics::Estimate;
use super::target::{Criterion, Row};

/// The answer to a question. Fields that are lists may be left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The question's name, which is also that of its file.
    pub question: String,
    /// The question.
    pub title: String,
    /// When it was answered, as `2026-11-21 21:40 UTC`.
    pub date: String,
    /// Where.
    pub machine: Machine,
    /// The command that answers it again.
    pub command: String,
    /// Whether it was a smoke run, whose values say nothing.
    #[serde(default)]
    pub quick: bool,
    /// What was measured side by side.
    #[serde(default)]
    pub comparisons: Vec<ComparisonReport>,
    /// What was counted.
    #[serde(default)]
    pub counts: Vec<CountReport>,
    /// What was followed over time or size.
    #[serde(default)]
    pub series: Vec<SeriesReport>,
    /// What has to come out.
    #[serde(default)]
    pub targets: Vec<TargetReport>,
    /// What the numbers mean for a choice, a paragraph each.
    #[serde(default)]
    pub means: Vec<String>,
}

/// Operations that took turns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparisonReport {
    /// What they all do.
    pub name: String,
    /// How many rounds there were.
    pub rounds: usize,
    /// The operations, the limit first.
    pub entries: Vec<EntryReport>,
}

/// One operation of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntryReport {
    /// The operation.
    pub name: String,
    /// What it is in the comparison.
    pub role: Role,
    /// How long it took, in nanoseconds an operation, over the rounds.
    pub nanoseconds: Estimate,
    /// Its fastest round, in nanoseconds an operation.
    pub fastest: f64,
    /// How often it ran in each round.
    pub iterations: u64,
    /// Its time over that of the limit; `None` for the limit itself, and where there is none.
    #[serde(default)]
    pub ratio: Option<Estimate>,
}

/// What an operation is in its comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// What the machine allows.
    Limit,
    /// What this project does.
    Variant,
    /// What people use instead.
    Peer,
}

/// Something that was counted: requests, bytes, allocations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CountReport {
    /// What.
    pub name: String,
    /// How many.
    pub value: f64,
    /// Of which unit.
    pub unit: String,
}

/// Values over something, such as requests over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesReport {
    /// What.
    pub name: String,
    /// What the first number of a point is, with its unit.
    pub x: String,
    /// What the second is.
    pub y: String,
    /// The points, in the order of the first number.
    pub points: Vec<(f64, f64)>,
}

/// A target and what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetReport {
    /// The row of the table that it belongs to.
    pub row: Row,
    /// Which of the row's demands it is.
    pub name: String,
    /// What has to come out.
    pub criterion: Criterion,
    /// What did.
    pub measured: Estimate,
    /// Whether that will do.
    pub verdict: Verdict,
    /// Why not.
    #[serde(default)]
    pub reason: Option<String>,
    /// What could be tried next.
    #[serde(default)]
    pub next_idea: Option<String>,
}

/// Whether a target is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is.
    Met,
    /// It is not.
    Missed,
}

impl Report {
    /// Writes the report into `folder`, which is made where it is missing, as `QUESTION.json`.
    ///
    /// # Errors
    /// That the folder or the file cannot be written.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let json = serde_json::to_vec_pretty(self)?;
        fs::write(folder.join(format!("{}.json", self.question)), json)
    }
}
