//! Caches over documents that MSAL programs share.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a failure here is a failed test, and the modules are one program"
)]

#[path = "../support/mod.rs"]
mod support;

mod applications;
mod beside;
mod beside_documents;
mod documents;
mod hashing;
mod row_names;
mod rows;
mod scene;
