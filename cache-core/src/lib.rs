//! A token cache for OAuth 2.0 and OpenID Connect clients, over storage that need not be trusted.
//!
//! It keeps what an authority granted, finds the token that a request may use, and decides who of many tasks and
//! processes may spend a refresh token. It speaks no HTTP and knows no database: the crate `flows` talks to
//! authorities through it, and crates such as `cache-sqlite` store for it.
//!
//! ```text
//!   flows, or your own code ── AuthorityCall: "send this refresh token, once"
//!        │
//!   cache::TokenCache          find · acquire · sign_in · sign_out
//!        │   strategy          what is kept in memory, who may refresh, who waits for writes
//!        │   schema            accounts and tokens in partitions; pure rules of merging and finding
//!        │
//!   codec                      partition ◀─▶ bytes             bincode, or MSAL's JSON
//!   seal                       bytes ◀─▶ encrypted record       one key ring for each namespace
//!   store                      record ◀─▶ somewhere             compare-and-swap; untrusted
//! ```
//!
//! # A first example
//!
//! A token is stored at a sign-in and found again. Where it cannot be found, the cache asks the caller's
//! [`AuthorityCall`](cache::AuthorityCall) for a refresh. The one here has no network.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use cache_core::cache::{AcquireOptions, AuthorityCall, CallError, CallOutcome, Redemption, TokenCache, TokenSource};
//! use cache_core::schema::{
//!     Account, AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, TokenContext, TokenRequest, TokenResponse, TokenType,
//! };
//! use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
//! use cache_core::secret::Secret;
//! use cache_core::store::MemoryStore;
//!
//! struct Offline;
//!
//! #[async_trait::async_trait]
//! impl AuthorityCall for Offline {
//!     async fn prepare(&self, _: Duration) -> Result<(), CallError> {
//!         Ok(())
//!     }
//!
//!     async fn redeem(&self, _: Redemption) -> CallOutcome {
//!         CallOutcome::NotSent(CallError::new("there is no network in this example"))
//!     }
//!
//!     async fn discard(&self, _: Secret, _: Duration) {}
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let key = SecretKey::random(&cache_core::random::OsRandom)?; // in earnest: a FileKeySource, for example
//! let cache = TokenCache::builder(Arc::new(MemoryStore::new()))
//!     .open_sealed(Namespace::default(), Arc::new(FixedKeySource::new(key)))
//!     .await?;
//!
//! // Whose tokens they are: one partition for each account of an issuer.
//! let alice = PartitionKey::User {
//!     authority: AuthorityIdentity::of_issuer("https://id.example.org"),
//!     home_account_id: "alice".into(),
//! };
//!
//! // What a token endpoint granted. The crate `flows` makes this from a reply that it has checked.
//! let now = cache.clock().now().to_seconds();
//! let granted = TokenResponse {
//!     client_id: "mail-reader".into(),
//!     environment: "id.example.org".into(),
//!     realm: String::new(),
//!     scopes: ScopeSet::parse("openid mail.read mail.send"),
//!     requested_scopes: ScopeSet::parse("openid mail.read mail.send"),
//!     token_type: TokenType::Bearer,
//!     access_token: Some(Secret::new("an access token")),
//!     requested_at: now,
//!     expires_on: now.saturating_add(Duration::from_secs(3600)),
//!     extended_expires_on: None,
//!     refresh_on: None,
//!     refresh_token: Some(Secret::new("a refresh token")),
//!     refresh_token_expires_on: None,
//!     family_id: None,
//!     id_token: None,
//!     account: Some(Account {
//!         home_account_id: "alice".into(),
//!         environment: "id.example.org".into(),
//!         realm: String::new(),
//!         local_account_id: "alice".into(),
//!         username: "alice@example.org".into(),
//!         authority_type: AuthorityKind::Oidc.msal_authority_type().into(),
//!         name: None,
//!         issuer: Some("https://id.example.org".into()),
//!         tenant_profiles: Vec::new(),
//!         foreign: None,
//!     }),
//!     context: TokenContext::default(),
//! };
//! cache.sign_in(&alice, granted).await?;
//!
//! // A token for more scopes serves a request for fewer.
//! let request = |scopes: &str| {
//!     let scopes = ScopeSet::parse(scopes);
//!     let environment = "id.example.org";
//!     Arc::new(TokenRequest::new(alice.clone(), AuthorityKind::Oidc, "mail-reader", environment, "", scopes))
//! };
//! let found = cache.acquire(request("mail.read"), AcquireOptions::default(), Arc::new(Offline)).await?;
//! assert_eq!(found.token().secret.expose(), "an access token");
//! assert_eq!(found.source(), TokenSource::Memory);
//!
//! // For another scope it takes a refresh, which fails here; the refresh token is certainly unspent.
//! let refused = cache.acquire(request("files.read"), AcquireOptions::default(), Arc::new(Offline)).await;
//! assert_eq!(refused.unwrap_err().to_string(), "the authority could not be reached; nothing was sent to it");
//!
//! cache.shutdown(Duration::from_secs(5)).await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The modules, in the order in which to read them
//!
//! 1. [`cache`]: the [`TokenCache`](cache::TokenCache), which is what a program uses, and the rules that it keeps.
//! 2. [`strategy`]: everything that trades speed, memory, durability and load, with presets.
//! 3. [`schema`]: the rows, and the pure functions that merge and find them. No clock, no I/O.
//! 4. [`store`]: the contract of a backend, the memory store, and the decorators. Begin here to write a backend.
//! 5. [`seal`]: encryption, the key ring, key sources, rollback, quarantine; [`seal::format`](mod@seal::format) has the bytes.
//! 6. [`codec`]: how a partition becomes bytes, and the exchange with MSAL programs.
//! 7. [`layout`]: places that MSAL programs use at the same time.
//! 8. [`secret`], [`time`], [`random`]: secrets that wipe and redact themselves, and what tests inject.
//!
//! # What to know before you build on it
//!
//! - A cache runs its tasks on the tokio runtime in which it is opened and called, whose timer must be on.
//! - Call [`TokenCache::shutdown`](cache::TokenCache::shutdown) before the program ends: a refresh token may be on its way.
//! - The cache puts no time limit on its store. Wrap a remote one in a [`TimeoutStore`](store::TimeoutStore).
//! - The crate has no features.

pub mod cache;
pub mod codec;
pub mod core_dumps;
pub mod layout;
pub mod random;
pub mod schema;
pub mod seal;
pub mod secret;
pub mod store;
pub mod strategy;
pub mod time;
