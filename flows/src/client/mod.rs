//! The clients: what an application calls.
//!
//! A [`PublicClient`] runs where its user can read it (a desktop program, a command-line tool) and has no secret; a
//! [`ConfidentialClient`] runs on a server and has one. Both keep their tokens in a [`TokenCache`], and both follow
//! one pattern: what a call cannot do without is an argument, everything else is an option, and `.await` sends it.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use cache_core::cache::TokenCache;
//! use flows::Error;
//! use flows::authority::Authority;
//! use flows::client::PublicClient;
//! use flows::http::ReqwestClient;
//!
//! # async fn token(cache: TokenCache) -> Result<(), Error> {
//! let authority = Authority::detect("https://login.microsoftonline.com/organizations")?;
//! let client = PublicClient::builder("11111111-2222-3333-4444-555555555555", authority, cache)
//!     .http(Arc::new(ReqwestClient::new()?))
//!     .build()?;
//!
//! let known = client.accounts().await?.accounts.into_iter().next();
//! let silently = match &known {
//!     Some(account) => client.acquire_token_silent(["User.Read"]).account(account).await,
//!     None => Err(Error::InteractionRequired(Box::new(flows::InteractionRequired::no_refresh_token()))),
//! };
//! let result = match silently {
//!     // Only this error means: ask the user.
//!     Err(Error::InteractionRequired(_)) => {
//!         client.acquire_token_by_device_code(["User.Read"]).on_prompt(|prompt| println!("{}", prompt.message())).await?
//!     }
//!     other => other?,
//! };
//! let header = result.authorization_header();
//! # let _ = header; Ok(()) }
//! ```

mod account_selection;
mod acquisition;
mod application;
mod asked_scopes;
mod assertion_exchange;
mod at_hand;
mod authorization_code;
#[cfg(feature = "interactive")]
mod browser_options;
#[cfg(feature = "interactive")]
mod browser_session;
#[cfg(feature = "interactive")]
mod browser_sign_in;
mod builder;
mod cache_options;
mod cached_app_token;
mod client_credentials;
mod confidential;
mod device_code;
mod id_token_verifier;
#[cfg(feature = "interactive")]
mod interactive;
mod lazy_correlation;
mod long_running;
mod managed_identity;
mod on_behalf_of;
mod outcome;
mod password;
mod prepared;
mod proof_key;
mod public;
mod refresh_token;
mod remove_account;
mod seen_refusal;
mod session;
mod session_id;
mod silent;
mod token_exchange;
mod web_session;

pub use acquisition::Acquisition;
pub use authorization_code::AcquireTokenByAuthorizationCode;
#[cfg(feature = "interactive")]
pub use browser_session::AcquireTokenByBrowserSession;
pub use builder::ClientBuilder;
pub use cached_app_token::cached_app_token;
pub use client_credentials::AcquireTokenForClient;
pub use confidential::{ClientCredential, ConfidentialClient};
pub use device_code::AcquireTokenByDeviceCode;
#[cfg(feature = "interactive")]
pub use interactive::AcquireTokenInteractive;
pub use long_running::BeginLongRunningSession;
pub use managed_identity::{
    AcquireTokenForManagedIdentity, ManagedIdentityClient, ManagedIdentityClientBuilder,
};
pub use on_behalf_of::AcquireTokenOnBehalfOf;
pub use password::{AcquireTokenByUsernamePassword, PasswordGrant};
pub use prepared::{PeekedResult, PreparedForClient, PreparedSilent};
pub use public::PublicClient;
pub use refresh_token::AcquireTokenByRefreshToken;
pub use remove_account::{RemoveAccount, Revocation, SignedOut};
pub use session_id::{SessionError, SessionId};
pub use silent::AcquireTokenSilent;
pub use token_exchange::AcquireTokenByTokenExchange;

#[cfg(doc)]
use cache_core::cache::TokenCache;
