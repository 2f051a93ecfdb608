//! A web front end that signs users in, and a worker that acts for them later, on one token cache.
//!
//! The programs are `front-end` and `worker`; the README beside this crate says how to run them. Both take the same
//! [`CacheOptions`](options::CacheOptions): where the cache is, what protects it, and whom it is for.
//!
//! - [`front_end`]: sign-in, sessions, and the protections of a web application, one concern a file.
//! - [`worker`]: finds accounts that nobody has used for a while, and acts for them.
//! - [`api_call`]: a call to a protected API for a user, with the answers to whatever the API refuses.

pub mod api_call;
pub mod command_line;
pub mod front_end;
pub mod logging;
pub mod open;
pub mod options;
pub mod protected_api;
pub mod secret_address;
pub mod stopping;
pub mod store_address;
pub mod worker;
