//! A fake Entra authority on loopback that real MSALs sign in against.
//!
//! It speaks HTTPS with a certificate authority of its own, mints RS256 tokens that verify against its own
//! keys, and rotates refresh tokens either as Entra does or strictly. Nothing in it is a security boundary:
//! it signs in whoever asks. It is for tests and demonstrations, and listens on 127.0.0.1 only.
//!
//! ```
//! use cache_testkit::authority::{Config, FakeAuthority, Grant, Rotation, Script};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let config = Config::default().rotation(Rotation::Strict).auto_approve_devices(0, "alice@contoso.test");
//! let authority = FakeAuthority::start(config).await?;
//!
//! // Give clients this address and this certificate …
//! assert!(authority.base_url().starts_with("https://127.0.0.1:"));
//! assert!(authority.ca_pem().is_some_and(|pem| pem.starts_with("-----BEGIN CERTIFICATE-----")));
//!
//! // … make the next refresh disappear on its way back, and count afterwards.
//! authority.script(Script::lost_reply().grant(Grant::RefreshToken));
//! assert_eq!(authority.grant_count(Grant::RefreshToken).requests, 0);
//! authority.shutdown().await;
//! # Ok::<(), cache_testkit::authority::AuthorityError>(())
//! # }).unwrap();
//! ```
//!
//! # Who is registered
//!
//! | what | default |
//! |---|---|
//! | tenants | [`HOME_TENANT`], [`GUEST_TENANT`], and `common`, `organizations`, `consumers` |
//! | users | [`ALICE`] (also a guest in [`GUEST_TENANT`]) and [`BOB`], both with the password [`PASSWORD`] |
//! | clients | [`PUBLIC_CLIENT`]; [`CONFIDENTIAL_CLIENT`] with [`CONFIDENTIAL_SECRET`]; [`FAMILY_CLIENTS`] |
//!
//! # Endpoints
//!
//! Instance discovery, the OpenID configuration, keys, authorize, token, device code and logout at Entra's
//! paths ([`Endpoint`] lists them), pushed authorization requests if they are [turned on](PushedRequests), `/resource`, which
//! evaluates access continuously, and `/devicelogin`, where a person or a `curl` approves a device code.
//!
//! Below `/{tenant}/{policy}` and `/tfp/{tenant}/{policy}`, where the policy begins with `b2c_1`, it is Azure AD B2C; below
//! `/adfs`, AD FS. External ID has Entra's paths.
//!
//! # What it does not do
//!
//! It shows no sign-in page and asks for no consent; it has no version 1 endpoints, and no implicit or hybrid flow.

mod authorize;
mod certificate;
mod claims_request;
mod client_authentication;
mod clock;
mod config;
mod device;
mod directory;
mod discovery;
mod dpop;
mod error;
mod families;
mod grants;
mod html;
mod kind;
mod opaque;
mod pushed;
mod refusal;
mod reply;
mod request;
mod resource;
mod respond;
mod revocation;
mod saml;
mod scopes;
mod script;
mod server;
mod signing;
mod state;
mod statistics;
mod tenant;
mod token_endpoint;
mod tokens;

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub use config::{AliasGroup, Config, DeviceApproval, Dpop, Lifetimes, PushedRequests, Rotation};
pub use directory::{
    ALICE, AssertionCertificate, B2C_POLICY, BOB, CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, CONSUMER_TENANT,
    Client, FAMILY_CLIENTS, GUEST_TENANT, Guest, HOME_DOMAIN, HOME_TENANT, PASSWORD, PUBLIC_CLIENT, User,
};
pub use error::AuthorityError;
pub use script::{Alteration, RetryAfter, Script, ScriptedError};
pub use statistics::{Endpoint, FamilyStatistics, Grant, GrantCount, RecordedRequest};

use certificate::ServerCertificate;
use clock::sleep;
use state::Core;

/// How long a shutdown waits for requests under way: an endless body would otherwise hold it up for ever.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);

