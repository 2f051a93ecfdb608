//! A question and its answer.

use std::process::ExitCode;

use super::arguments::Arguments;
use super::comparison::Comparison;
use super::machine::{self, Machine};
use super::print;
use super::report::{ComparisonReport, CountReport, Report, SeriesReport, TargetReport, Verdict};
use super::statistics::Estimate;
use super::target::{Criterion, Row, Target};

/// Why a question could not be answered.
pub type QuestionError = Box<dyn std::error::Error + Send + Sync>;

/// A question that is being answered.
#[derive(Debug)]
pub struct Question {
    arguments: Arguments,
    report: Report,
}

/// Answers the question `name` as this program's arguments say: the body of `main`.
pub fn answer<F>(name: &str, title: &str, ask: F) -> ExitCode
where
    F: FnOnce(&mut Question) -> Result<(), QuestionError>,
{
    let answered = Arguments::of_program().and_then(|arguments| answer_with(&arguments, name, title, ask));
    match answered {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            print::failure(name, &*error);
            ExitCode::FAILURE
        }
    }
}

/// Answers the question `name` as `arguments` say.
///
/// # Errors
/// What `ask` failed with, or that the report cannot be written.
pub fn answer_with<F>(arguments: &Arguments, name: &str, title: &str, ask: F) -> Result<Report, QuestionError>
where
    F: FnOnce(&mut Question) -> Result<(), QuestionError>,
{
    let mut question = Question {
        arguments: arguments.clone(),
        report: Report {
            question: name.to_owned(),
            title: title.to_owned(),
            date: machine::date(),
            machine: Machine::this(),
            command: arguments.command(name),
            quick: arguments.quick,
            comparisons: Vec::new(),
            counts: Vec::new(),
            series: Vec::new(),
            targets: Vec::new(),
            means: Vec::new(),
        },
    };
    print::heading(&question.report);
    ask(&mut question)?;
    question
        .report
        .targets
        .retain(|target| !target.measured.median.is_nan());
    print::conclusion(&question.report);
    if let Some(folder) = &question.arguments.output {
        question.report.write(folder)?;
    }
    Ok(question.report)
}

impl Question {
    /// Whether this is a smoke run, which has a second or two: sizes should be small.
    #[must_use]
    pub fn is_quick(&self) -> bool {
        self.arguments.quick
    }

    /// `full`, or `quick` in a smoke run.
    pub fn sized<T>(&self, full: T, quick: T) -> T {
        if self.is_quick() { quick } else { full }
    }

    /// Whether the filter lets the comparison through: to leave out what it would have to set up.
    #[must_use]
    pub fn wants(&self, comparison: &str) -> bool {
        let filter = self.arguments.filter.as_deref();
        filter.is_none_or(|filter| comparison.contains(filter))
    }

    /// Begins a comparison. Names are unique within a question.
    pub fn compare<'a>(&mut self, name: &str) -> Comparison<'_, 'a> {
        Comparison::new(self, name)
    }

    /// Notes something that was counted: requests, bytes, allocations.
    pub fn count(&mut self, name: &str, value: f64, unit: &str) {
        let count = CountReport {
            name: name.to_owned(),
            value,
            unit: unit.to_owned(),
        };
        print::count(&count);
        self.report.counts.push(count);
    }

    /// Notes values over something: `x` and `y` say what the numbers of a point are, with their units.
    pub fn series(&mut self, name: &str, x: &str, y: &str, points: Vec<(f64, f64)>) {
        let series = SeriesReport {
            name: name.to_owned(),
            x: x.to_owned(),
            y: y.to_owned(),
            points,
        };
        print::series(&series);
        self.report.series.push(series);
    }

    /// Holds a measured or counted value against a demand of the table of targets. `name` says which of the row's demands it is; without a
    /// value, since the filter left it out, the target is not judged.
    pub fn target(
        &mut self,
        row: Row,
        name: &str,
        criterion: Criterion,
        measured: impl Into<Option<Estimate>>,
    ) -> Target<'_> {
        let measured = measured.into();
        let is_met = measured.is_some_and(|measured| criterion.is_met_by(&measured));
        let report = TargetReport {
            row,
            name: name.to_owned(),
            criterion,
            measured: measured.unwrap_or(Estimate::exact(f64::NAN)),
            verdict: if is_met { Verdict::Met } else { Verdict::Missed },
            reason: None,
            next_idea: None,
        };
        let targets = &mut self.report.targets;
        targets.push(report);
        let last = targets.len() - 1;
        Target::new(&mut targets[last])
    }

    /// Says what the numbers mean for a choice, a paragraph a call.
    pub fn means(&mut self, paragraph: &str) {
        self.report.means.push(paragraph.to_owned());
    }

    pub(super) fn add(&mut self, comparison: ComparisonReport) {
        self.report.comparisons.push(comparison);
    }
}
