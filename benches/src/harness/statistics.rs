//! Medians and their spread.

use serde::{Deserialize, Serialize};

/// A median and the quartiles around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Half of the samples are below.
    pub median: f64,
    /// A quarter of the samples is below.
    pub lower: f64,
    /// A quarter of the samples is above.
    pub upper: f64,
}

impl Estimate {
    /// Something that was counted and not measured.
    #[must_use]
    pub fn exact(value: f64) -> Self {
        Self {
            median: value,
            lower: value,
            upper: value,
        }
    }

    /// The estimate of `samples`; `None` when there are none.
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Self> {
        if samples.is_empty() {
            return None;
        }
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            median: quantile(&sorted, 0.5),
            lower: quantile(&sorted, 0.25),
            upper: quantile(&sorted, 0.75),
        })
    }

    /// The estimate of the quotients of two series that were sampled in turns: machines are busy for whole rounds, and within a round for all.
    #[must_use]
    pub fn of_ratios(samples: &[f64], limits: &[f64]) -> Option<Self> {
        let ratios: Vec<f64> = samples
            .iter()
            .zip(limits)
            .filter(|(_, limit)| **limit > 0.0)
            .map(|(sample, limit)| sample / limit)
            .collect();
        Self::of(&ratios)
    }
}

/// Interpolates between the samples beside the place, so that the median of two is their middle.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_quartiles_of_a_series() {
        let estimate = Estimate::of(&[5.0, 1.0, 3.0, 2.0, 4.0]).unwrap();
        assert_eq!(
            estimate,
            Estimate {
                median: 3.0,
                lower: 2.0,
                upper: 4.0
            }
        );
        assert_eq!(Estimate::of(&[1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Estimate::of(&[]), None);
    }

    #[test]
    fn a_busy_round_does_not_move_the_ratio() {
        // In the third round everything took a hundred times as long.
        let limits = [10.0, 11.0, 1000.0, 10.0];
        let samples = [20.0, 22.0, 2000.0, 20.0];
        assert_eq!(
            Estimate::of_ratios(&samples, &limits).unwrap(),
            Estimate::exact(2.0)
        );
    }
}
