//! The targets that measurements are held against.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::report::{TargetReport, Verdict};
use super::statistics::Estimate;

/// A row of the table of targets, whose words are in `benches/targets.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Row {
    /// A prepared silent request that memory answers.
    Prepared,
    /// A find from plain arguments that memory answers.
    Find,
    /// The whole silent acquisition that memory answers.
    Silent,
    /// Many tokens in one partition.
    Growth,
    /// A hit that SQLite answers.
    ColdSqlite,
    /// A hit that Redis answers, and its commits.
    ColdRedis,
    /// A durable commit to SQLite.
    DurableCommit,
    /// Many tasks that need one refresh.
    Stampede,
    /// Memory over the secrets.
    Memory,
    /// Beside the MSALs of other languages, with one account.
    PeersOne,
    /// The same with ten thousand.
    PeersMany,
}

#[derive(Deserialize)]
struct Wording {
    id: Row,
    what: String,
}

static WORDING: LazyLock<Vec<Wording>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../targets.json")).unwrap_or_default());

impl Row {
    /// What the row is about, in the words of the table.
    #[must_use]
    pub fn what(self) -> &'static str {
        let wording = WORDING.iter().find(|wording| wording.id == self);
        wording.map_or("", |wording| &wording.what)
    }
}

/// What a measured value has to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// This much or less.
    AtMost(f64),
    /// This much or more.
    AtLeast(f64),
    /// This, to the last digit: for what is counted.
    Exactly(f64),
}

/// `value` or less.
#[must_use]
pub fn at_most(value: f64) -> Criterion {
    Criterion::AtMost(value)
}

/// `value` or more.
#[must_use]
pub fn at_least(value: f64) -> Criterion {
    Criterion::AtLeast(value)
}

/// `value`, to the last digit.
#[must_use]
pub fn exactly(value: f64) -> Criterion {
    Criterion::Exactly(value)
}

impl Criterion {
    /// Whether the median of `measured` is such a value.
    #[must_use]
    pub fn is_met_by(self, measured: &Estimate) -> bool {
        match self {
            Self::AtMost(value) => measured.median <= value,
            Self::AtLeast(value) => measured.median >= value,
            Self::Exactly(value) => measured.median == value,
        }
    }
}

impl std::fmt::Display for Criterion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(value) => write!(f, "≤ {value}"),
            Self::AtLeast(value) => write!(f, "≥ {value}"),
            Self::Exactly(value) => write!(f, "= {value}"),
        }
    }
}

/// A target that was set with [`Question::target`](super::Question::target); says what to do about a miss.
#[derive(Debug)]
pub struct Target<'a>(&'a mut TargetReport);

impl<'a> Target<'a> {
    pub(super) fn new(report: &'a mut TargetReport) -> Self {
        Self(report)
    }

    /// Why it is missed. Given always, shown at a miss.
    pub fn reason(self, reason: &str) -> Self {
        self.0.reason = Some(reason.to_owned());
        self
    }

    /// What could be tried next. Given always, shown at a miss.
    pub fn next_idea(self, next_idea: &str) -> Self {
        self.0.next_idea = Some(next_idea.to_owned());
        self
    }

    /// Whether it is met.
    pub fn verdict(self) -> Verdict {
        self.0.verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [Row; 11] = [
        Row::Prepared,
        Row::Find,
        Row::Silent,
        Row::Growth,
        Row::ColdSqlite,
        Row::ColdRedis,
        Row::DurableCommit,
        Row::Stampede,
        Row::Memory,
        Row::PeersOne,
        Row::PeersMany,
    ];

    #[test]
    fn every_row_has_its_words_in_this_order() {
        let listed: Vec<Row> = WORDING.iter().map(|wording| wording.id).collect();
        assert_eq!(listed, ROWS);
        assert!(ROWS.iter().all(|row| !row.what().is_empty()));
    }

    #[test]
    fn the_median_decides() {
        let measured = Estimate {
            median: 2.0,
            lower: 1.5,
            upper: 2.5,
        };
        assert!(at_most(2.0).is_met_by(&measured) && !at_most(1.9).is_met_by(&measured));
        assert!(at_least(2.0).is_met_by(&measured) && !at_least(2.1).is_met_by(&measured));
        assert!(exactly(2.0).is_met_by(&measured) && !exactly(1.0).is_met_by(&measured));
    }
}
