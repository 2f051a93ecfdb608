//! The flows against glewlwyd, the second real OpenID provider: what it offers of each row of `docs/flows.md`.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod acquired;
mod browser;
mod client_authentication;
mod import;
mod password;
mod proof;
mod scene;
mod sessions;
mod sign_out;
