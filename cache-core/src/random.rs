//! Randomness as an injected dependency.

use std::fmt;

/// The operating system could not supply random bytes. Nothing that needs them may go on.
#[derive(Debug, thiserror::Error)]
#[error("the operating system supplied no random bytes")]
pub struct RandomError {
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl RandomError {
    /// An error caused by `source`.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            source: source.into(),
        }
    }
}

/// A source of cryptographically secure random bytes.
pub trait Random: fmt::Debug + Send + Sync + 'static {
    /// Fills the whole of `buffer`.
    ///
    /// # Errors
    /// [`RandomError`] when no secure bytes can be had; `buffer` must then not be used.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError>;
}

/// The operating system's generator, asked anew each time so that a fork repeats nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that draws from the operating system"
    )]
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
        getrandom::fill(buffer).map_err(RandomError::new)
    }
}

/// `N` bytes from `random`.
///
/// # Errors
/// As [`Random::fill`].
pub fn random_bytes<const N: usize>(random: &dyn Random) -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    random.fill(&mut bytes)?;
    Ok(bytes)
}

/// A fraction in `0.0..1.0` for spreading retries and refreshes; not for secrets.
///
/// # Errors
/// As [`Random::fill`].
pub fn jitter(random: &dyn Random) -> Result<f64, RandomError> {
    let bits = u32::from_le_bytes(random_bytes(random)?);
    Ok(f64::from(bits) / (f64::from(u32::MAX) + 1.0))
}
