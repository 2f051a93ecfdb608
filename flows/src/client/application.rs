//! What both kinds of client share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{
    AccountListing, AcquireOptions, CachedAccount, Freshness, TokenCache, UnknownOutcomePolicy,
};
use cache_core::schema::{
    Account, AuthorityIdentity, AuthorityKind, PartitionKey, TokenContext, TokenResponse,
};

use super::outcome;
use super::password::PasswordGrant;
use super::proof_key::ProofKeys;
use crate::authority::{Authority, Metadata, Region, regional};
use crate::challenge::ClientCapabilities;
use crate::proof::ProofSigner;
use crate::request::{ClientIdentity, TokenRequest};
use crate::telemetry::Telemetry;
use crate::{AuthenticationResult, CorrelationId, Error, IdTokenVerification, TokenEndpoint, Transport};

/// A client application at an authority, with its cache.
pub(super) struct Application {
    pub(super) client: ClientIdentity,
    pub(super) authority: Authority,
    /// The authority's, read out once.
    pub(super) identity: AuthorityIdentity,
    /// Where the application's own tokens are if it asks for no scope; `None` where it has no tenant.
    pub(super) own_partition: Option<PartitionKey>,
    /// Whether the authority is one that tenants share, read out once.
    pub(super) is_multi_tenant: bool,
    pub(super) cache: TokenCache,
    pub(super) transport: Arc<Transport>,
    /// For one request, to the last byte of its reply.
    pub(super) time_limit: Duration,
    pub(super) unknown_outcome: UnknownOutcomePolicy,
    /// Where the application itself asks for its tokens; users are asked for at the global endpoint.
    pub(super) region: Option<Region>,
    /// What sets all tokens of this client apart in the cache, in requests and replies alike.
    pub(super) context: TokenContext,
    pub(super) id_tokens: IdTokenVerification,
    pub(super) capabilities: ClientCapabilities,
    /// What its tokens are bound to.
    pub(super) proof_keys: ProofKeys,
    /// Whether a confidential client may take passwords.
    pub(super) password_grant: Option<PasswordGrant>,
    pub(super) telemetry: Option<Arc<Telemetry>>,
    pub(super) log_personal_data: bool,
}

impl Application {
    pub(super) async fn metadata(&self, authority: &Authority) -> Result<Arc<Metadata>, Error> {
        self.transport
            .discovery()
            .metadata(authority, self.time_limit)
            .await
    }

    /// The token endpoint of `authority`, with the issuer's keys at hand if the ID tokens from it will be checked with them: a
    /// refresh token must not be spent for a reply that then cannot be believed.
    pub(super) async fn endpoint(&self, authority: &Authority) -> Result<TokenEndpoint, Error> {
        let signer = self.sign_in_signer().await?;
        self.endpoint_with(authority, signer).await
    }

    /// The endpoint for tokens that are bound to the key of `signer`, if there is one.
    pub(super) async fn endpoint_with(
        &self,
        authority: &Authority,
        signer: Option<Arc<dyn ProofSigner>>,
    ) -> Result<TokenEndpoint, Error> {
        let metadata = self.metadata(authority).await?;
        let endpoint = self.endpoint_of(authority, metadata, signer);
        endpoint.prepare(self.time_limit).await?;
        Ok(endpoint)
    }

    fn endpoint_of(
        &self,
        authority: &Authority,
        metadata: Arc<Metadata>,
        signer: Option<Arc<dyn ProofSigner>>,
    ) -> TokenEndpoint {
        let transport = Arc::clone(&self.transport);
        let endpoint = TokenEndpoint::new(transport, authority.clone(), metadata, self.client.clone())
            .verify_id_tokens(self.id_tokens)
            .capabilities(self.capabilities.clone())
            .telemetry(self.telemetry.clone())
            .log_personal_data(self.log_personal_data);
        match signer {
            Some(signer) => endpoint.proof_signer(signer),
            None => endpoint,
        }
    }

    /// The endpoint for a token of the application itself, which comes without an ID token: in its region, if it has one. Only the host that is asked
    /// differs. The environment in the cache stays the global one, so that tokens of all regions are the same.
    pub(super) async fn application_endpoint(&self) -> Result<TokenEndpoint, Error> {
        let mut metadata = self.metadata(&self.authority).await?;
        if let Some(region) = &self.region
            && let Some(name) = region.name(&self.transport).await
            && let Some(token_endpoint) = regional(&metadata.token_endpoint, name)
        {
            metadata = Arc::new(Metadata {
                token_endpoint,
                ..Metadata::clone(&metadata)
            });
        }
        let signer = self.sign_in_signer().await?;
        Ok(self.endpoint_of(&self.authority, metadata, signer))
    }

