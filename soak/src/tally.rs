//! What the cases of a gate came to.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::{Deserialize, Serialize};

/// How many violations are kept word for word. One is enough to fail; a few show a pattern.
const KEPT_VIOLATIONS: usize = 20;

/// Sums, largest values and violations of some cases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// What was counted.
    pub counts: BTreeMap<String, u64>,
    /// The largest value of what was measured.
    pub largest: BTreeMap<String, u64>,
    /// The versions of the real parts that took part.
    pub versions: BTreeMap<String, String>,
    /// How often the promise was broken.
    pub violations: u64,
    /// The first of these in words.
    pub examples: Vec<String>,
}

impl Tally {
    /// Counts `number` more of `what`.
    pub fn add(&mut self, what: &str, number: u64) {
        match self.counts.get_mut(what) {
            Some(count) => *count += number,
            None => _ = self.counts.insert(what.to_owned(), number),
        }
    }

    /// Keeps `value` if none of `what` was larger.
    pub fn at_most(&mut self, what: &str, value: u64) {
        let largest = self.largest.entry(what.to_owned()).or_default();
        *largest = value.max(*largest);
    }

    /// Names the version of a part that took part.
    pub fn version(&mut self, part: &str, version: impl Into<String>) {
        self.versions.insert(part.to_owned(), version.into());
    }

    /// The promise was broken.
    pub fn violation(&mut self, what: impl Display) {
        self.violations += 1;
        if self.examples.len() < KEPT_VIOLATIONS {
            self.examples.push(what.to_string());
        }
    }

    /// Counts a violation unless `holds`.
    pub fn check(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.violation(otherwise());
        }
    }

    /// How many of `what` were counted.
    #[must_use]
    pub fn count(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or_default()
    }

    /// Adds what other cases came to.
    pub fn merge(&mut self, other: Self) {
        for (what, number) in other.counts {
            self.add(&what, number);
        }
        for (what, value) in other.largest {
            self.at_most(&what, value);
        }
        self.versions.extend(other.versions);
        self.violations += other.violations;
        let room = KEPT_VIOLATIONS.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.into_iter().take(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let mut all = Tally::default();
        for value in [3, 2] {
            let mut tally = Tally::default();
            tally.add("writes", value);
            tally.at_most("window in ms", value);
            tally.check(value == 2, || format!("{value} is not 2"));
            all.merge(tally);
        }
        assert_eq!((all.count("writes"), all.largest["window in ms"]), (5, 3));
        assert_eq!((all.violations, all.examples), (1, vec!["3 is not 2".to_owned()]));
    }

    #[test]
    fn every_violation_counts_and_some_are_told() {
        let mut tally = Tally::default();
        for number in 0..100 {
            tally.violation(number);
        }
        let mut all = tally.clone();
        all.merge(tally);
        assert_eq!((all.violations, all.examples.len()), (200, KEPT_VIOLATIONS));
    }
}
