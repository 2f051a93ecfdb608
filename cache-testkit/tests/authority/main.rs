//! The fake authority, asked over real HTTPS.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and wait on real time for a real server"
)]

mod authorization_code;
mod client;
mod client_assertion;
mod device_code;
mod discovery;
mod faults;
mod grants;
mod rotation;
mod verify;
