//! The cache file of MSAL programs, shared with them: **plaintext by nature**.

mod config;
mod error;
mod json;
pub(crate) mod lock;
mod place;
mod reading;
mod store;
mod watch;
mod writing;

pub use config::MsalFileConfig;
pub use lock::LockLimits;
pub use store::{FileHold, MsalFileStore};
