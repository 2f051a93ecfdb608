//! Signing in on another device.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;

use cache_core::schema::ScopeSet;

use super::application::Application;
use super::{Acquisition, PublicClient};
use crate::error::ConfigurationError;
use crate::request::device_code::{self, DeviceAuthorization};
use crate::{AuthenticationResult, Error};

type Prompt<'a> = Box<dyn FnOnce(&DeviceAuthorization) + Send + 'a>;

/// A sign-in by device code (RFC 8628). Await it to run it: it ends when the user has entered the code, or the code expires.
///
/// Dropping the future ends the sign-in.
#[must_use = "it does nothing until it is awaited"]
pub struct AcquireTokenByDeviceCode<'a> {
    application: &'a Arc<Application>,
    scopes: ScopeSet,
    prompt: Option<Prompt<'a>>,
    claims: Option<String>,
}

impl PublicClient {
    /// Signs a user in on another device (RFC 8628).
    pub fn acquire_token_by_device_code<I>(&self, scopes: I) -> AcquireTokenByDeviceCode<'_>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        AcquireTokenByDeviceCode::new(self.application(), ScopeSet::of(scopes))
    }
}

impl<'a> AcquireTokenByDeviceCode<'a> {
    fn new(application: &'a Arc<Application>, scopes: ScopeSet) -> Self {
        Self {
            application,
            scopes,
            prompt: None,
            claims: None,
        }
    }

    /// Sets what shows the user where to go and which code to enter.
    pub fn on_prompt(mut self, prompt: impl FnOnce(&DeviceAuthorization) + Send + 'a) -> Self {
        self.prompt = Some(Box::new(prompt));
        self
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
            prompt,
            claims,
        } = self;
        let prompt = prompt.ok_or_else(|| {
            ConfigurationError::new("nobody would see the device code; set what shows it with on_prompt")
        })?;
        let correlation_id = application.correlation_id()?;
        let endpoint = application.endpoint(&application.authority).await?;
        let mut request = device_code::request(scopes).context(application.context.clone());
        if let Some(claims) = &claims {
            request = request.claims(claims);
        }
        let authorization = endpoint
            .authorize_device(request, correlation_id, application.time_limit)
            .await?;
        prompt(&authorization);
        let began = application.cache.clock().monotonic();
        let response = endpoint
            .await_device(&authorization, correlation_id, application.time_limit)
            .await?;
        let elapsed = application.cache.clock().monotonic().saturating_sub(began);
        application.store_sign_in(response, correlation_id, elapsed).await
    }
}

impl<'a> IntoFuture for AcquireTokenByDeviceCode<'a> {
    type Output = Result<AuthenticationResult, Error>;
    type IntoFuture = Acquisition<'a>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for AcquireTokenByDeviceCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireTokenByDeviceCode")
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}
