//! Conformance suite, fault injection and a fake authority.

#[cfg(feature = "authority")]
pub mod authority;
pub mod broken;
pub mod clock;
pub mod fault;
#[cfg(feature = "oidc-provider")]
pub mod oidc_provider;
pub mod random;
pub mod suite;
