//! What a cache tells of what happens in it, whoever does it.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

#[path = "../support/mod.rs"]
mod support;

mod sessions;
mod told;
mod users;
