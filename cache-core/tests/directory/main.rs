//! The directory of accounts: it lists whoever is signed in, costs little, and is never in the way.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a failure here is a failed test, and the modules are one program"
)]

#[path = "../support/mod.rs"]
mod support;

mod crashes;
mod keeping;
mod listing;
mod rebuild;
mod scene;
mod uses;
