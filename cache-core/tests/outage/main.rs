//! What a cache does while its store cannot be reached, and how it finds back.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod behind;
mod breaker;
mod fallback;
mod fallback_sign_out;
mod machine;
mod memory;
mod recorded;
mod refreshes;
mod scene;
#[path = "../support/mod.rs"]
mod support;
