//! The reliability gates: what tokenkeep promises under kills, faults, races and attacks, proved on real parts.
//!
//! A [gate](gate::Gate) is one promise with the number of cases that prove it. It runs at two sizes by the same code: a small one in the tests
//! of this package, and the full one by `cargo xtask soak`, which [goes on](record::Record) where an earlier run was stopped and writes
//! `docs/reliability.md` from the records.
//!
//! | module | what it holds |
//! |---|---|
//! | [`gate`] | what a gate is |
//! | [`gates`] | every gate, one file each |
//! | [`tally`] | what the cases of a gate came to |
//! | [`record`] | the result file of a gate, and running on from it |
//! | [`stage`] | what a gate finds to work with: folders, children |
//! | [`scene`] | caches, and users whose tokens say which of their sign-ins they are of |
//! | [`hurried_clock`] | time that runs faster, for waits of minutes |
//! | [`signing`] | the child that signs users in, whatever is done to its files |
//! | `recorded` | that child under strace, on Linux |
//! | [`golden`] | the frozen records of cache-core |
//! | [`fuzzer`] | the programs of the package `fuzz` |
//! | [`child`] | processes that are started to be raced, stopped and killed |
//! | [`failover`] | clients of Redis whose primary is killed or cut off |
//! | [`guarded`] | such a process, of which it is judged how it ends |
//! | [`fleet`] | processes that share a store and refresh at a real provider |

pub mod child;
pub mod failover;
pub mod fleet;
pub mod fuzzer;
pub mod gate;
pub mod gates;
pub mod golden;
pub mod guarded;
pub mod hurried_clock;
pub mod record;
#[cfg(target_os = "linux")]
pub mod recorded;
pub mod run;
pub mod scene;
pub mod signing;
pub mod stage;
pub mod tally;
