//! Reading what authorities answer, leniently in form and strictly in substance.

mod error_reply;
mod fields;
mod reply;
mod retry_after;
mod token_reply;

pub(crate) use error_reply::{by_redirect, definite_success, of_refresh};
pub(crate) use fields::Fields;
pub(crate) use reply::Reply;
pub(crate) use retry_after::retry_after;
pub(crate) use token_reply::{KnownUser, ReplyContext, Subject, token_response};
