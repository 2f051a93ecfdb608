//! The token cache core.
pub mod random;
pub mod secret;
pub mod store;
pub mod time;
