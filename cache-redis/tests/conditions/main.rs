//! What servers say when they cannot serve: each condition is an error of its own, and loses nothing.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod certificates;
mod client;
mod foreign;
mod load;
mod memory;
mod outage;
mod permissions;
mod roles;
mod slots;
