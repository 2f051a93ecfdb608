//! Managed identities against loopback endpoints that follow each platform's public contract to the letter.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should stop"
)]

mod arc;
mod cache;
mod refused;
mod retries;
mod scene;
mod sources;
