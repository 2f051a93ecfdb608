//! Signing out with revocation, keys that tokens are bound to, and passwords: against the fake Entra authority over HTTPS
//! and against a real OpenID provider.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a failure here is a failed test"
)]

mod dpop;
mod dpop_nonces;
mod dpop_oidc;
mod key_memory;
mod password;
mod revocation;
mod scene;
