//! Every kind of authority, from the sign-in to the sign-out: hosts, issuers, scopes, tenants and accounts.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod adfs;
mod b2c;
mod ciam;
mod clouds;
mod device_code;
mod entra;
mod instance_discovery;
mod login_hint;
mod scene;
mod scopes;
