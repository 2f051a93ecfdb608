//! Measurements of token caches: what each choice of a strategy costs on this machine, beside its limit.
//!
//! - [`harness`] measures: interleaved rounds, medians with their spread, ratios to a limit of the same run.
//! - [`payload`] makes partitions, tokens and caches of the sizes that real authorities bring about.
//!
//! The questions are in `benches/benches`, one file each; `cargo xtask bench` answers all of them.

pub mod harness;
pub mod payload;
