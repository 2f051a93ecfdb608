//! A client of the kind that the issuer lets sign in by password.

use std::sync::Arc;

use cache_core::cache::{AccountListing, CachedAccount, TokenCache};
use cache_core::secret::Secret;
use cache_testkit::glewlwyd::SERVICE_CLIENT_SECRET;
use flows::authority::Authority;
use flows::client::{ClientCredential, ConfidentialClient, PasswordGrant, PublicClient};
use flows::http::HttpClient;
use flows::{AuthenticationResult, Error};

use super::Issuer;

/// A client, public or not.
#[derive(Clone, Debug)]
pub enum Client {
    /// Without a credential.
    Public(PublicClient),
    /// With the secret of the tests.
    Confidential(ConfidentialClient),
}

impl Client {
    pub(super) fn new(issuer: &Issuer, cache: TokenCache, http: Arc<dyn HttpClient>) -> Result<Self, Error> {
        let authority = Authority::detect(&issuer.authority)?;
        if !issuer.is_confidential {
            let client = PublicClient::builder(&issuer.client_id, authority, cache).http(http);
            return Ok(Self::Public(client.build()?));
        }
        let credential = ClientCredential::secret(Secret::new(SERVICE_CLIENT_SECRET));
        let client = ConfidentialClient::builder(&issuer.client_id, authority, credential, cache)
            .http(http)
            .allow_password_grant(PasswordGrant::IUnderstandTheRisk)
            .build()?;
        Ok(Self::Confidential(client))
    }

    /// The client with its secret.
    pub(super) fn confidential(&self) -> Option<&ConfidentialClient> {
        match self {
            Self::Public(_) => None,
            Self::Confidential(client) => Some(client),
        }
    }

    pub(super) async fn accounts(&self) -> Result<AccountListing, Error> {
        match self {
            Self::Public(client) => client.accounts().await,
            Self::Confidential(client) => client.accounts().await,
        }
    }

    /// Asks for a token as applications do; `force` takes nothing that is cached.
    pub(super) async fn acquire(
        &self,
        scope: &str,
        account: &CachedAccount,
        force: bool,
    ) -> Result<AuthenticationResult, Error> {
        let silent = match self {
            Self::Public(client) => client.acquire_token_silent([scope]),
            Self::Confidential(client) => client.acquire_token_silent([scope]),
        };
        silent.account(account).force_refresh(force).await
    }

    pub(super) async fn sign_in(
        &self,
        scope: &str,
        user: String,
        password: &str,
    ) -> Result<AuthenticationResult, Error> {
        let (scopes, password) = ([scope], Secret::new(password));
        match self {
            Self::Public(client) => {
                client
                    .acquire_token_by_username_password(scopes, user, password)
                    .await
            }
            Self::Confidential(client) => {
                client
                    .acquire_token_by_username_password(scopes, user, password)
                    .await
            }
        }
    }
}
