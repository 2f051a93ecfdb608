//! A job that acts for users while they are away.
//!
//! It knows nobody: the directory of the cache says whose tokens have not been used for a while, and whose user is needed before
//! they can be. It is told nothing by the front end, and tells it nothing; the cache is all that they share.

pub mod options;

mod pass;
mod report;

pub use pass::{Pass, Worker};
