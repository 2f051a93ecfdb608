//! One cache file with real MSAL programs: MSAL Python with msal-extensions, MSAL Node with @azure/msal-node-extensions, and tokenkeep,
//! at an authority that rotates refresh tokens strictly.
//!
//! MSAL Go, .NET and Java did not run here.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "it shows the matrix")]

mod matrix;
mod party;
mod ping_pong;
mod scene;
mod sign_out;
mod strangers;
