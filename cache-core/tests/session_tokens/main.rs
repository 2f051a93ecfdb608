//! Tokens of sessions that bring their own proof: asked for once, kept with their user's sign-in, gone with the session.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod asked_for;
mod ends;
mod scene;
#[path = "../support/mod.rs"]
mod support;
