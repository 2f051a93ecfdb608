//! Conformance suite, fault injection and a fake authority.

#[cfg(feature = "authority")]
pub mod authority;
