//! Signing in in the browser.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::CachedAccount;
use cache_core::schema::ScopeSet;
use url::Url;

use super::application::Application;
use super::browser_options::{BrowserOptions, Opener, browser_option_methods};
use super::browser_sign_in::BrowserSignIn;
use super::{Acquisition, PublicClient};
use crate::browser::Browser;
use crate::error::ConfigurationError;
use crate::request::authorization_code::{Prompt, ResponseMode};

/// A sign-in in the system's browser (RFC 8252), by authorization code with PKCE. Await it to run it: it ends when the user has
/// signed in, the authority has refused, or the time is over.
///
/// The browser's answer comes to a listener on loopback, which ignores whatever is not that answer. The result is in the cache
/// before the browser says that the user is signed in.
///
/// The usual order, from the quietest to the loudest:
///
/// ```no_run
/// use cache_core::cache::CachedAccount;
/// use flows::client::PublicClient;
/// use flows::{AuthenticationResult, Error};
///
/// # async fn token(client: &PublicClient, account: &CachedAccount) -> Result<AuthenticationResult, Error> {
/// let scopes = ["User.Read"];
/// match client.acquire_token_silent(scopes).account(account).await {
///     Err(Error::InteractionRequired(_)) => {}
///     settled => return settled,
/// }
/// // Opens a page, but asks nothing: the browser may still have a session.
/// match client.acquire_token_by_browser_session(scopes).account(account).await {
///     Err(Error::InteractionRequired(_)) => {}
///     settled => return settled,
/// }
/// client.acquire_token_interactive(scopes).account(account).await
/// # }
/// ```
///
/// [`session_first`](Self::session_first) does the last two in one page.
///
/// Dropping the future ends the sign-in and closes the listener at once; once the code is being redeemed, tokens may be lost that
/// way, and nothing else.
#[must_use = "it does nothing until it is awaited"]
pub struct AcquireTokenInteractive<'a> {
    application: &'a Arc<Application>,
    scopes: ScopeSet,
    prompt: Option<Prompt>,
    session_first: bool,
    options: BrowserOptions<'a>,
}

impl PublicClient {
    /// Signs a user in in the browser of this machine (RFC 8252).
    pub fn acquire_token_interactive<I>(&self, scopes: I) -> AcquireTokenInteractive<'_>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        AcquireTokenInteractive::new(self.application(), ScopeSet::of(scopes))
    }
}

impl<'a> AcquireTokenInteractive<'a> {
    fn new(application: &'a Arc<Application>, scopes: ScopeSet) -> Self {
        Self {
            application,
            scopes,
            prompt: None,
            session_first: false,
            options: BrowserOptions::new(),
        }
    }

    /// Sets what the user is asked; unless set, the authority decides.
    pub fn prompt(mut self, prompt: Prompt) -> Self {
        self.prompt = Some(prompt);
        self
    }

    /// Tries first whether the session of the browser is enough (`prompt=none`), and asks the user only if it is not, in the
    /// same page.
    pub fn session_first(mut self, first: bool) -> Self {
        self.session_first = first;
        self
    }

    browser_option_methods!();

    fn into_sign_in(self) -> Result<BrowserSignIn<'a>, ConfigurationError> {
        if self.prompt == Some(Prompt::None) {
            return Err(ConfigurationError::new(
                "an interactive sign-in with prompt=none could ask nothing; use acquire_token_by_browser_session, or session_first",
            ));
        }
        let (prompt, then) = match self.session_first {
            true => (Some(Prompt::None), Some(self.prompt)),
            false => (self.prompt, None),
        };
        Ok(BrowserSignIn {
            application: self.application,
            scopes: self.scopes,
            prompt,
            then,
            options: self.options,
        })
    }
}

impl<'a> IntoFuture for AcquireTokenInteractive<'a> {
    type Output = <Self::IntoFuture as Future>::Output;
    type IntoFuture = Acquisition<'a>;

    fn into_future(self) -> Self::IntoFuture {
        Acquisition::boxed(async { self.into_sign_in()?.run().await })
    }
}

impl fmt::Debug for AcquireTokenInteractive<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireTokenInteractive")
            .field("scopes", &self.scopes)
            .field("prompt", &self.prompt)
            .field("session_first", &self.session_first)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
