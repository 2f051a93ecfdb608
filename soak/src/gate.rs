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
    #[test]
    fn a_scaled_gate_has_a_case_at_least() {
        let gate = crate::gates::ALL[0];
        assert_eq!(gate.size(1.0), gate.full_size);
        assert_eq!(gate.size(0.0), 1);
    }
}
