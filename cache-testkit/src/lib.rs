//! Conformance suite, fault injection and a fake authority.

pub mod clock;
pub mod random;
pub mod suite;
