//! The cache file of MSAL programs, with real peers and processes that are killed.

#![cfg(all(unix, feature = "msal-file"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod conformance;
mod document;
mod peers;
mod places;
mod processes;
mod sharing;
mod support;
mod torn;
