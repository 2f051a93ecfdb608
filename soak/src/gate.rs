//! What a gate is.

use std::ops::Range;

use crate::stage::Stage;
use crate::tally::Tally;

/// One promise, and how it is put to the proof.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// Its place in the scorecard, from 1.
    pub number: u8,
    /// What `cargo xtask soak --gate` calls it.
    pub name: &'static str,
    /// What is done to tokenkeep.
    pub title: &'static str,
    /// What must hold meanwhile and after.
    pub must: &'static str,
    /// What one case is, in the plural: `kills`.
    pub unit: &'static str,
    /// How many cases prove it.
    pub full_size: u64,
    /// How many of them the tests run.
    pub test_size: u64,
    /// How many run before the result file is written anew. A batch that was stopped counts for nothing.
    pub batch: u64,
    /// What a passed gate does not show.
    pub limits: &'static [&'static str],
    /// What must have been counted, and how often for each case at least: a gate in which little happened has shown little.
    pub floors: &'static [(&'static str, f64)],
    /// Runs these cases. A case depends on its number only, as far as chance can be kept out.
    pub run: fn(&Stage, Range<u64>) -> Result<Tally, GateError>,
}

impl Gate {
    /// The number of cases at `scale`, at least one.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a number of cases is far below 2^52"
    )]
    pub fn size(&self, scale: f64) -> u64 {
        ((self.full_size as f64 * scale).round() as u64).max(1)
    }

    /// What happened too seldom in so many cases for them to show anything, in words.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "what is counted is far below 2^52")]
    pub fn too_seldom(&self, tally: &Tally, cases: u64) -> Vec<String> {
        let too_seldom = |&&(what, floor): &&(&str, f64)| (tally.count(what) as f64) < floor * cases as f64;
        let in_words = |&(what, floor): &(&str, f64)| {
            let expected = floor * cases as f64;
            format!(
                "{what}: {}, and {expected:.0} were to be expected at least",
                tally.count(what)
            )
        };
        self.floors.iter().filter(too_seldom).map(in_words).collect()
    }

    /// The name of its result file.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{:02}-{}.json", self.number, self.name)
    }
}

/// A gate could not be put to the proof. That its promise was broken is no error: see [`Tally::violation`].
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct GateError {
    doing: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl GateError {
    /// What could not be done, in words.
    pub fn new(doing: impl Into<String>) -> Self {
        Self {
            doing: doing.into(),
            source: None,
        }
    }

    /// Adds what kept it from being done.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// Says what was being done when something failed.
pub trait Doing<T> {
    /// The error as a [`GateError`] that begins with `doing`.
    ///
    /// # Errors
    ///
    /// When this is one.
    fn doing(self, doing: impl Into<String>) -> Result<T, GateError>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl Into<String>) -> Result<T, GateError> {
        self.map_err(|error| GateError::new(doing).because(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_in_which_little_happened_says_so() {
        let gate = Gate {
            floors: &[("sign-ins", 0.5)],
            ..crate::gates::ALL[0]
        };
        let mut tally = Tally::default();
        tally.add("sign-ins", 5);
        assert!(gate.too_seldom(&tally, 10).is_empty());
        let words = ["sign-ins: 5, and 6 were to be expected at least".to_owned()];
        assert_eq!(gate.too_seldom(&tally, 12), words);
    }

    #[test]
    fn a_scaled_gate_has_a_case_at_least() {
        let gate = crate::gates::ALL[0];
        assert_eq!(gate.size(1.0), gate.full_size);
        assert_eq!(gate.size(0.0), 1);
    }
}
