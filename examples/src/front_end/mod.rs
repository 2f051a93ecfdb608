//! A web application that signs users in and calls an API for them.
//!
//! | file | what it keeps |
//! |---|---|
//! | `sign_in` | the two ends of a sign-in by authorization code |
//! | `pending_sign_in` | what binds the two ends to one browser |
//! | `return_address` | where a sign-in may lead to |
//! | `session_cookie`, `cookie_key` | the name of the session, in the browser |
//! | `session`, `sealed_records` | the session itself, on the server |
//! | `user` | who that is |
//! | `sign_out`, `csrf` | the end of it, and that nobody else brings it about |
//! | `api_page` | the API, and its demands |
//! | `headers`, `pages`, `problem` | what the browser is shown and told |
//! | `server` | TLS, limits and an orderly end |

mod api_page;
mod app;
mod cookie_key;
mod csrf;
mod headers;
mod home;
mod pages;
mod pending_sign_in;
mod problem;
mod return_address;
mod sealed_records;
mod session;
mod session_cookie;
mod sign_in;
mod sign_out;
mod user;

pub mod options;
pub mod server;

pub use app::{App, StartError};
pub use return_address::{ReturnAddress, ReturnAddresses};
pub use sealed_records::RecordError;
pub use session::SessionLimits;
