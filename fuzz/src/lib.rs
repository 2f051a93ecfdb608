//! What fuzzers do to tokenkeep: one function for each place where an attacker chooses the bytes.
//!
//! A [`Target`] takes any bytes and panics when a promise is broken. The same functions run in three ways:
//!
//! - the programs in `fuzz_targets` are libFuzzer's, which finds its way by coverage. `cargo xtask fuzz` builds them on the stable
//!   toolchain, as does the gate `fuzzing` of `cargo xtask soak`; `cargo fuzz run` works too where it is installed;
//! - the tests of the package `soak` run them over [seeds](Target::seeds) and what is near them;
//! - an input that broke a promise is run again by `cargo xtask fuzz TARGET --input FILE`.

#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a target tells of a broken promise"
)]

pub mod bincode;
pub mod challenge;
pub mod device;
pub mod discovery;
pub mod envelope;
pub mod id_token;
pub mod import;
pub mod managed_identity;
pub mod msal_json;
pub mod operations;
pub mod token_reply;

mod canned;
mod scene;
mod shown;

pub use scene::unhex;

/// One place where an attacker chooses the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of the program.
    pub name: &'static str,
    /// What is attacked.
    pub title: &'static str,
    /// Takes any bytes.
    ///
    /// # Panics
    /// When a promise is broken.
    pub run: fn(&[u8]) -> Outcome,
    /// Honest inputs, from which a fuzzer sets out.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How long an input is at the most, in bytes.
    pub max_len: usize,
}

/// What became of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// They were believed, in part at least, and nothing was wrong with that.
    Taken,
    /// They were refused.
    Refused,
}

impl Outcome {
    fn taken(is_taken: bool) -> Self {
        if is_taken { Self::Taken } else { Self::Refused }
    }
}

/// All of them.
pub const TARGETS: [Target; 11] = [
    envelope::TARGET,
    bincode::TARGET,
    msal_json::TARGET,
    token_reply::TARGET,
    challenge::TARGET,
    discovery::TARGET,
    import::TARGET,
    id_token::TARGET,
    device::TARGET,
    managed_identity::TARGET,
    operations::TARGET,
];
