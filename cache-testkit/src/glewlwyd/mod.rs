//! A second real OpenID provider on loopback: glewlwyd, written in C, from the packages of Debian.
//!
//! It shares no line with [`oidc_provider`](crate::oidc_provider), so what both of them accept is the protocol and not
//! one program's reading of it. Some of its habits are worth a test of their own: it refuses a refresh with status
//! 400 and *no body*, a refresh brings no ID token, and an access token's type is spelt `bearer`. Refresh tokens
//! rotate, and one that is spent twice takes its successor along.
//!
//! ```no_run
//! use cache_testkit::glewlwyd::{ALICE, Glewlwyd};
//!
//! # async fn example() -> Result<(), cache_testkit::glewlwyd::Error> {
//! let provider = Glewlwyd::start().await?;
//! println!("sign in at {}", provider.issuer());
//! # let user_code = "";
//! provider.approve_device(ALICE, user_code).await?; // what alice would do in her browser
//! # Ok(())
//! # }
//! ```

mod configuration;
mod error;
mod person;
mod process;
mod statistics;

use std::fmt;

use reqwest::Method;
use serde_json::json;

pub use self::error::Error;
use self::person::Person;
use self::process::Process;
pub use self::statistics::Statistics;

/// A public client: device code, authorization code with PKCE, password, refresh token.
pub const CLI_CLIENT_ID: &str = "tokenkeep-cli";

/// A confidential client: client credentials, and all that the public one may. It has a secret, or signs assertions
/// (`private_key_jwt`) with [`SERVICE_PRIVATE_KEY`].
pub const SERVICE_CLIENT_ID: &str = "tokenkeep-service";

/// The secret of the confidential client.
pub const SERVICE_CLIENT_SECRET: &str = "tokenkeep-service-secret";

/// The other credential of the confidential client: an RSA key (PEM), of the tests, which protects nothing.
pub const SERVICE_PRIVATE_KEY: &str = include_str!("../../oidc-provider/keys/service-rsa.pem");

/// A user.
pub const ALICE: &str = "alice";

/// Another user.
pub const BOB: &str = "bob";

/// The password of every user.
pub const PASSWORD: &str = "password-of-both";

/// Where the provider sends browsers back to; nobody listens there.
pub const REDIRECT_URI: &str = configuration::REDIRECT_URI;

/// The sign-in name of one of the [numbered users](Options::numbered_users).
#[must_use]
pub fn numbered_user(number: usize) -> String {
    format!("user-{number}")
}

/// The version of the program that is installed.
///
/// # Errors
/// [`Error::Start`] when it cannot be run.
pub async fn version() -> Result<String, Error> {
    process::version().await
}

/// How the provider is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Lifetime of access tokens in seconds.
    pub access_token_ttl_seconds: u32,
    /// How many users there are beside alice and bob.
    pub numbered_users: usize,
}

impl Default for Options {
    /// Access tokens of one hour, and nobody but alice and bob.
    fn default() -> Self {
        Self {
            access_token_ttl_seconds: 3600,
            numbered_users: 0,
        }
    }
}

/// A running provider. Its process and its database end when this is dropped.
pub struct Glewlwyd {
    base: String,
    issuer: String,
    /// PEM.
    service_public_key: String,
    administrator: Person,
    process: Process,
}

impl Glewlwyd {
    /// Starts the provider with the defaults.
    ///
    /// # Errors
    /// As [`start_with`](Self::start_with).
    pub async fn start() -> Result<Self, Error> {
        Self::start_with(&Options::default()).await
    }

    /// Starts the provider on a free port of 127.0.0.1 and sets it up.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] and [`Error::Start`] when it is not there; [`Error::NotReady`] when it ended, or does
    /// not listen after half a minute.
    pub async fn start_with(options: &Options) -> Result<Self, Error> {
        let (process, port) = Process::spawn().await?;
        let base = format!("http://127.0.0.1:{port}");
        // The name and password that its database script gives to the first user.
        let provider = Self {
            issuer: format!("{base}/api/oidc"),
            administrator: Person::sign_in(&base, "admin", "password").await?,
            base,
            service_public_key: configuration::service_public_key()
                .map_err(|error| Error::start("the service's key")(error.into()))?,
            process,
        };
        provider.set_up(options).await?;
        Ok(provider)
    }

    /// The issuer identifier.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs `user` in for a device code, with every scope that it asks for.
    ///
    /// # Errors
    /// [`Error::Refused`] when no device code waits for `user_code`.
    pub async fn approve_device(&self, user: &str, user_code: &str) -> Result<(), Error> {
        let browser = self.browser(user).await?;
        let path = format!("/api/oidc/device?code={user_code}&g_continue");
        browser.redirected(&path).await.map(drop)
    }

    /// Does what `user`'s browser does with an authorization URL: signs in, agrees, and returns the redirect to the
    /// client, with its code, without following it.
    ///
    /// # Errors
    /// [`Error::Refused`] when the provider shows an error page instead of redirecting.
    pub async fn authorize(&self, user: &str, authorization_url: &str) -> Result<String, Error> {
        let browser = self.browser(user).await?;
        browser
            .redirected(&format!("{authorization_url}&g_continue"))
            .await
    }

    /// Lets browsers be sent back to `redirect_uri` too, instead of the one that was allowed by an earlier call.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is no URI.
    pub async fn allow_redirect(&self, redirect_uri: &str) -> Result<(), Error> {
        for client in configuration::clients(redirect_uri, &self.service_public_key) {
            let id = client["client_id"].as_str().unwrap_or_default();
            self.administrator
                .tell(Method::PUT, &format!("/api/client/{id}"), &client)
                .await?;
        }
        Ok(())
    }

    /// What the provider's own database says of the refresh tokens that it issued.
    ///
    /// # Errors
    /// [`Error::Database`] when it cannot be read.
    pub async fn statistics(&self) -> Result<Statistics, Error> {
        Statistics::read(&self.process.database()).await
    }

    async fn set_up(&self, options: &Options) -> Result<(), Error> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256)
            .map_err(|error| Error::start("a signing key")(error.into()))?;
        let plugin =
            configuration::plugin(&self.issuer, &key.serialize_pem(), &key.public_key_pem(), options);
        let tell = async |path: &str, body| self.administrator.tell(Method::POST, path, &body).await;
        tell("/api/mod/plugin/", plugin).await?;
        for scope in configuration::scopes() {
            tell("/api/scope/", scope).await?;
        }
        for user in configuration::users(options) {
            tell("/api/user/", user).await?;
        }
        for client in configuration::clients(REDIRECT_URI, &self.service_public_key) {
            tell("/api/client/", client).await?;
        }
        Ok(())
    }

    /// A browser in which `user` has signed in and agreed to everything.
    async fn browser(&self, user: &str) -> Result<Person, Error> {
        let browser = Person::sign_in(&self.base, user, PASSWORD).await?;
        for client in [CLI_CLIENT_ID, SERVICE_CLIENT_ID] {
            let scopes = json!({ "scope": configuration::GRANTABLE });
            browser
                .tell(Method::PUT, &format!("/api/auth/grant/{client}"), &scopes)
                .await?;
        }
        Ok(browser)
    }
}

impl fmt::Debug for Glewlwyd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Glewlwyd")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}
