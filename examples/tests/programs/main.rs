//! The programs at a real issuer, over TLS: each protection against whoever tries to get round it, the worker, and both with a
//! real browser.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should stop, and other processes know no injected clock"
)]

mod api;
mod api_calls;
mod browser;
mod entra;
mod forgery;
mod in_chromium;
mod listening;
mod process;
mod replicas;
mod scene;
mod session_cookie;
mod sign_in;
mod worker;