/// A running fake authority. It stops when it is shut down or dropped.
pub struct FakeAuthority {
    core: Arc<Core>,
    ca_pem: Option<String>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl FakeAuthority {
    /// Binds the port, makes certificates and keys (some tenths of a second), and begins to serve on the
    /// current tokio runtime.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Listen`] if the port is taken, [`AuthorityError::PublicKey`] if a client's key is not
    /// one, [`AuthorityError::UnknownUser`] if the user who approves devices does not exist, and
    /// [`AuthorityError::Cryptography`] if the cryptographic library fails.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn start(config: Config) -> Result<Self, AuthorityError> {
        let port = config.port;
        let listen = |source| AuthorityError::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(listen)?;
        let port = listener.local_addr().map_err(listen)?.port();

        let scheme = if config.https { "https" } else { "http" };
        let base_url = format!("{scheme}://{}:{port}", config.host);
        let (host, https, approval) = (config.host.clone(), config.https, config.device_approval.clone());
        let core = Arc::new(Core::new(config, base_url)?);
        if let DeviceApproval::Automatic { username, .. } = &approval {
            known_user(&core, username)?;
        }
        let certificate = https
            .then(|| ServerCertificate::issue(&host, core.clock.system_time()))
            .transpose()?;
        let (tls, ca_pem) = match certificate {
            Some(ServerCertificate { tls, ca_pem }) => (Some(TlsAcceptor::from(tls)), Some(ca_pem)),
            None => (None, None),
        };
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(server::serve(core.clone(), listener, tls, stopped));
        Ok(Self {
            core,
            ca_pem,
            stop,
            server,
        })
    }

    /// `https://127.0.0.1:port`, without a final slash.
    pub fn base_url(&self) -> &str {
        &self.core.base_url
    }

    /// The authority URL of a tenant (a GUID or `common`, `organizations`, `consumers`), as MSALs want it.
    pub fn authority_url(&self, tenant: &str) -> String {
        format!("{}/{tenant}", self.core.base_url)
    }

    /// The authority URL of a B2C policy of [`HOME_DOMAIN`].
    pub fn b2c_url(&self, policy: &str) -> String {
        format!("{}/{HOME_DOMAIN}/{policy}", self.core.base_url)
    }

    /// The authority URL of AD FS.
    pub fn adfs_url(&self) -> String {
        format!("{}/adfs", self.core.base_url)
    }

    /// The certificate (PEM) that clients must trust; none over plain HTTP.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// Moves the authority's own clock forward, so that codes and tokens expire here. Clients' clocks stay.
    pub fn advance(&self, by: Duration) {
        self.core.clock.advance(by);
    }

    /// Replaces the lifetimes of what is issued from now on.
    pub fn set_lifetimes(&self, lifetimes: Lifetimes) {
        self.core.state().lifetimes = lifetimes;
    }

    /// Replaces the rotation from now on.
    pub fn set_rotation(&self, rotation: Rotation) {
        self.core.state().rotation = rotation;
    }

    /// Demands another nonce in DPoP proofs from now on, under [`Dpop::WithNonce`].
    pub fn renew_dpop_nonce(&self) {
        self.core.state().proofs.renew_nonce();
    }

    /// Replaces who is signed in at the authorization endpoint.
    pub fn set_signed_in_user(&self, username: Option<&str>) {
        self.core.state().signed_in_user = username.map(str::to_owned);
    }

    /// Approves a device code in the name of a user.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::UnknownUser`] and [`AuthorityError::UnknownUserCode`]. Nothing changes then.
    pub fn approve_device(&self, user_code: &str, username: &str) -> Result<(), AuthorityError> {
        known_user(&self.core, username)?;
        let now = self.core.clock.unix_seconds();
        self.core.state().devices.decide(user_code, Some(username), now)
    }

    /// Declines a device code.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::UnknownUserCode`].
    pub fn deny_device(&self, user_code: &str) -> Result<(), AuthorityError> {
        let now = self.core.clock.unix_seconds();
        self.core.state().devices.decide(user_code, None, now)
    }

