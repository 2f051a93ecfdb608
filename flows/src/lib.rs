//! OAuth 2.0 and OpenID Connect for Microsoft Entra ID and any OpenID Connect issuer.
//!
//! # Which flow do I need
//!
//! | for | begin with |
//! |---|---|
//! | a user who signed in before: ask this first | [`acquire_token_silent`](client::PublicClient::acquire_token_silent) |
//! | a user at a machine with a browser | `acquire_token_interactive`, or `acquire_token_by_browser_session` where the browser may have a session (feature `interactive`) |
//! | a user at a machine without one | [`acquire_token_by_device_code`](client::PublicClient::acquire_token_by_device_code) |
//! | a user of a web application | [`begin_authorization`](client::ConfidentialClient::begin_authorization) and [`acquire_token_by_authorization_code`](client::ConfidentialClient::acquire_token_by_authorization_code) |
//! | a user whose token this service was called with | [`acquire_token_on_behalf_of`](client::ConfidentialClient::acquire_token_on_behalf_of) |
//! | the same, after the user has left | [`begin_long_running_session`](client::ConfidentialClient::begin_long_running_session) |
//! | a token for another token (RFC 8693) | [`acquire_token_by_token_exchange`](client::ConfidentialClient::acquire_token_by_token_exchange) |
//! | the application itself | [`acquire_token_for_client`](client::ConfidentialClient::acquire_token_for_client) |
//! | what runs in Azure | [`acquire_token_for_managed_identity`](client::ManagedIdentityClient::acquire_token_for_managed_identity) |
//! | a refresh token of another program | [`acquire_token_by_refresh_token`](client::PublicClient::acquire_token_by_refresh_token) |
//! | a program that cannot do otherwise | [`acquire_token_by_username_password`](client::PublicClient::acquire_token_by_username_password), which says why not to |
//! | the end of it | [`remove_account`](client::PublicClient::remove_account) |
//!
//! `docs/flows.md` in the repository describes each, and names the tests that prove it.
//!
//! # The parts
//!
//! - [`client`]: what an application calls: [`PublicClient`](client::PublicClient),
//!   [`ConfidentialClient`](client::ConfidentialClient) and [`ManagedIdentityClient`](client::ManagedIdentityClient), with
//!   their tokens in a cache. The other parts are beneath it.
//! - [`authority`]: who issues the tokens. [`Authority::detect`](authority::Authority::detect) understands a URL,
//!   [`Discovery`](authority::Discovery) finds its endpoints.
//! - [`request`]: what to ask, one module a grant, and the credentials of confidential clients. The grants are pure: they
//!   build forms and judge replies.
//! - [`managed_identity`]: the endpoints by which Azure gives a machine or a service an identity without a secret.
//! - [`TokenEndpoint`]: sends what they built, exactly once, and checks the reply: the ID token, the account, the
//!   token type. What it returns is ready to be committed to a cache.
//! - [`Transport`]: what the clients of a process share: the HTTP client, the clock, and what was learned of authorities
//!   (metadata, keys, who said "not now").
//! - [`IdTokenVerifier`]: checks ID tokens that another party brings.
//! - [`http`]: the one door to the network. Bring your own client by implementing one method.
//! - [`proof`]: keys that tokens are bound to (DPoP).
//! - [`challenge`]: what a resource answers when it wants another token: claims challenges and nonces.
//! - `browser`: who opens the page of a sign-in (feature `interactive`).
//! - `blocking`: waiting without an asynchronous runtime (feature `blocking`).
//! - [`error`]: what can go wrong. [`Error::InteractionRequired`] is the one to handle: ask the user.
//!
//! # From a sign-in to a token
//!
//! [`client`] has the example to start from. This is what it does beneath, without a cache. A program without a browser
//! signs a user in with a code that is entered on another device:
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use cache_core::random::OsRandom;
//! use cache_core::schema::ScopeSet;
//! use cache_core::time::SystemClock;
//! use flows::authority::Authority;
//! use flows::http::ReqwestClient;
//! use flows::request::{ClientIdentity, device_code};
//! use flows::{CorrelationId, TokenEndpoint, Transport};
//!
//! # async fn sign_in() -> Result<(), flows::Error> {
//! let limit = Duration::from_secs(30);
//! let http = Arc::new(ReqwestClient::new()?);
//! let transport = Arc::new(Transport::new(http, Arc::new(SystemClock), Arc::new(OsRandom)));
//!
//! let authority = Authority::detect("https://login.microsoftonline.com/organizations")?;
//! let metadata = transport.discovery().metadata(&authority, limit).await?;
//! let client = ClientIdentity::public("11111111-2222-3333-4444-555555555555")?;
//! let endpoint = TokenEndpoint::new(transport, authority, metadata, client);
//!
//! let id = CorrelationId::random(&OsRandom)?;
//! let request = device_code::request(ScopeSet::parse("User.Read"));
//! let authorization = endpoint.authorize_device(request, id, limit).await?;
//! println!("{}", authorization.message());
//! let tokens = endpoint.await_device(&authorization, id, limit).await?;
//! # let _ = tokens; Ok(()) }
//! ```
//!
//! # What is promised
//!
//! - A secret goes to the authority's own endpoints, over TLS 1.2 or newer, and nowhere else: no redirect is
//!   followed, and plain HTTP is used with loopback addresses only.
//! - A request is sent once. When its outcome is unknown, the error says so; a refresh token that was *certainly*
//!   not spent is told apart from one that may have been. Only a server that refused a request for want of a DPoP nonce is
//!   asked again, and the instance metadata service of a machine, once each.
//! - An authority that says "not now" is asked by nobody who shares the [`Transport`] until the time is over.
//! - An ID token is believed only if it is for this client, from this issuer, of this sign-in and not expired; a
//!   refresh only if it is for the same user. Else nothing of the reply is kept.
//! - No error, log line or `Debug` output shows a secret, a URL's query or personal data.
//!
//! # Features
//!
//! - `interactive` (default): sign-in in the system's browser,
//!   [`acquire_token_interactive`](client::PublicClient::acquire_token_interactive).
//! - `reqwest` (default): [`http::ReqwestClient`], and managed identities on Service Fabric.
//! - `blocking`: `flows::blocking`, for programs without an asynchronous runtime.

pub mod authority;
#[cfg(feature = "blocking")]
pub mod blocking;
#[cfg(feature = "interactive")]
pub mod browser;
pub mod challenge;
pub mod client;
pub mod error;
pub mod http;
pub mod managed_identity;
pub mod proof;
pub mod request;

mod account;
mod client_info;
mod correlation;
mod display_text;
mod id_token;
mod interaction;
#[cfg(feature = "interactive")]
mod interactive_error;
mod issuer_keys;
#[cfg(feature = "interactive")]
mod loopback;
mod response;
mod result;
mod telemetry;
mod throttle;
mod token_endpoint;
mod transport;

pub use correlation::CorrelationId;
pub use error::Error;
pub use id_token::{IdTokenClaims, IdTokenExpectations, IdTokenVerification, IdTokenVerifier};
pub use interaction::{InteractionClassification, InteractionRequired};
pub use result::{AuthenticationResult, RefreshReason, ResultMetadata, TokenSource};
pub use telemetry::Telemetry;
pub use token_endpoint::TokenEndpoint;
pub use transport::Transport;

/// The example of the README is compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// So are those of the page that describes the flows.
#[cfg(all(doctest, feature = "interactive", feature = "reqwest"))]
#[doc = include_str!("../../docs/flows.md")]
struct Flows;
