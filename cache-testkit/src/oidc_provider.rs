//! A real OpenID provider on loopback: the certified `oidc-provider` of npm, run by Node.js.
//!
//! The fake authority of this crate does what its tests script. This one was written by others
//! against the specifications, and is strict where that matters most here: it rotates refresh
//! tokens, and a token that is spent twice revokes its whole family (RFC 9700 section 4.14.2).
//!
//! ```no_run
//! use cache_testkit::oidc_provider::{OidcProvider, Options};
//!
//! # async fn example() -> Result<(), cache_testkit::oidc_provider::Error> {
//! let provider = OidcProvider::start(Options { access_token_ttl_seconds: 2 }).await?;
//! println!("sign in at {}", provider.issuer());
//! # let user_code = "";
//! provider.approve_device(user_code).await?; // what alice would do in her browser
//! assert_eq!(provider.statistics().await?.refresh_tokens_reused, 0);
//! # Ok(())
//! # }
//! ```
//!
//! Clients: [`CLI_CLIENT_ID`] is public and signs users in, [`SERVICE_CLIENT_ID`] is confidential.
//! Scopes beside those of OpenID Connect: `api:read` and `api:write`, which may also be asked for
//! the resource `urn:tokenkeep:api` (RFC 8707). Access tokens are opaque.

mod error;
mod http;
mod process;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

pub use self::error::Error;
pub use self::http::Reply;
use self::process::Process;

/// A public client: device code, authorization code with PKCE, refresh token.
pub const CLI_CLIENT_ID: &str = "tokenkeep-cli";

/// A public client whose authorization requests must be pushed (RFC 9126).
pub const PUSHED_CLIENT_ID: &str = "tokenkeep-pushed";

/// A confidential client that sends its secret in the form (`client_secret_post`): client
/// credentials, authorization code with PKCE, refresh token, token exchange (RFC 8693), and on-behalf-of as Entra words it, with an
/// access token of this provider as the assertion.
pub const SERVICE_CLIENT_ID: &str = "tokenkeep-service";

/// A confidential client that authenticates by HTTP Basic: client credentials only.
pub const SERVICE_BASIC_CLIENT_ID: &str = "tokenkeep-service-basic";

/// A confidential client that signs assertions (`private_key_jwt`) with one of [`SERVICE_KEYS`]: client credentials
/// only.
pub const SERVICE_JWT_CLIENT_ID: &str = "tokenkeep-service-jwt";

/// A confidential web application, with the addresses that
/// [`register_web_client`](OidcProvider::register_web_client) gave it: authorization code with PKCE, refresh token. It
/// authenticates by HTTP Basic with [`SERVICE_CLIENT_SECRET`].
pub const WEB_CLIENT_ID: &str = "tokenkeep-web";

/// The key ID and the private key (PEM) of each key of [`SERVICE_JWT_CLIENT_ID`]: RSA, and EC on P-256. They are keys
/// of the tests and protect nothing.
pub const SERVICE_KEYS: [(&str, &str); 2] = [
    (
        "service-rsa",
        include_str!("../oidc-provider/keys/service-rsa.pem"),
    ),
    ("service-ec", include_str!("../oidc-provider/keys/service-ec.pem")),
];

/// The sign-in name of alice, the one user of the sign-in page and of device codes. A client that does not ask for HTML
/// never sees the page.
pub const USERNAME: &str = "alice@example.test";

/// Her password, and that of every [numbered user](numbered_user).
pub const PASSWORD: &str = "canary-password";

/// The sign-in name of one of any number of further users, whom the password grant alone knows. Each has a session of its
/// own, whose `sub` is the part before the `@`.
#[must_use]
pub fn numbered_user(number: usize) -> String {
    format!("user-{number}@example.test")
}

/// The secret of the confidential clients that have one.
pub const SERVICE_CLIENT_SECRET: &str = "tokenkeep-service-secret";

/// The version of `oidc-provider` that is installed for this crate.
#[must_use]
pub fn version() -> Option<String> {
    let package: Value = serde_json::from_str(include_str!("../oidc-provider/package.json")).ok()?;
    package["dependencies"]["oidc-provider"]
        .as_str()
        .map(str::to_owned)
}

/// How the provider is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Lifetime of access tokens in seconds.
    pub access_token_ttl_seconds: u32,
}

impl Default for Options {
    /// Access tokens of one hour.
    fn default() -> Self {
        Self {
            access_token_ttl_seconds: 3600,
        }
    }
}

/// A running provider. Its process ends when this is dropped, and with the test's own process.
#[derive(Debug)]
pub struct OidcProvider {
    issuer: String,
    port: u16,
    _process: Process,
}

