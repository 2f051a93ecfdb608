//! Every way in which a confidential client proves who it is, against the fake Entra authority and oidc-provider.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod certificate;
mod environment;
mod oidc_provider;
mod provider;
mod region;
mod scene;
#[path = "../support/mod.rs"]
mod support;
