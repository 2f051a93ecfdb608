//! The client of a program that cannot keep a secret.

use std::sync::Arc;

use cache_core::cache::{AccountListing, TokenCache};

use super::application::Application;
use super::asked_scopes::AskedScopes;
use super::{AcquireTokenSilent, ClientBuilder};
use crate::Error;
use crate::authority::Authority;
use crate::request::ClientIdentity;

/// A client application that its user could take apart: a desktop program, a command-line tool (RFC 6749 section 2.1).
///
/// Clones are cheap and share everything.
#[derive(Clone, Debug)]
pub struct PublicClient {
    application: Arc<Application>,
}

impl PublicClient {
    /// Starts to build the client `client_id` of `authority`, with its tokens in `cache`.
    pub fn builder(
        client_id: impl Into<String>,
        authority: Authority,
        cache: TokenCache,
    ) -> ClientBuilder<Self> {
        ClientBuilder::new(ClientIdentity::public(client_id), authority, cache)
    }

    pub(super) fn of(application: Arc<Application>) -> Self {
        Self { application }
    }

    pub(super) fn application(&self) -> &Arc<Application> {
        &self.application
    }

    /// A token for an account that has signed in before: from the cache, or by a refresh. Say which account with
    /// [`account`](AcquireTokenSilent::account).
    pub fn acquire_token_silent<I>(&self, scopes: I) -> AcquireTokenSilent<'_>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        AcquireTokenSilent::new(&self.application, AskedScopes::of(scopes))
    }

    /// The accounts of this authority for which this client, or its family, has tokens.
    ///
    /// # Errors
    /// [`Error::Cache`]. Records that cannot be read are reported in the listing.
    ///
    /// # Cancellation safety
    /// Cancellation safe.
    pub async fn accounts(&self) -> Result<AccountListing, Error> {
        self.application.accounts().await
    }

    /// The cache.
    #[must_use]
    pub fn cache(&self) -> &TokenCache {
        &self.application.cache
    }
}
