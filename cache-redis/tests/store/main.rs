//! The storage contract and what is Redis' own, held against real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod conformance;
mod server;
