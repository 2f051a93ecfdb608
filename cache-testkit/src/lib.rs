//! Conformance suite, fault injection and a fake authority.

#[cfg(feature = "oidc-provider")]
pub mod oidc_provider;
