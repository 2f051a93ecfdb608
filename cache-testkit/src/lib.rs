//! Conformance suite, fault injection and a fake authority.
