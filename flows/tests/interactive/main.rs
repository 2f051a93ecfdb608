//! Sign-in in the browser: against the fake Entra authority and oidc-provider with a scripted browser, which misbehaves where a test
//! wants it to, and in real Chromium.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a failure here is a failed test"
)]

mod chromium;
mod limits;
mod pushed;
mod refusals;
mod scene;
mod session;
mod success;
#[path = "../support/mod.rs"]
mod support;
