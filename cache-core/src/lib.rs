//! The token cache core.
pub mod random;
pub mod seal;
pub mod secret;
pub mod store;
pub mod time;
