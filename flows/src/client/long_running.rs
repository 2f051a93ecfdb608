//! Sessions on behalf of a user that go on when the user is away.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use cache_core::schema::ScopeSet;

use super::application::Application;
use super::asked_scopes::AskedScopes;
use super::on_behalf_of::tenant_of_assertion;
use super::session::KeyedSession;
use super::session_id::SessionId;
use super::{AcquireTokenSilent, Acquisition, ConfidentialClient};
use crate::request::on_behalf_of::{self, UserAssertion};
use crate::{AuthenticationResult, Error};

/// How long a session is kept unless the caller says otherwise: as long as Entra's refresh tokens last unused.
const USUAL_LIFETIME: Duration = Duration::from_secs(90 * 86_400);

/// The beginning of a session that goes on without the user (MSAL's `InitiateLongRunningProcessInWebApi`). Await it to run it.
///
/// The authority is always asked, and what it grants takes the place of an earlier session of the same name. Dropping the future may lose the
/// reply; the assertion can be presented again.
#[must_use = "it does nothing until it is awaited"]
pub struct BeginLongRunningSession<'a> {
    application: &'a Arc<Application>,
    id: &'a SessionId,
    assertion: &'a UserAssertion,
    scopes: ScopeSet,
    tenant: Option<String>,
    claims: Option<String>,
    lifetime: Duration,
}

impl ConfidentialClient {
    /// Begins a session on behalf of the user who presented `assertion`, under a name of the caller's choice. It has a refresh token of its own,
    /// goes on with [`acquire_token_in_long_running_session`](Self::acquire_token_in_long_running_session), and ends with
    /// [`stop_long_running_session`](Self::stop_long_running_session), with the user's
    /// [sign-out](Self::remove_account_by_home_id), and with its lifetime.
    ///
    /// ```no_run
    /// use cache_core::random::OsRandom;
    /// use flows::client::{ConfidentialClient, SessionId};
    /// use flows::request::on_behalf_of::UserAssertion;
    ///
    /// # async fn job(client: &ConfidentialClient, assertion: &UserAssertion) -> Result<(), flows::Error> {
    /// let id = SessionId::random(&OsRandom)?;
    /// client.begin_long_running_session(&id, assertion, ["Files.Read"]).await?;
    /// // Hours later, in another process that was told the ID:
    /// let result = client.acquire_token_in_long_running_session(&id, ["Files.Read"]).await?;
    /// client.stop_long_running_session(&id).await?;
    /// # let _ = result; Ok(()) }
    /// ```
    pub fn begin_long_running_session<'a, I>(
        &'a self,
        id: &'a SessionId,
        assertion: &'a UserAssertion,
        scopes: I,
    ) -> BeginLongRunningSession<'a>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        BeginLongRunningSession {
            application: self.application(),
            id,
            assertion,
            scopes: ScopeSet::of(scopes),
            tenant: None,
            claims: None,
            lifetime: USUAL_LIFETIME,
        }
    }

    /// A token in a session that was begun before: from the cache, else by its refresh token, which one caller of all processes that share the
    /// store spends. [`Error::InteractionRequired`] when the session is gone or its refresh token is refused.
    pub fn acquire_token_in_long_running_session<'a, I>(
        &'a self,
        id: &'a SessionId,
        scopes: I,
    ) -> AcquireTokenSilent<'a>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let application = self.application();
        let session = KeyedSession::long_running(application, id);
        AcquireTokenSilent::new(application, AskedScopes::of(scopes)).in_keyed_session(session)
    }

    /// Ends a session: its tokens are removed, and no refresh that is under way brings them back. `false` when there was none.
    ///
    /// If it was the user's last with this client, the authority is then asked to revoke its refresh token (RFC 7009), where it offers that,
    /// within the client's [time limit](super::ClientBuilder::time_limit). Earlier that could end the others: providers make one grant of
    /// all sign-ins of a browser. A failure is logged; nobody has the token any more.
    ///
    /// # Errors
    /// [`Error::Cache`], and the session may go on; [`Error::Session`] when it is another account's.
    ///
    /// # Cancellation safety
    /// The removal goes on.
    pub async fn stop_long_running_session(&self, id: &SessionId) -> Result<bool, Error> {
        let application = self.application();
        KeyedSession::long_running(application, id).end(application).await
    }
}

impl<'a> BeginLongRunningSession<'a> {
    /// Names the tenant, where the client's authority is one that many share: the tenant that issued the assertion (its `tid`).
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Adds a claims request, as a resource demanded it.
    pub fn claims(mut self, claims: impl Into<String>) -> Self {
        self.claims = Some(claims.into());
        self
    }

    /// Sets how long the session is kept, from now on and however often it is used; 90 days unless set.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    async fn run(self) -> Result<AuthenticationResult, Error> {
        let Self {
            application,
            id,
            assertion,
            scopes,
            tenant,
            claims,
            lifetime,
        } = self;
        let authority = tenant_of_assertion(&application.authority, tenant.as_deref())?;
        let lasting = on_behalf_of::Lifetime::LongRunning;
        let request =
            on_behalf_of::request(assertion, scopes, lasting).claims(claims.as_deref().unwrap_or_default());
        KeyedSession::long_running(application, id)
            .begin(application, &authority, request, lifetime)
            .await
    }
}

impl<'a> IntoFuture for BeginLongRunningSession<'a> {
    type Output = Result<AuthenticationResult, Error>;
    type IntoFuture = Acquisition<'a>;

    fn into_future(self) -> Self::IntoFuture {
        Acquisition::boxed(self.run())
    }
}

impl fmt::Debug for BeginLongRunningSession<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BeginLongRunningSession")
            .field("scopes", &self.scopes)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}
