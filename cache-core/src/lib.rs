//! The token cache core.
pub mod cache;
pub mod codec;
pub mod random;
pub mod schema;
pub mod seal;
pub mod secret;
pub mod store;
pub mod strategy;
pub mod time;
