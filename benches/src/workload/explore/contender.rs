//! A strategy that is compared, and what its runs brought.

use serde::Serialize;

use super::matrix::Candidate;
use crate::workload::measured::Figures;

/// A candidate and what its runs brought.
#[derive(Clone, Debug, Serialize)]
pub struct Contender {
    /// What was run.
    pub candidate: Candidate,
    /// What each run brought, in the order that they were made.
    pub runs: Vec<Figures>,
}

impl Contender {
    pub(super) fn new(candidate: Candidate) -> Self {
        Self {
            candidate,
            runs: Vec::new(),
        }
    }

    /// The median of each figure over the runs; `None` where there is none.
    #[must_use]
    pub fn median(&self) -> Option<Figures> {
        median_figures(&self.runs)
    }
}

/// The median of each figure over `runs`, and the sum of what was counted; `None` where there is none.
#[must_use]
pub fn median_figures(runs: &[Figures]) -> Option<Figures> {
    let of = |figure: fn(&Figures) -> f64| median(runs.iter().map(figure).collect());
    Some(Figures {
        median_nanoseconds: of(|run| run.median_nanoseconds)?,
        p99_nanoseconds: of(|run| run.p99_nanoseconds)?,
        slowest_nanoseconds: of(|run| run.slowest_nanoseconds)?,
        requests_per_second: of(|run| run.requests_per_second)?,
        cpu_nanoseconds: of(|run| run.cpu_nanoseconds)?,
        waits_per_second: of(|run| run.waits_per_second)?,
        grown_bytes: runs.iter().filter_map(|run| run.grown_bytes).max(),
        requests: runs.iter().map(|run| run.requests).sum(),
        failed: runs.iter().map(|run| run.failed).sum(),
        calls: runs.iter().map(|run| run.calls).sum(),
    })
}

/// The middle one, or the mean of the two in the middle; `None` where there is none.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(upper, *values.get(values.len() / 2 - 1)?))
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
        assert_eq!(median(Vec::new()), None);
    }
}
