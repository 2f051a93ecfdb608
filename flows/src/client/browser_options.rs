//! What a caller may say of a sign-in in the browser.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::CachedAccount;
use cache_core::schema::{AuthorityKind, ScopeSet};
use url::Url;

use crate::browser::{Browser, BrowserError, SystemBrowser};
use crate::error::ConfigurationError;
use crate::loopback::{Pages, RedirectAddress};
use crate::request::authorization_code::{AuthorizationRequest, Prompt, ResponseMode};

/// Who opens the page.
pub(super) enum Opener<'a> {
    Browser(Arc<dyn Browser>),
    Callback(Box<dyn FnOnce(&Url) + Send + 'a>),
}

impl Opener<'_> {
    pub(super) async fn open(self, url: &Url) -> Result<(), BrowserError> {
        match self {
            Self::Browser(browser) => browser.open(url).await,
            Self::Callback(callback) => {
                callback(url);
                Ok(())
            }
        }
    }
}

/// How the browser is used, and what is asked of the authority there.
pub(super) struct BrowserOptions<'a> {
    pub(super) account: Option<&'a CachedAccount>,
    login_hint: Option<String>,
    domain_hint: Option<String>,
    pub(super) claims: Option<String>,
    parameters: Vec<(String, String)>,
    pub(super) mode: ResponseMode,
    pushed: Option<bool>,
    pub(super) time_limit: Duration,
    pub(super) cancelled: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
    pub(super) opener: Opener<'a>,
    redirect_uri: Option<String>,
    port: Option<u16>,
    pub(super) pages: Pages,
}

/// These belong to the flow, or have a method of their own; a second one would contradict it.
const RESERVED: [&str; 5] = ["prompt", "response_mode", "login_hint", "domain_hint", "claims"];

impl<'a> BrowserOptions<'a> {
    pub(super) fn new() -> Self {
        Self {
            account: None,
            login_hint: None,
            domain_hint: None,
            claims: None,
            parameters: Vec::new(),
            mode: ResponseMode::Query,
            pushed: None,
            time_limit: Duration::from_secs(5 * 60),
            cancelled: Box::pin(std::future::pending()),
            opener: Opener::Browser(Arc::new(SystemBrowser)),
            redirect_uri: None,
            port: None,
            pages: Pages::default(),
        }
    }

    /// Where the browser comes back to.
    pub(super) fn address(&self, kind: AuthorityKind) -> Result<RedirectAddress, ConfigurationError> {
        let address = match &self.redirect_uri {
            Some(uri) => RedirectAddress::parse(uri)?,
            None => RedirectAddress::usual(kind),
        };
        Ok(match self.port {
            Some(port) => address.with_port(port),
            None => address,
        })
    }

    /// What is asked of the authority with `prompt`.
    pub(super) fn request(
        &self,
        client_id: &str,
        redirect_uri: &str,
        scopes: &ScopeSet,
        prompt: Option<Prompt>,
    ) -> Result<AuthorizationRequest, ConfigurationError> {
        let mut request = AuthorizationRequest::new(client_id, redirect_uri, scopes.clone());
        let known = self.account.map(|account| account.account.username.as_str());
        if let Some(hint) = self
            .login_hint
            .as_deref()
            .or(known)
            .filter(|hint| !hint.is_empty())
        {
            request = request.login_hint(hint);
        }
        if let Some(hint) = &self.domain_hint {
            request = request.domain_hint(hint);
        }
        if let Some(prompt) = prompt {
            request = request.prompt(prompt);
        }
        if let Some(claims) = &self.claims {
            request = request.claims(claims);
        }
        if self.mode != ResponseMode::Query {
            request = request.response_mode(self.mode);
        }
        if let Some(pushed) = self.pushed {
            request = request.pushed(pushed);
        }
        for (name, value) in &self.parameters {
            if RESERVED.contains(&name.as_str()) {
                return Err(ConfigurationError::new(format!(
                    "the parameter `{name}` cannot be given as an extra one; use the method of its name, if there is one"
                )));
            }
            request = request.parameter(name, value);
        }
        Ok(request)
    }

    pub(super) fn set_login_hint(&mut self, hint: String) {
        self.login_hint = Some(hint);
    }

    pub(super) fn set_domain_hint(&mut self, hint: String) {
        self.domain_hint = Some(hint);
    }

    pub(super) fn add_parameter(&mut self, name: String, value: String) {
        self.parameters.push((name, value));
    }

    pub(super) fn has_parameter(&self, name: &str) -> bool {
        self.parameters.iter().any(|(known, _)| known == name)
    }

