//! Signing in on another device.

use std::fmt;
use std::future::{IntoFuture, poll_fn};
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;

use cache_core::schema::ScopeSet;

use super::application::Application;
use super::{Acquisition, ConfidentialClient, PublicClient};
use crate::error::ConfigurationError;
use crate::request::device_code::{self, DeviceAuthorization};
use crate::{AuthenticationResult, Error};

type Showing<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// What shows the user where to go.
enum Prompt<'a> {
    Writer(Box<dyn Write + Send + 'a>),
    Callback(Box<dyn FnOnce(&DeviceAuthorization) + Send + 'a>),
    Future(Box<dyn FnOnce(DeviceAuthorization) -> Showing<'a> + Send + 'a>),
}

/// A sign-in by device code (RFC 8628). Await it to run it: it ends when the user has entered the code, or the code expires.
///
/// Unless told otherwise it prints on standard error where to go and which code to enter. It never opens a browser: the user must
/// see that the code on the page is the code on this device.
///
/// Dropping the future ends the sign-in; the authority is not asked again.
#[must_use = "it does nothing until it is awaited"]
pub struct AcquireTokenByDeviceCode<'a> {
    application: &'a Arc<Application>,
    scopes: ScopeSet,
    prompt: Prompt<'a>,
    tenant: Option<String>,
    claims: Option<String>,
}

impl PublicClient {
    /// Signs a user in on another device (RFC 8628).
    ///
    /// ```no_run
    /// # async fn sign_in(client: flows::client::PublicClient) -> Result<(), flows::Error> {
    /// let result = client.acquire_token_by_device_code(["User.Read"]).await?;
    /// # let _ = result; Ok(()) }
    /// ```
    pub fn acquire_token_by_device_code<I>(&self, scopes: I) -> AcquireTokenByDeviceCode<'_>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        AcquireTokenByDeviceCode::new(self.application(), ScopeSet::of(scopes))
    }
}

impl ConfidentialClient {
    /// Signs a user in on another device (RFC 8628), where the issuer allows that to clients with a secret.
    ///
    /// Whoever enters the code signs in to *this* server: show it only to the user whose session it is for.
    ///
    /// ```no_run
    /// # async fn sign_in(client: flows::client::ConfidentialClient) -> Result<(), flows::Error> {
    /// let sign_in = client.acquire_token_by_device_code(["User.Read"]);
    /// let result = sign_in.on_prompt(|prompt| show(prompt.message())).await?;
    /// # let _ = result; Ok(()) }
    /// # fn show(_: String) {}
    /// ```
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
            prompt: Prompt::Writer(Box::new(std::io::stderr())),
            tenant: None,
            claims: None,
        }
    }

    /// Sets what shows the user where to go and which code to enter, in place of standard error.
    pub fn on_prompt(mut self, prompt: impl FnOnce(&DeviceAuthorization) + Send + 'a) -> Self {
        self.prompt = Prompt::Callback(Box::new(prompt));
        self
    }

    /// As [`on_prompt`](Self::on_prompt), with a future that runs beside the polling and is dropped when the sign-in ends.
    ///
    /// ```no_run
    /// # async fn sign_in(client: flows::client::PublicClient) -> Result<(), flows::Error> {
    /// let sign_in = client.acquire_token_by_device_code(["User.Read"]);
    /// let result = sign_in.on_prompt_async(|prompt| async move { show(prompt.message()).await }).await?;
    /// # let _ = result; Ok(()) }
    /// # async fn show(_: String) {}
    /// ```
    pub fn on_prompt_async<F>(mut self, prompt: impl FnOnce(DeviceAuthorization) -> F + Send + 'a) -> Self
    where
        F: Future<Output = ()> + Send + 'a,
    {
        self.prompt = Prompt::Future(Box::new(|authorization| Box::pin(prompt(authorization))));
        self
    }

    /// Writes the instruction to `writer` instead of standard error.
    pub fn print_to(mut self, writer: impl Write + Send + 'a) -> Self {
        self.prompt = Prompt::Writer(Box::new(writer));
        self
    }

    /// Signs in to another tenant (a GUID or a domain) than the authority's; only Entra has them.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
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
            tenant,
            claims,
        } = self;
        let authority = match &tenant {
            Some(tenant) => application.authority.with_tenant(tenant)?,
            None => application.authority.clone(),
        };
        let correlation_id = application.correlation_id()?;
        let endpoint = application.endpoint(&authority).await?;
        let mut request = device_code::request(scopes).context(application.context.clone());
        if let Some(claims) = &claims {
            request = request.claims(claims);
        }
        let authorization = endpoint
            .authorize_device(request, correlation_id, application.time_limit)
            .await?;
        let showing = show(prompt, &authorization)?;
        let began = application.cache.clock().monotonic();
        let waiting = endpoint.await_device(&authorization, correlation_id, application.time_limit);
        let mut response = beside(showing, Box::pin(waiting)).await?;
        response.context = application.context.clone();
        let elapsed = application.cache.clock().monotonic().saturating_sub(began);
        application
            .store_sign_in_at(&authority, response, correlation_id, elapsed)
            .await
    }
}

/// Shows `authorization`, and returns what is still to run if showing takes a future.
fn show<'a>(prompt: Prompt<'a>, authorization: &DeviceAuthorization) -> Result<Option<Showing<'a>>, Error> {
    match prompt {
        Prompt::Callback(callback) => {
            callback(authorization);
            Ok(None)
        }
        Prompt::Future(callback) => Ok(Some(callback(authorization.clone()))),
        Prompt::Writer(mut writer) => {
            let written = writeln!(writer, "{}", authorization.instruction()).and_then(|()| writer.flush());
            // Nobody would enter a code that nobody sees.
            written.map(|()| None).map_err(|error| {
                ConfigurationError::new("the device code could not be printed; show it with on_prompt")
                    .with_source(error)
                    .into()
            })
        }
    }
}

/// Runs `main` to its end, and `beside` as long as that takes.
async fn beside<T>(
    mut beside: Option<Showing<'_>>,
    mut main: Pin<Box<dyn Future<Output = T> + Send + '_>>,
) -> T {
    poll_fn(|context| {
        if let Some(showing) = &mut beside
            && showing.as_mut().poll(context).is_ready()
        {
            beside = None;
        }
        main.as_mut().poll(context)
    })
    .await
}

impl<'a> IntoFuture for AcquireTokenByDeviceCode<'a> {
    type Output = Result<AuthenticationResult, Error>;
    type IntoFuture = Acquisition<'a>;

    fn into_future(self) -> Self::IntoFuture {
        Acquisition::boxed(self.run())
    }
}

impl fmt::Debug for AcquireTokenByDeviceCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireTokenByDeviceCode")
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}
