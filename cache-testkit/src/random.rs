//! Randomness that tests can foresee. Nothing here is secure.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use cache_core::random::{Random, RandomError};

/// A [`Random`] that repeats the same bytes for the same seed.
///
/// **Insecure by intent**: whoever knows the seed knows every byte. For tests that need reproducible jitter
/// or versions, never for keys that protect anything.
pub struct SeededRandom {
    state: Mutex<u64>,
}

impl SeededRandom {
    /// A generator whose whole output follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            state: Mutex::new(seed),
        }
    }

    // SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): every seed is good and it never repeats within 2^64 steps.
    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl fmt::Debug for SeededRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeededRandom").finish_non_exhaustive()
    }
}

impl Random for SeededRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in buffer.chunks_mut(8) {
            let word = Self::next(&mut state).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

/// A [`Random`] that never has a byte, as on a machine whose generator is not there.
#[derive(Clone, Copy, Debug, Default)]
pub struct FailingRandom;

impl Random for FailingRandom {
    fn fill(&self, _buffer: &mut [u8]) -> Result<(), RandomError> {
        Err(RandomError::new("this generator fails on purpose"))
    }
}
