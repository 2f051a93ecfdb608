//! Measurements of token caches: what each choice of a strategy costs on this machine, beside its limit.
//!
//! - [`harness`] measures: interleaved rounds, medians with their spread, ratios to a limit of the same run.
//! - [`payload`] makes partitions, tokens and caches of the sizes that real authorities bring about.
//! - [`workload`] runs what people do with a cache, in processes of its own, and compares strategies on it.
//! - [`report`] writes what was measured as a page and as JSON.
//!
//! The questions are in `benches/benches`, one file each; `cargo xtask bench` answers all of them.

pub mod harness;
pub mod payload;
pub mod report;
pub mod workload;
