//! The item of MSAL programs in a real Secret Service: alone, with the programs, and when the service is not as it should be.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod conditions;
mod item;
mod programs;
#[path = "../session/mod.rs"]
mod session;
