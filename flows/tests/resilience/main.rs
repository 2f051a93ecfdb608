//! What happens when the authority says no, or nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test that cannot go on should stop"
)]

#[path = "../support/mod.rs"]
mod support;

mod fleet;
mod http_rules;
mod issuer;
mod lost_replies;
mod lost_replies_real;
mod observability;
mod refusals;
mod store_away;
mod storms;
mod telemetry;
mod throttle;
mod time_limits;
mod virtual_clock;
