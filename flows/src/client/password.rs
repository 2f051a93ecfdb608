//! Signing in with a user name and a password.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;

use cache_core::schema::ScopeSet;
use cache_core::secret::Secret;

use super::application::Application;
use super::{Acquisition, ClientBuilder, ConfidentialClient, PublicClient};
use crate::error::ConfigurationError;
use crate::request::password;
use crate::{AuthenticationResult, Error};

/// A sign-in by user name and password (RFC 6749 section 4.3). Await it to run it.
///
/// Dropping the future may lose the sign-in, and nothing else.
#[must_use = "it does nothing until it is awaited"]
pub struct AcquireTokenByUsernamePassword<'a> {
    application: &'a Arc<Application>,
    scopes: ScopeSet,
    username: String,
    password: Secret,
    claims: Option<String>,
}

impl PublicClient {
    /// Signs a user in with a name and a password. **Do not, where anything else is possible**: whoever is used to giving a program the
    /// password gives it to the next one too; it knows no second factor, no other provider and no password-less account; and OAuth
    /// 2.1 removes it (RFC 9700 section 2.4 forbids it). It is here for what has no browser and no user, such as old test accounts.
    ///
    /// The password is sent once, over TLS, and neither kept nor logged. A wrong one is [`Error::Authority`]; that the password alone is not
    /// enough is [`Error::InteractionRequired`]. The account is the one that the authority names, whose name may be written otherwise than
    /// `username`.
    ///
    /// ```no_run
    /// # use cache_core::secret::Secret;
    /// # use flows::client::PublicClient;
    /// # async fn sign_in(client: PublicClient, password: Secret) -> Result<(), flows::Error> {
    /// let result = client.acquire_token_by_username_password(["User.Read"], "ada@contoso.com", password).await?;
    /// # let _ = result; Ok(()) }
    /// ```
    pub fn acquire_token_by_username_password<I>(
        &self,
        scopes: I,
        username: impl Into<String>,
        password: Secret,
    ) -> AcquireTokenByUsernamePassword<'_>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        AcquireTokenByUsernamePassword::new(
            self.application(),
            ScopeSet::of(scopes),
            username.into(),
            password,
        )
    }
}

impl ConfidentialClient {
    /// As [`PublicClient::acquire_token_by_username_password`], with all that it says against it. Only a client that was built with
    /// [`allow_password_grant`](ClientBuilder::allow_password_grant) does it; for others it is [`Error::Configuration`].
    pub fn acquire_token_by_username_password<I>(
        &self,
        scopes: I,
        username: impl Into<String>,
        password: Secret,
    ) -> AcquireTokenByUsernamePassword<'_>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        AcquireTokenByUsernamePassword::new(
            self.application(),
            ScopeSet::of(scopes),
            username.into(),
            password,
        )
    }
}

impl ClientBuilder<ConfidentialClient> {
    /// Lets the client sign users in with their passwords.
    ///
    /// **A server that takes passwords of another party's accounts is what phishing looks like**, and a leak of it is a leak of all of them. It
    /// sees them in clear, no second factor stands in its way, and users learn to type them anywhere. Use the authorization code instead
    /// ([`begin_authorization`](ConfidentialClient::begin_authorization)).
    ///
    /// ```no_run
    /// # use cache_core::{cache::TokenCache, secret::Secret};
    /// # use flows::{authority::Authority, client::ClientCredential};
    /// use flows::client::{ConfidentialClient, PasswordGrant};
    ///
    /// # async fn sign_in(authority: Authority, credential: ClientCredential, cache: TokenCache, password: Secret) -> Result<(), flows::Error> {
    /// let client = ConfidentialClient::builder("my-client", authority, credential, cache)
    ///     .allow_password_grant(PasswordGrant::IUnderstandTheRisk)
    ///     .build()?;
    /// let result = client.acquire_token_by_username_password(["api:read"], "ada", password).await?;
    /// # let _ = result; Ok(()) }
    /// ```
    pub fn allow_password_grant(mut self, consent: PasswordGrant) -> Self {
        self.password_grant = Some(consent);
        self
    }
}

/// What must be said before a confidential client takes passwords; see [`ClientBuilder::allow_password_grant`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordGrant {
    /// Whoever writes this has read why it is a bad idea.
    IUnderstandTheRisk,
}

impl<'a> AcquireTokenByUsernamePassword<'a> {
    fn new(application: &'a Arc<Application>, scopes: ScopeSet, username: String, password: Secret) -> Self {
        Self {
            application,
            scopes,
            username,
            password,
            claims: None,
        }
    }

    /// Adds a claims request, as an authority or a resource demanded it.
    pub fn claims(mut self, claims: impl Into<String>) -> Self {
        self.claims = Some(claims.into());
        self
    }

    async fn run(self) -> Result<AuthenticationResult, Error> {
        let Self {
            application,
            scopes,
            username,
            password,
            claims,
        } = self;
        if application.client.is_confidential() && application.password_grant.is_none() {
            let error = "a confidential client takes no passwords unless it was built with allow_password_grant; read there why";
            return Err(ConfigurationError::new(error).into());
        }
        let request = password::request(&application.authority, scopes, &username, &password)?
            .claims(claims.as_deref().unwrap_or_default());
        application.redeem_sign_in(request).await.map_err(password::judge)
    }
}

impl<'a> IntoFuture for AcquireTokenByUsernamePassword<'a> {
    type Output = Result<AuthenticationResult, Error>;
    type IntoFuture = Acquisition<'a>;

    fn into_future(self) -> Self::IntoFuture {
        Acquisition::boxed(self.run())
    }
}

/// The user's name is personal data, so it is not shown.
impl fmt::Debug for AcquireTokenByUsernamePassword<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireTokenByUsernamePassword")
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}