impl OidcProvider {
    /// Starts the provider on a free port of 127.0.0.1 and waits until it answers.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] when the packages of `cache-testkit/oidc-provider` are missing,
    /// [`Error::Start`] when Node.js is, and [`Error::NotReady`] when the provider ended, or had said
    /// nothing after 30 seconds.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let (process, issuer) = Process::spawn(&options).await?;
        let port = issuer
            .strip_prefix("http://127.0.0.1:")
            .and_then(|port| port.parse().ok())
            .ok_or_else(|| Error::NotReady { said: issuer.clone() })?;
        Ok(Self {
            issuer,
            port,
            _process: process,
        })
    }

    /// The issuer identifier, `http://127.0.0.1:PORT`, which is also the base of every endpoint.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs alice in for a device code and grants every scope that it asks for.
    ///
    /// # Errors
    /// [`Error::Refused`] when no device code waits for `user_code`.
    pub async fn approve_device(&self, user_code: &str) -> Result<(), Error> {
        let query = http::form(&[("user_code", user_code)]);
        self.control(&format!("/test/approve?{query}")).await
    }

    /// Does what alice's browser does with an authorization URL: signs in, agrees, and returns the
    /// redirect to the client, with its code, without following it.
    ///
    /// # Errors
    /// [`Error::Refused`] when the provider shows an error page instead of redirecting.
    pub async fn authorize(&self, authorization_url: &str) -> Result<String, Error> {
        http::browse(self.port, &self.issuer, authorization_url).await
    }

    /// What the provider has seen and done since it started or was reset.
    ///
    /// # Errors
    /// [`Error::Exchange`] when the provider does not answer.
    pub async fn statistics(&self) -> Result<Statistics, Error> {
        let reply = http::get(self.port, "/test/statistics").await?;
        serde_json::from_value(reply.body).map_err(|source| Error::Exchange {
            path: "/test/statistics".to_owned(),
            source: Box::new(source),
        })
    }

    /// Changes the lifetime of access tokens that are issued from now on.
    ///
    /// # Errors
    /// [`Error::Exchange`] when the provider does not answer.
    pub async fn set_access_token_ttl(&self, seconds: u32) -> Result<(), Error> {
        self.control(&format!("/test/ttl?seconds={seconds}")).await
    }

    /// Holds every reply of the token endpoint back, after the provider has acted on the request:
    /// the time in which a client that is stopped has spent a token and does not know the next.
    ///
    /// # Errors
    /// [`Error::Exchange`] when the provider does not answer.
    pub async fn set_token_delay(&self, milliseconds: u32) -> Result<(), Error> {
        self.control(&format!("/test/delay?milliseconds={milliseconds}"))
            .await
    }

    /// Says whether DPoP proofs must carry a nonce of the provider's (RFC 9449 section 8) from now on.
    ///
    /// # Errors
    /// [`Error::Exchange`] when the provider does not answer.
    pub async fn set_dpop_nonce_required(&self, required: bool) -> Result<(), Error> {
        let required = u8::from(required);
        self.control(&format!("/test/dpop-nonce?required={required}"))
            .await
    }

    /// Registers [`WEB_CLIENT_ID`] at these addresses, in place of those that it had.
    ///
    /// # Errors
    /// [`Error::Exchange`] when the provider does not answer.
    pub async fn register_web_client(
        &self,
        redirect_uris: &[&str],
        post_logout_redirect_uris: &[&str],
    ) -> Result<(), Error> {
        let redirects = redirect_uris.iter().map(|uri| ("redirect_uri", *uri));
        let others = post_logout_redirect_uris
            .iter()
            .map(|uri| ("post_logout_redirect_uri", *uri));
        let query = http::form(&redirects.chain(others).collect::<Vec<_>>());
        self.control(&format!("/test/web-client?{query}")).await
    }

    /// Forgets every token, sign-in, count and the web client, and restores lifetime and delay.
    ///
    /// # Errors
    /// [`Error::Exchange`] when the provider does not answer.
    pub async fn reset(&self) -> Result<(), Error> {
        self.control("/test/reset").await
    }

    /// Posts a form to `path` and returns the reply as it came, whatever its status: for tests
    /// that play a client, or an attacker, by hand.
    ///
    /// # Errors
    /// [`Error::Exchange`] when the provider does not answer, or not in HTTP.
    pub async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Result<Reply, Error> {
        http::post(self.port, path, &http::form(fields)).await
    }

    async fn control(&self, path: &str) -> Result<(), Error> {
        let reply = http::post(self.port, path, "").await?;
        if reply.status == 200 {
            return Ok(());
        }
        let reason = match &reply.body["error"] {
            Value::String(reason) => reason.clone(),
            _ => "no reason given".to_owned(),
        };
        Err(Error::Refused {
            path: path.to_owned(),
            status: reply.status,
            reason,
        })
    }
}

/// Counts of what the provider has seen and done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Statistics {
    /// Requests to the token endpoint by `grant_type`, however they were answered. A device code
    /// that is polled counts every time.
    pub token_requests: BTreeMap<String, u64>,
    /// Those of them that were answered with tokens.
    pub tokens_granted: BTreeMap<String, u64>,
    /// Refresh tokens that were spent, and so replaced.
    pub refresh_tokens_consumed: u64,
    /// Refresh tokens that were sent again after they had been spent. A token of a family that is
    /// already revoked is unknown to the provider and counts as a refused request only.
    pub refresh_tokens_reused: u64,
    /// Grants whose tokens were all revoked, after a reuse or at a client's request.
    pub grants_revoked: u64,
}

impl Statistics {
    /// Requests with `grant_type=refresh_token`, however they were answered.
    pub fn refresh_requests(&self) -> u64 {
        self.token_requests.get("refresh_token").copied().unwrap_or(0)
    }
}
