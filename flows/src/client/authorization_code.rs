//! Ending a sign-in in the browser.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use super::application::Application;
use super::lazy_correlation::LazyCorrelation;
use super::session::KeyedSession;
use super::session_id::SessionId;
use super::{Acquisition, ConfidentialClient};
use crate::proof::ProofSigner;
use crate::request::authorization_code::{AuthorizationRequest, PendingAuthorization, PendingParts};
use crate::{AuthenticationResult, Error};

/// How long a web session is kept unless the caller says otherwise.
const USUAL_LIFETIME: Duration = Duration::from_secs(30 * 86_400);

/// The end of a sign-in by authorization code (RFC 6749 section 4.1.3, with PKCE). Await it to run it.
///
/// Dropping the future may lose the sign-in: the code can be redeemed once.
///
/// ```no_run
/// use cache_core::schema::ScopeSet;
/// use flows::Error;
/// use flows::client::ConfidentialClient;
/// use flows::request::authorization_code::{AuthorizationRequest, PendingParts};
/// use url::Url;
///
/// const BACK: &str = "https://app.example/signed-in";
///
/// /// Where the browser is sent, and what is kept for it in the web session.
/// async fn begin(client: &ConfidentialClient) -> Result<(Url, PendingParts), Error> {
///     let request = AuthorizationRequest::new("my-client", BACK, ScopeSet::parse("User.Read"));
///     let pending = client.begin_authorization(request).await?;
///     Ok((pending.url().clone(), pending.into_parts()))
/// }
///
/// /// The browser came back with `query`.
/// async fn end(client: &ConfidentialClient, kept: &PendingParts, query: &str) -> Result<(), Error> {
///     let result = client.acquire_token_by_authorization_code(kept, query).await?;
///     println!("hello {}", result.account().map_or("", |account| &account.username));
///     Ok(())
/// }
/// ```
#[must_use = "it does nothing until it is awaited"]
pub struct AcquireTokenByAuthorizationCode<'a> {
    application: &'a Arc<Application>,
    pending: &'a PendingParts,
    response: &'a str,
    session: Option<&'a SessionId>,
    session_lifetime: Duration,
}

impl ConfidentialClient {
    /// Begins a sign-in in the user's browser: send it to [`url`](PendingAuthorization::url), and keep the
    /// [parts](PendingAuthorization::into_parts) in the user's web session. Where the issuer requires it, or
    /// [`pushed`](AuthorizationRequest::pushed) says so, the request is handed in at the authority first (RFC 9126).
    ///
    /// # Errors
    /// [`Error::Configuration`] when `request` is for another client; as [`AuthorizationRequest::begin`]; as discovery;
    /// as [`TokenEndpoint::push_authorization`](crate::TokenEndpoint::push_authorization).
    ///
    /// # Cancellation safety
    /// Cancellation safe.
    pub async fn begin_authorization(
        &self,
        request: AuthorizationRequest,
    ) -> Result<PendingAuthorization, Error> {
        let application = self.application();
        request.check_client(application.client.id())?;
        application
            .begin_authorization(request, &LazyCorrelation::default())
            .await
    }

    /// Ends a sign-in that [`begin_authorization`](Self::begin_authorization) began: `response` is the URL that the browser came back to, its query,
    /// or the posted form.
    pub fn acquire_token_by_authorization_code<'a>(
        &'a self,
        pending: &'a PendingParts,
        response: &'a str,
    ) -> AcquireTokenByAuthorizationCode<'a> {
        AcquireTokenByAuthorizationCode::new(self.application(), pending, response)
    }
}

impl Application {
    /// Begins a sign-in in a browser, and hands its request in where that is required or chosen.
    pub(super) async fn begin_authorization(
        &self,
        request: AuthorizationRequest,
        correlation_id: &LazyCorrelation,
    ) -> Result<PendingAuthorization, Error> {
        let signer = self.client_signer().await?;
        self.begin_authorization_with(request, signer.as_deref(), correlation_id)
            .await
    }

    /// As [`begin_authorization`](Self::begin_authorization), for a code that is redeemed with the key of `signer`.
    pub(super) async fn begin_authorization_with(
        &self,
        request: AuthorizationRequest,
        signer: Option<&dyn ProofSigner>,
        correlation_id: &LazyCorrelation,
    ) -> Result<PendingAuthorization, Error> {
        // RFC 9449 section 10: whoever steals the code cannot redeem it without the key.
        let request = match signer {
            Some(signer) => request.parameter("dpop_jkt", &signer.public_key().thumbprint()),
            None => request,
        };
        let metadata = self.metadata(&self.authority).await?;
        let pending = request.capabilities(self.capabilities.clone()).begin(
            &self.authority,
            &metadata,
            &**self.cache.random(),
        )?;
        if !pending.is_to_be_pushed() {
            return Ok(pending);
        }
        // Handing in proves nothing: `dpop_jkt` is among what is handed in.
        self.endpoint_with(&self.authority, None)
            .await?
            .push_authorization(pending, correlation_id.draw(self)?, self.time_limit)
            .await
    }
}

impl<'a> AcquireTokenByAuthorizationCode<'a> {
    fn new(application: &'a Arc<Application>, pending: &'a PendingParts, response: &'a str) -> Self {
        Self {
            application,
            pending,
            response,
            session: None,
            session_lifetime: USUAL_LIFETIME,
        }
    }

    /// Keeps the tokens in a session of this browser alone, instead of with the user: other browsers of the same user have their own. Use a new
    /// [random](SessionId::random) ID for each sign-in, and keep it in the web session;
    /// [`acquire_token_silent`](ConfidentialClient::acquire_token_silent) finds the tokens by
    /// [`in_session`](super::AcquireTokenSilent::in_session).
    ///
    /// The session ends with [`end_session`](ConfidentialClient::end_session), with its lifetime, and with a sign-out of its user from this client,
    /// which ends all of the user's sessions.
    pub fn in_session(mut self, id: &'a SessionId) -> Self {
        self.session = Some(id);
        self
    }

    /// Sets how long the session is kept, from now on and however often it is used; 30 days unless set.
    pub fn session_lifetime(mut self, lifetime: Duration) -> Self {
        self.session_lifetime = lifetime;
        self
    }

    async fn run(self) -> Result<AuthenticationResult, Error> {
        let Self {
            application,
            pending,
            response,
            session,
            session_lifetime,
        } = self;
        let metadata = application.metadata(&application.authority).await?;
        let code = pending.accept(&application.authority, &metadata, response)?;
        let request = pending.token_request(&application.authority, &code);
        let Some(id) = session else {
            return application.redeem_sign_in(request).await;
        };
        KeyedSession::web(application, id)
            .begin(application, &application.authority, request, session_lifetime)
            .await
    }
}

impl<'a> IntoFuture for AcquireTokenByAuthorizationCode<'a> {
    type Output = Result<AuthenticationResult, Error>;
    type IntoFuture = Acquisition<'a>;

    fn into_future(self) -> Self::IntoFuture {
        Acquisition::boxed(self.run())
    }
}

impl fmt::Debug for AcquireTokenByAuthorizationCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireTokenByAuthorizationCode")
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}