    pub(super) fn correlation_id(&self) -> Result<CorrelationId, Error> {
        Ok(CorrelationId::random(&**self.cache.random())?)
    }

    pub(super) fn options(&self, freshness: Freshness, extended_lifetime: bool) -> AcquireOptions {
        AcquireOptions {
            freshness,
            unknown_outcome: self.unknown_outcome,
            extended_lifetime,
            cache_only: false,
        }
    }

    pub(super) fn user_partition(&self, home_account_id: &str) -> PartitionKey {
        PartitionKey::User {
            authority: self.identity.clone(),
            home_account_id: home_account_id.to_owned(),
        }
    }

    /// Sends the request of a sign-in whose user is at the door, and stores what it brings.
    pub(super) async fn redeem_sign_in(&self, request: TokenRequest) -> Result<AuthenticationResult, Error> {
        let request = request.context(self.context.clone());
        let correlation_id = self.correlation_id()?;
        let endpoint = self.endpoint(&self.authority).await?;
        let began = self.cache.clock().monotonic();
        let response = endpoint.send(request, correlation_id, self.time_limit).await?;
        let time_in_http = self.cache.clock().monotonic().saturating_sub(began);
        self.store_sign_in(response, correlation_id, time_in_http).await
    }

    pub(super) async fn store_sign_in(
        &self,
        response: TokenResponse,
        correlation_id: CorrelationId,
        time_in_http: Duration,
    ) -> Result<AuthenticationResult, Error> {
        self.store_sign_in_at(&self.authority, response, correlation_id, time_in_http)
            .await
    }

    /// As [`store_sign_in`](Self::store_sign_in), for a sign-in at `authority`: another tenant of this client's.
    pub(super) async fn store_sign_in_at(
        &self,
        authority: &Authority,
        response: TokenResponse,
        correlation_id: CorrelationId,
        time_in_http: Duration,
    ) -> Result<AuthenticationResult, Error> {
        let response = in_realm(authority, response);
        let partition = self.user_partition(response.home_account_id());
        let key = self.keep_key(&response)?;
        let began = self.cache.clock().monotonic();
        self.store_key(key.as_ref()).await?;
        let acquired = self.cache.sign_in(&partition, response).await?;
        self.store_key(key.as_ref()).await?;
        let elapsed = self.cache.clock().monotonic().saturating_sub(began);
        Ok(outcome::signed_in(
            acquired,
            correlation_id,
            elapsed,
            time_in_http,
        ))
    }

    pub(super) async fn accounts(&self) -> Result<AccountListing, Error> {
        let mut listing = self.cache.accounts().await?;
        listing.accounts.retain(|account| self.is_ours(account));
        Ok(listing)
    }

    fn is_ours(&self, account: &CachedAccount) -> bool {
        let here =
            matches!(&account.partition, PartitionKey::User { authority, .. } if *authority == self.identity);
        here && (account.has_family_token || account.clients.iter().any(|client| client == self.client.id()))
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application")
            .field("authority", &self.authority)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// The reply under the name of the tenant that requests will look for it by: the one that the authority names, be it an
/// identifier or a domain. Only a shared authority (`common`) leaves it to the reply.
pub(super) fn in_realm(authority: &Authority, mut response: TokenResponse) -> TokenResponse {
    if !authority.is_multi_tenant() {
        response.realm = authority.tenant().to_ascii_lowercase();
    }
    response
}

/// The authority of one tenant for a silent request: at a shared authority the account's home tenant answers, as in MSAL.
pub(super) fn tenant_authority(authority: &Authority, account: &CachedAccount) -> Result<Authority, Error> {
    if !authority.is_multi_tenant() {
        return Ok(authority.clone());
    }
    Ok(authority.with_tenant(home_tenant(authority.kind(), &account.account))?)
}

/// The tenant that an account is at home in.
pub(super) fn home_tenant(kind: AuthorityKind, account: &Account) -> &str {
    let home = match kind {
        // `uid.utid`: the home tenant is the second part, whatever tenant the row was made in.
        AuthorityKind::Entra | AuthorityKind::Ciam => {
            account.home_account_id.rsplit_once('.').map(|(_, tenant)| tenant)
        }
        AuthorityKind::B2c | AuthorityKind::Adfs | AuthorityKind::Oidc => None,
    };
    home.unwrap_or(&account.realm)
}

/// The authority of the tenant that a session was begun in.
pub(super) fn session_authority(authority: &Authority, account: &Account) -> Result<Authority, Error> {
    if !authority.is_multi_tenant() {
        return Ok(authority.clone());
    }
    Ok(authority.with_tenant(&account.realm)?)
}
