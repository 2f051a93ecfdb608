//! Ending a sign-in in the browser.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;

use super::application::Application;
use super::{Acquisition, ConfidentialClient};
use crate::request::authorization_code::{AuthorizationRequest, PendingAuthorization, PendingParts};
use crate::{AuthenticationResult, Error};

/// The end of a sign-in by authorization code (RFC 6749 section 4.1.3, with PKCE). Await it to run it.
///
/// Dropping the future may lose the sign-in: the code can be redeemed once.
#[must_use = "it does nothing until it is awaited"]
pub struct AcquireTokenByAuthorizationCode<'a> {
    application: &'a Arc<Application>,
    pending: &'a PendingParts,
    response: &'a str,
}

impl ConfidentialClient {
    /// Begins a sign-in in the user's browser: send it to [`url`](PendingAuthorization::url), and keep the
    /// [parts](PendingAuthorization::into_parts) in the user's web session.
    ///
    /// # Errors
    /// [`Error::Configuration`] when `request` is for another client; as [`AuthorizationRequest::begin`]; as discovery.
    ///
    /// # Cancellation safety
    /// Cancellation safe.
    pub async fn begin_authorization(
        &self,
        request: AuthorizationRequest,
    ) -> Result<PendingAuthorization, Error> {
        let application = self.application();
        request.check_client(application.client.id())?;
        // RFC 9449 section 10: whoever steals the code cannot redeem it without the key.
        let request = match application.client_signer().await? {
            Some(signer) => request.parameter("dpop_jkt", &signer.public_key().thumbprint()),
            None => request,
        };
        let metadata = application.metadata(&application.authority).await?;
        request.begin(&application.authority, &metadata, &**application.cache.random())
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

impl<'a> AcquireTokenByAuthorizationCode<'a> {
    fn new(application: &'a Arc<Application>, pending: &'a PendingParts, response: &'a str) -> Self {
        Self {
            application,
            pending,
            response,
        }
    }

    async fn run(self) -> Result<AuthenticationResult, Error> {
        let Self {
            application,
            pending,
            response,
        } = self;
        let metadata = application.metadata(&application.authority).await?;
        let code = pending.accept(&application.authority, &metadata, response)?;
        application
            .redeem_sign_in(pending.token_request(&application.authority, &code))
            .await
    }
}

impl<'a> IntoFuture for AcquireTokenByAuthorizationCode<'a> {
    type Output = Result<AuthenticationResult, Error>;
    type IntoFuture = Acquisition<'a>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for AcquireTokenByAuthorizationCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireTokenByAuthorizationCode")
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}
