//! The store of small caches, over keychains in memory and real ones.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod conformance;
mod crash;
mod hang;
#[cfg(all(target_os = "linux", feature = "keyutils"))]
mod keyutils;
mod memory;
#[cfg(target_os = "linux")]
mod real;
mod records;
#[cfg(all(target_os = "linux", feature = "native"))]
mod secret_service;
#[cfg(target_os = "linux")]
#[path = "../session/mod.rs"]
mod session;