    /// Revokes every token of a user, as an administrator does.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::UnknownUser`].
    pub fn revoke_user(&self, username: &str) -> Result<(), AuthorityError> {
        let username = known_user(&self.core, username)?;
        self.core.state().families.revoke_user(&username);
        Ok(())
    }

    /// Signs with a new key from now on, and publishes that one alone: tokens signed before can no longer be checked.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Cryptography`] if the cryptographic library fails.
    pub fn roll_signing_key(&self) -> Result<(), AuthorityError> {
        self.core.signing.roll()
    }

    /// The address of a resource that evaluates access continuously. It accepts this authority's access tokens.
    pub fn resource_url(&self) -> String {
        format!("{}/resource", self.core.base_url)
    }

    /// Something happens to a user, such as a change of network: from now on the resource answers tokens of clients with the
    /// capability `cp1` with a claims challenge, until one is shown that was asked for with the claims of the challenge.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::UnknownUser`].
    pub fn raise_access_event(&self, username: &str) -> Result<(), AuthorityError> {
        let username = known_user(&self.core, username)?;
        let now = self.core.clock.unix_seconds();
        let mut state = self.core.state();
        let event = state.access_events.entry(username).or_default();
        *event = now.max(*event + 1);
        Ok(())
    }

    /// Queues what becomes of the next request that the script matches.
    pub fn script(&self, script: Script) {
        self.core.state().scripts.push_back(script);
    }

    /// How many scripts have not been used up: a test that scripted something sees whether it happened.
    pub fn scripts_left(&self) -> usize {
        self.core.state().scripts.len()
    }

    /// How often a grant was asked for.
    pub fn grant_count(&self, grant: Grant) -> GrantCount {
        self.core
            .state()
            .record
            .grants
            .get(&grant)
            .copied()
            .unwrap_or_default()
    }

    /// Every refresh-token family, in the order of the sign-ins.
    pub fn families(&self) -> Vec<FamilyStatistics> {
        self.core.state().families.statistics()
    }

    /// How many refresh-token families are revoked.
    pub fn families_revoked(&self) -> usize {
        self.families().iter().filter(|family| family.revoked).count()
    }

    /// Every request that arrived, in order.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.core.state().record.requests.clone()
    }

    /// All parameters of one request of [`Self::requests`], **secrets included**.
    pub fn request_form(&self, index: usize) -> Option<Vec<(String, String)>> {
        self.core
            .state()
            .record
            .requests
            .get(index)
            .map(|request| request.parameters.clone())
    }

    /// Whether a resource would accept this access token now: signed here, unexpired by this authority's
    /// clock, and of no revoked family.
    pub fn is_access_token_active(&self, access_token: &str) -> bool {
        let Some(claims) = self.core.signing.verified_claims(access_token) else {
            return false;
        };
        resource::is_active(&self.core, &claims)
    }

    /// A SAML 2.0 assertion (XML) that says that `username` is at the door of the service `client_id`, good for `lifetime`. Its signature is this
    /// authority's own way and no XML signature; only this authority accepts it.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::UnknownUser`], and [`AuthorityError::Cryptography`] if it cannot be signed.
    pub fn saml_assertion(
        &self,
        username: &str,
        client_id: &str,
        lifetime: Duration,
    ) -> Result<String, AuthorityError> {
        let username = known_user(&self.core, username)?;
        saml::assertion(&self.core, &username, client_id, lifetime)
    }

    /// Stops accepting connections and waits, up to two seconds, for the requests under way.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        tokio::select! {
            _ = &mut self.server => {}
            () = sleep(SHUTDOWN_PATIENCE) => {}
        }
    }
}

impl fmt::Debug for FakeAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeAuthority")
            .field("base_url", &self.core.base_url)
            .finish_non_exhaustive()
    }
}

impl Drop for FakeAuthority {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The user's name as the directory writes it.
fn known_user(core: &Core, username: &str) -> Result<String, AuthorityError> {
    let user = core.directory.user(username);
    user.map(|user| user.username.clone())
        .ok_or_else(|| AuthorityError::UnknownUser {
            username: username.to_owned(),
        })
}