    pub(super) fn set_pushed(&mut self, pushed: bool) {
        self.pushed = Some(pushed);
    }

    pub(super) fn set_redirect_uri(&mut self, uri: String) {
        self.redirect_uri = Some(uri);
    }

    pub(super) fn set_port(&mut self, port: u16) {
        self.port = Some(port);
    }
}

/// The hints are personal data, so they are not shown.
impl fmt::Debug for BrowserOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrowserOptions")
            .field("mode", &self.mode)
            .field("time_limit", &self.time_limit)
            .field("redirect_uri", &self.redirect_uri)
            .finish_non_exhaustive()
    }
}

/// The options as methods of a builder with a field `options`.
macro_rules! browser_option_methods {
    () => {
        /// Says who is expected. Its user name is the login hint, and a result for anybody else is refused, with nothing of it
        /// kept: [`ReplyError::AnotherAccount`](crate::error::ReplyError::AnotherAccount).
        pub fn account(mut self, account: &'a CachedAccount) -> Self {
            self.options.account = Some(account);
            self
        }

        /// Says who is probably signing in, to save typing. The user may still choose another account.
        pub fn login_hint(mut self, hint: impl Into<String>) -> Self {
            self.options.set_login_hint(hint.into());
            self
        }

        /// Says which organisation the user belongs to, to skip a choice (Entra).
        pub fn domain_hint(mut self, hint: impl Into<String>) -> Self {
            self.options.set_domain_hint(hint.into());
            self
        }

        /// Adds a claims request, as an authority or a resource demanded it.
        pub fn claims(mut self, claims: impl Into<String>) -> Self {
            self.options.claims = Some(claims.into());
            self
        }

        /// Adds any other parameter to the authorization request.
        pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
            self.options.add_parameter(name.into(), value.into());
            self
        }

        /// Sets how the browser brings the answer: in the query unless set, or in a form, which keeps the code out of the
        /// browser's history.
        pub fn response_mode(mut self, mode: ResponseMode) -> Self {
            self.options.mode = mode;
            self
        }

        /// Hands the request in at the authority first (RFC 9126). Unless set, this is done where the issuer requires it.
        pub fn pushed(mut self, pushed: bool) -> Self {
            self.options.set_pushed(pushed);
            self
        }

        /// Sets how long the user has, in all; five minutes unless set. The token request after it has the client's own limit.
        pub fn time_limit(mut self, limit: Duration) -> Self {
            self.options.time_limit = limit;
            self
        }

        /// Ends the sign-in when `cancelled` is ready, with [`InteractiveError::Cancelled`](crate::error::InteractiveError::Cancelled).
        /// Dropping the future of the sign-in does the same, without a word.
        pub fn cancel_on(mut self, cancelled: impl Future<Output = ()> + Send + 'a) -> Self {
            self.options.cancelled = Box::pin(cancelled);
            self
        }

        /// Sets what opens the page; the [system's browser](crate::browser::SystemBrowser) unless set.
        pub fn browser(mut self, browser: Arc<dyn Browser>) -> Self {
            self.options.opener = Opener::Browser(browser);
            self
        }

        /// Opens no browser, but hands the URL to `show`, which lets the user open it on this machine.
        pub fn on_url(mut self, show: impl FnOnce(&Url) + Send + 'a) -> Self {
            self.options.opener = Opener::Callback(Box::new(show));
            self
        }

        /// Sets where the browser comes back to: `http`, a loopback host and a path, as registered with the authority. Without a
        /// port, a free one is taken (RFC 8252 section 7.3). Unless set, `http://localhost` with Microsoft's authorities, which
        /// ignore the port there, and `http://127.0.0.1/` with others.
        pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
            self.options.set_redirect_uri(uri.into());
            self
        }

        /// Sets the port of the redirect URI, for an authority that compares it; 0 is any free one.
        pub fn port(mut self, port: u16) -> Self {
            self.options.set_port(port);
            self
        }

        /// Sets the HTML of the page that the browser shows when the user is signed in. It must hold everything it needs: nothing
        /// is loaded, and no script runs.
        pub fn success_page(mut self, html: impl Into<String>) -> Self {
            self.options.pages.success = Some(html.into());
            self
        }

        /// Sets the HTML of the page that the browser shows when the sign-in failed, as for
        /// [`success_page`](Self::success_page).
        pub fn error_page(mut self, html: impl Into<String>) -> Self {
            self.options.pages.error = Some(html.into());
            self
        }
    };
}

pub(super) use browser_option_methods;
