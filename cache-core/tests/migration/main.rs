//! Migrations: everything arrives once, whatever stops them and whoever uses either side meanwhile.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a failure here is a failed test, and the modules are one program"
)]

#[path = "../support/mod.rs"]
mod support;

mod crash_points;
mod documents;
mod in_doubt;
mod in_the_way;
mod many;
mod races;
mod records;
mod refusals;
mod resumed;
mod scene;
