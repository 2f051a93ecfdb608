//! Taking over a refresh token of another program.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;

use cache_core::cache::{CacheError, CallOutcome};
use cache_core::schema::ScopeSet;
use cache_core::secret::Secret;

use super::application::{Application, in_realm};
use super::{Acquisition, ConfidentialClient, PublicClient, outcome};
use crate::request::refresh_token;
use crate::response::of_refresh;
use crate::{AuthenticationResult, Error};

/// The redemption of a refresh token from elsewhere (MSAL's `AcquireTokenByRefreshToken`), to migrate from another token store. Await it to run it.
///
/// What it brings is a sign-in of this client: from then on the account is found silently. A token that rotates is **moved, not copied**: the
/// program that it came from is signed out by its first use here, and signs this one out if it uses the token again.
///
/// It is sent once. When nobody knows what became of it, the error is [`CacheError::OutcomeUnknown`], nothing is cached, and an issuer that rotates
/// may have revoked it: ask the user to sign in. Dropping the future leaves a request that was begun to its end, and its tokens in the cache.
#[must_use = "it does nothing until it is awaited"]
pub struct AcquireTokenByRefreshToken<'a> {
    application: &'a Arc<Application>,
    refresh_token: &'a Secret,
    scopes: ScopeSet,
    home_account_id: Option<String>,
}

impl ConfidentialClient {
    /// Takes a refresh token over that this client was granted elsewhere, as
    /// [`PublicClient::acquire_token_by_refresh_token`].
    pub fn acquire_token_by_refresh_token<'a, I>(
        &'a self,
        refresh_token: &'a Secret,
        scopes: I,
    ) -> AcquireTokenByRefreshToken<'a>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        AcquireTokenByRefreshToken::new(self.application(), refresh_token, ScopeSet::of(scopes))
    }
}

impl PublicClient {
    /// Takes a refresh token over that this client was granted elsewhere, such as the store of an older library.
    ///
    /// ```no_run
    /// use cache_core::secret::Secret;
    /// use flows::client::PublicClient;
    ///
    /// # async fn migrate(client: &PublicClient, old: &Secret) -> Result<(), flows::Error> {
    /// let result = client.acquire_token_by_refresh_token(old, ["User.Read"]).await?;
    /// println!("{:?} needs not sign in again", result.account());
    /// # Ok(()) }
    /// ```
    pub fn acquire_token_by_refresh_token<'a, I>(
        &'a self,
        refresh_token: &'a Secret,
        scopes: I,
    ) -> AcquireTokenByRefreshToken<'a>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        AcquireTokenByRefreshToken::new(self.application(), refresh_token, ScopeSet::of(scopes))
    }
}

impl<'a> AcquireTokenByRefreshToken<'a> {
    fn new(application: &'a Arc<Application>, refresh_token: &'a Secret, scopes: ScopeSet) -> Self {
        Self {
            application,
            refresh_token,
            scopes,
            home_account_id: None,
        }
    }

    /// Says whose token it is, if that is known: `uid.utid` with Microsoft's authorities, the `sub` with other issuers. A reply for
    /// anybody else is refused. Some issuers answer a refresh without an ID token; with them it is needed, else the token is
    /// spent and its successor is nobody's.
    pub fn home_account_id(mut self, id: impl Into<String>) -> Self {
        self.home_account_id = Some(id.into());
        self
    }

    async fn run(self) -> Result<AuthenticationResult, Error> {
        let Self {
            application,
            refresh_token,
            scopes,
            home_account_id,
        } = self;
        let application = Arc::clone(application);
        let refresh_token = refresh_token.clone();
        // A caller that goes away after the token was sent must not lose its successor.
        tokio::spawn(
            async move { redeem(&application, &refresh_token, scopes, home_account_id.as_deref()).await },
        )
        .await
        .unwrap_or_else(|_| Err(CacheError::LeaderLost.into()))
    }
}

async fn redeem(
    application: &Application,
    refresh_token: &Secret,
    scopes: ScopeSet,
    home_account_id: Option<&str>,
) -> Result<AuthenticationResult, Error> {
    let request = refresh_token::import(&application.authority, refresh_token, scopes, home_account_id)
        .context(application.context.clone());
    let correlation_id = application.correlation_id()?;
    let endpoint = application.endpoint(&application.authority).await?;
    let clock = application.cache.clock();
    let began = clock.monotonic();
    let response = endpoint
        .send(request, correlation_id, application.time_limit)
        .await
        .map_err(|error| typed(of_refresh(application.authority.kind(), error)))?;
    let answered = clock.monotonic();
    let mut response = in_realm(&application.authority, response);
    // An issuer that does not rotate answers without: the same token goes on.
    response.refresh_token = response.refresh_token.or_else(|| Some(refresh_token.clone()));
    let partition = application.user_partition(response.home_account_id());
    let key = application.keep_key(&response)?;
    application.store_key(key.as_ref()).await?;
    let stored = application.cache.sign_in(&partition, response).await;
    let acquired = stored.map_err(|error| CacheError::NotPersisted(Arc::new(error)))?;
    application.store_key(key.as_ref()).await?;
    let elapsed = clock.monotonic().saturating_sub(answered);
    let time_in_http = answered.saturating_sub(began);
    Ok(outcome::signed_in(
        acquired,
        correlation_id,
        elapsed,
        time_in_http,
    ))
}

/// The error, with whether the token may have been spent.
fn typed(error: Error) -> Error {
    match error {
        refused @ (Error::InteractionRequired(_) | Error::Authority(_)) => refused,
        early @ (Error::Configuration(_) | Error::Random(_) | Error::Discovery(_)) => early,
        other => match other.into_call_outcome() {
            CallOutcome::NotSent(error) => CacheError::Unreachable(Arc::new(error)).into(),
            CallOutcome::OutcomeUnknown(error) => CacheError::OutcomeUnknown(Arc::new(error)).into(),
            CallOutcome::Refused(refusal) => CacheError::Refused(Box::new(refusal)).into(),
            CallOutcome::Granted(_) => CacheError::NoAccessToken.into(),
        },
    }
}

impl<'a> IntoFuture for AcquireTokenByRefreshToken<'a> {
    type Output = Result<AuthenticationResult, Error>;
    type IntoFuture = Acquisition<'a>;

    fn into_future(self) -> Self::IntoFuture {
        Acquisition::boxed(self.run())
    }
}

impl fmt::Debug for AcquireTokenByRefreshToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireTokenByRefreshToken")
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}
