//! The typed token cache.

mod authority_call;

pub use authority_call::{
    AuthorityCall, AuthorityRefusal, CallError, CallOutcome, Redemption, RefusedBecause,
};
