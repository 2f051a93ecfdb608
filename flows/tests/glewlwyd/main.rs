//! The flows against glewlwyd, the second real OpenID provider: what it offers of each row of `docs/flows.md`.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod acquired;
mod scene;
