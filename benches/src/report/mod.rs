//! What was measured, as a page for people and as JSON for programs.

pub mod units;
