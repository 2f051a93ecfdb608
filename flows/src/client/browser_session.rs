//! Signing in with the session that the browser has.

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
use crate::request::authorization_code::{Prompt, ResponseMode};

/// A silent authorization: `prompt=none` in the browser, which may have a session at the authority (OIDC Core section 3.1.2.1).
/// Await it to run it.
///
/// It opens a page, and the page asks nothing. It is the last step before the user is asked:
/// [`Error::InteractionRequired`](crate::Error::InteractionRequired) is the answer that means so.
///
/// ```no_run
/// use cache_core::cache::CachedAccount;
/// use flows::client::PublicClient;
/// use flows::{AuthenticationResult, Error};
///
/// # async fn token(client: &PublicClient, account: &CachedAccount) -> Result<AuthenticationResult, Error> {
/// match client.acquire_token_by_browser_session(["User.Read"]).account(account).await {
///     Err(Error::InteractionRequired(required)) => {
///         let ask = client.acquire_token_interactive(["User.Read"]).account(account);
///         match required.claims() {
///             Some(claims) => ask.claims(claims).await,
///             None => ask.await,
///         }
///     }
///     settled => settled,
/// }
/// # }
/// ```
///
/// With [`account`](Self::account), an OpenID Connect issuer other than Microsoft's is told by the account's cached ID token whose session
/// is meant (`id_token_hint`, as OIDC Core section 3.1.2.1 recommends); some refuse the request without it. [`pushed`](Self::pushed) keeps
/// it out of the browser's history.
///
/// Dropping the future ends it, as for [`AcquireTokenInteractive`](super::AcquireTokenInteractive).
#[must_use = "it does nothing until it is awaited"]
pub struct AcquireTokenByBrowserSession<'a> {
    application: &'a Arc<Application>,
    scopes: ScopeSet,
    options: BrowserOptions<'a>,
}

impl PublicClient {
    /// Signs a user in with the session that the browser has at the authority, and asks nothing.
    pub fn acquire_token_by_browser_session<I>(&self, scopes: I) -> AcquireTokenByBrowserSession<'_>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        AcquireTokenByBrowserSession::new(self.application(), ScopeSet::of(scopes))
    }
}

impl<'a> AcquireTokenByBrowserSession<'a> {
    fn new(application: &'a Arc<Application>, scopes: ScopeSet) -> Self {
        let mut options = BrowserOptions::new();
        // Nobody types here.
        options.time_limit = Duration::from_secs(60);
        Self {
            application,
            scopes,
            options,
        }
    }

    browser_option_methods!();
}

impl<'a> IntoFuture for AcquireTokenByBrowserSession<'a> {
    type Output = <Self::IntoFuture as Future>::Output;
    type IntoFuture = Acquisition<'a>;

    fn into_future(self) -> Self::IntoFuture {
        let sign_in = BrowserSignIn {
            application: self.application,
            scopes: self.scopes,
            prompt: Some(Prompt::None),
            then: None,
            options: self.options,
        };
        Acquisition::boxed(sign_in.run())
    }
}

impl fmt::Debug for AcquireTokenByBrowserSession<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireTokenByBrowserSession")
            .field("scopes", &self.scopes)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
