//! The cache schema: accounts, ID tokens, access tokens, refresh tokens and application metadata, in partitions.
//!
//! It is MSAL's unified schema, so that a cache can be shared with MSAL programs, with three additions: a refresh
//! token carries who is spending it and what the authority refused, an access token carries the whole
//! context of its request, and a partition knows its sign-ins and sessions.
//!
//! Everything here is plain data and pure functions: no clock, no I/O.

mod access_token;
mod access_token_ref;
mod account;
mod app_metadata;
mod authority;
pub mod environment;
mod foreign;
mod id_token;
pub mod index;
pub mod merge;
pub(crate) mod partition;
mod refresh_token;
pub(crate) mod request;
mod scope_rules;
mod scopes;
mod token_response;

pub use access_token::{AccessToken, TokenContext, TokenType};
pub use access_token_ref::{AccessTokenRef, ScopesRef};
pub use account::{Account, TenantProfile};
pub use app_metadata::AppMetadata;
pub use authority::{AuthorityIdentity, AuthorityKind};
pub use foreign::Foreign;
pub use id_token::IdToken;
pub use partition::{ClientEpoch, Partition, PartitionKey, SessionAnchor, SessionKey, SessionLink};
pub use refresh_token::{RefreshToken, Refusal, RequestHash, SpendMarker};
pub use request::TokenRequest;
pub use scope_rules::ScopeRules;
pub use scopes::ScopeSet;
pub use token_response::TokenResponse;
