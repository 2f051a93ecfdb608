//! The token cache core.
