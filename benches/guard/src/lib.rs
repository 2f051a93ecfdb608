//! What a hit costs, in units that no clock has a part in: instructions and allocations.
//!
//! [`probes`] are the operations that are counted, on a cache that [`Fixture`] fills. The program of this package runs them under callgrind for
//! `cargo xtask guard`, which holds the instructions against `budget.json`; the tests of this package count allocations.

mod fixture;
mod offline;
pub mod probes;

pub use fixture::{Fixture, FixtureError, USERS};
