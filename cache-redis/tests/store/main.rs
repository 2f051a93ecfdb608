//! The storage contract and what is Redis' own, held against real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod arrangements;
mod conformance;
mod expiry;
mod open;
mod outage;
mod records;
mod replicated;
mod support;
mod watch;
