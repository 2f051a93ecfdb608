//! Checking the signature of an ID token, and tokens that came another way than from the token endpoint.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::secret::Secret;

use super::{IdTokenClaims, IdTokenError, IdTokenRules, UnverifiedToken};
use crate::authority::{Authority, Metadata};
use crate::issuer_keys::{ClaimedIssuer, not_offered};
use crate::{Error, Transport};

/// When a client checks the signatures of the ID tokens that it is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdTokenVerification {
    /// Where they did not come straight over TLS from the token endpoint: TLS names the sender as surely as a signature does
    /// (OIDC Core section 3.1.3.7, item 6).
    #[default]
    WhereNotOverTls,
    /// Always: for who does not trust every certificate authority of the system, or has a proxy that ends TLS.
    Always,
}

/// Checks ID tokens that another party brings, such as a browser or a native app that hands one to its server.
///
/// Tokens that a client of this crate acquired were checked already. An ID token says who signed in to *this* client; to
/// protect an interface, check its access tokens instead.
///
/// ```no_run
/// use std::time::Duration;
///
/// use cache_core::secret::Secret;
/// use flows::client::ConfidentialClient;
/// use flows::{Error, IdTokenExpectations};
///
/// # async fn signed_in(client: ConfidentialClient, posted: String, nonce: Secret) -> Result<(), Error> {
/// let verifier = client.id_token_verifier().await?;
/// let expected = IdTokenExpectations::with_nonce(nonce).max_age(Duration::from_secs(3600));
/// let claims = verifier.verify(&Secret::new(posted), &expected, Duration::from_secs(10)).await?;
/// let who = (claims.issuer(), claims.subject());
/// # let _ = who; Ok(()) }
/// ```
pub struct IdTokenVerifier {
    transport: Arc<Transport>,
    authority: Authority,
    metadata: Arc<Metadata>,
    client_id: String,
}

impl IdTokenVerifier {
    /// A verifier of ID tokens that `authority`, whose metadata is `metadata`, issued to the client `client_id`.
    #[must_use]
    pub fn new(
        transport: Arc<Transport>,
        authority: Authority,
        metadata: Arc<Metadata>,
        client_id: impl Into<String>,
    ) -> Self {
        Self {
            transport,
            authority,
            metadata,
            client_id: client_id.into(),
        }
    }

    /// The claims of `token`, once its signature and every claim that OIDC Core section 3.1.3.7 names were checked. Where the
    /// issuer's keys have to be fetched, that may take `time_limit`; they are remembered for a day.
    ///
    /// # Errors
    /// [`Error::IdToken`] when the token is refused; [`Error::IssuerKeys`] when the keys cannot be had.
    ///
    /// # Cancellation safety
    /// Cancellation safe.
    pub async fn verify(
        &self,
        token: &Secret,
        expected: &IdTokenExpectations,
        time_limit: Duration,
    ) -> Result<IdTokenClaims, Error> {
        let rules = IdTokenRules {
            issuer: &self.metadata.issuer,
            client_id: &self.client_id,
            nonce: expected.nonce.as_ref(),
            max_age: expected.max_age,
            access_token: expected.access_token.as_ref(),
            code: expected.code.as_ref(),
            now: self.transport.clock().now().to_seconds(),
        };
        // The cheap checks first: a token for somebody else makes nobody fetch keys.
        let claims = rules.check(token)?;
        claims.check_policy(&self.authority)?;
        let check = SignatureCheck {
            transport: &self.transport,
            authority: &self.authority,
            metadata: &self.metadata,
        };
        verify_signature(&check, token, &claims, time_limit).await?;
        Ok(claims)
    }
}

impl fmt::Debug for IdTokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdTokenVerifier")
            .field("authority", &self.authority)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// What an ID token has to agree with besides its issuer, its client and the time.
///
/// ```
/// use std::time::Duration;
///
/// use cache_core::secret::Secret;
/// use flows::IdTokenExpectations;
///
/// let nonce = Secret::new("the one that the request had");
/// let expected = IdTokenExpectations::with_nonce(nonce).max_age(Duration::from_secs(3600));
/// # let _ = expected;
/// ```
#[derive(Clone)]
#[must_use]
pub struct IdTokenExpectations {
    nonce: Option<Secret>,
    max_age: Option<Duration>,
    access_token: Option<Secret>,
    code: Option<Secret>,
}

impl IdTokenExpectations {
    /// The token of the sign-in for which `nonce` was sent.
    pub fn with_nonce(nonce: Secret) -> Self {
        Self {
            nonce: Some(nonce),
            ..Self::without_nonce()
        }
    }

    /// Any token of this client. Without a nonce nobody can tell a fresh token from one that was stolen and is shown again, so
    /// use it only where something else binds the token to its bearer.
    pub fn without_nonce() -> Self {
        Self {
            nonce: None,
            max_age: None,
            access_token: None,
            code: None,
        }
    }

    /// Sets how long ago the user may have signed in, as the request said (`max_age`).
    pub fn max_age(mut self, limit: Duration) -> Self {
        self.max_age = Some(limit);
        self
    }

    /// Sets the access token that came with it, for `at_hash`.
    pub fn access_token(mut self, token: Secret) -> Self {
        self.access_token = Some(token);
        self
    }

    /// Sets the authorization code that came with it, for `c_hash`.
    pub fn code(mut self, code: Secret) -> Self {
        self.code = Some(code);
        self
    }
}

impl fmt::Debug for IdTokenExpectations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdTokenExpectations")
            .field("has_nonce", &self.nonce.is_some())
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}

/// Whose signature is to be checked, and who fetches the keys.
pub(crate) struct SignatureCheck<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) authority: &'a Authority,
    pub(crate) metadata: &'a Metadata,
}

impl SignatureCheck<'_> {
    /// Fetches the keys in advance, unless they are known.
    pub(crate) async fn prepare(&self, time_limit: Duration) -> Result<(), Error> {
        let url = self.keys_url()?;
        Ok(self.transport.issuer_keys().prepare(url, time_limit).await?)
    }

    fn keys_url(&self) -> Result<&url::Url, Error> {
        let url = self.metadata.jwks_uri.as_ref();
        Ok(url.ok_or_else(|| not_offered(self.authority.environment()))?)
    }
}

/// Checks the signature of `token`, whose claims were checked.
pub(crate) async fn verify_signature(
    check: &SignatureCheck<'_>,
    token: &Secret,
    claims: &IdTokenClaims,
    time_limit: Duration,
) -> Result<(), Error> {
    let unverified = UnverifiedToken::parse(token)?;
    let issuer = ClaimedIssuer {
        iss: claims.issuer().ok_or(IdTokenError::Missing("iss"))?,
        tenant: claims.tenant_id(),
        rule: &check.metadata.issuer,
        keys_name_issuer: check.authority.kind().honours_client_info(),
    };
    let url = check.keys_url()?;
    check
        .transport
        .issuer_keys()
        .verify(url, &unverified, &issuer, time_limit)
        .await
}
