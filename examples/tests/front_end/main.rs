//! The front end, by its own program over TLS, at a real issuer: each protection against whoever tries to get round it.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should stop, and other processes know no injected clock"
)]

mod api;
mod api_calls;
mod browser;
mod forgery;
mod process;
mod replicas;
mod scene;
mod session_cookie;
mod sign_in;
