//! Who comes when.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Zipf};

/// Which users come, one after the other.
#[derive(Clone, Debug)]
pub struct Picker {
    order: Vec<u32>,
    next: usize,
}

impl Picker {
    /// How many picks are drawn beforehand. More than processors' caches hold of anything that is picked.
    const DRAWN: usize = 1 << 16;

    /// Everybody comes equally often.
    #[must_use]
    pub fn uniform(users: usize, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        Self::of((0..Self::DRAWN).map(|_| random.random_range(0..users.max(1) as u32)))
    }

    /// Few come often (a Zipf distribution): the user with number n comes in proportion to n to the power of minus `exponent`.
    #[must_use]
    pub fn zipf(users: usize, exponent: f64, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        match Zipf::new(users.max(1) as f64, exponent) {
            Ok(zipf) => Self::of((0..Self::DRAWN).map(|_| zipf.sample(&mut random) as u32 - 1)),
            // An exponent that is none: nobody is preferred.
            Err(_) => Self::uniform(users, seed),
        }
    }

    fn of(order: impl Iterator<Item = u32>) -> Self {
        Self {
            order: order.collect(),
            next: 0,
        }
    }

    /// The next user's number. After 65,536 picks they come again in the same order.
    #[inline]
    pub fn pick(&mut self) -> usize {
        let picked = self.order[self.next];
        self.next = (self.next + 1) & (Self::DRAWN - 1);
        picked as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(mut picker: Picker) -> Vec<usize> {
        let mut counts = vec![0; 10];
        (0..10_000).for_each(|_| counts[picker.pick()] += 1);
        counts
    }

    #[test]
    fn everybody_or_few_come() {
        assert!(
            counts(Picker::uniform(10, 1))
                .iter()
                .all(|count| (800..1200).contains(count))
        );
        let skewed = counts(Picker::zipf(10, 1.1, 1));
        assert!(skewed[0] > 3 * skewed[9], "{skewed:?}");
    }

    #[test]
    fn a_seed_gives_the_same_order_again() {
        let picks = |mut picker: Picker| (0..100).map(|_| picker.pick()).collect::<Vec<_>>();
        assert_eq!(
            picks(Picker::zipf(1000, 1.0, 7)),
            picks(Picker::zipf(1000, 1.0, 7))
        );
    }
}
