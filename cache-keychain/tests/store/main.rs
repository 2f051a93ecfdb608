//! The store of small caches, over keychains in memory and real ones.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod conformance;
mod crash;
mod hang;
#[cfg(all(target_os = "linux", feature = "keyutils"))]
mod keyutils;
mod memory;
mod records;
