//! Conformance suite, fault injection and a fake authority.

pub mod broken;
pub mod clock;
pub mod fault;
pub mod random;
pub mod suite;
