//! Replies that must not be believed: each is refused with an error of its own, and the cache stays as it was.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should stop"
)]

mod issuer;
mod key_rotation;
mod named_errors;
mod refreshes;
mod repeated_secrets;
mod scene;
mod sign_ins;
mod signatures;
#[path = "../support/mod.rs"]
mod support;
