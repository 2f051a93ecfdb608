//! Everything that lives in a session: on-behalf-of, long-running and web sessions, token exchange; and the import of a refresh token.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod exchange;
mod import;
mod long_running;
mod oidc;
mod on_behalf_of;
mod scene;
mod sign_out;
mod web;
