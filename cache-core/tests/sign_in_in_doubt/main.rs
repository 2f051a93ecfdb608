//! Sign-ins, sessions and imports of which nobody knows whether they were stored: what others did with them meanwhile stands.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a failure here is a failed test, and the modules are one program"
)]

#[path = "../support/mod.rs"]
mod support;

mod imports;
mod sessions;
mod sign_ins;
mod world;
