//! What a fake authority is started with, and what of it can be changed while it runs.

use std::time::Duration;

use super::directory::{ALICE, Client, User, default_clients, default_users};

/// What a fake authority is started with. The default is HTTPS on a free port, with the users alice and
/// bob, the clients named in [`super`], and Entra's lifetimes and rotation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The TCP port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The host in every address that the authority hands out. It must lead to 127.0.0.1.
    pub host: String,
    /// Whether to speak HTTPS, which every MSAL insists on.
    pub https: bool,
    /// Everyone who can sign in.
    pub users: Vec<User>,
    /// Every registered application.
    pub clients: Vec<Client>,
    /// Who is signed in at the authorization endpoint when the request has no `login_hint`. With none,
    /// `prompt=none` is answered with `login_required`, and any other request as if the user had declined.
    pub signed_in_user: Option<String>,
    /// How long things live.
    pub lifetimes: Lifetimes,
    /// What becomes of a refresh token that has been used.
    pub rotation: Rotation,
    /// Who approves device codes on their own, and when.
    pub device_approval: DeviceApproval,
    /// Whether authorization requests can be, or must be, pushed (RFC 9126). Entra has no such endpoint.
    pub pushed_requests: PushedRequests,
    /// Whether authorization responses carry `iss` (RFC 9207). Entra's do not.
    pub response_iss: bool,
    /// What is made of DPoP proofs (RFC 9449), which Entra does not know. Default nothing.
    pub dpop: Dpop,
    /// Which further hosts belong together, for instance discovery.
    pub alias_groups: Vec<AliasGroup>,
    /// Whether refresh tokens can be revoked by their clients (RFC 7009), which Entra does not offer. Default no.
    pub revocation: bool,
}

/// Hosts that are one cloud, as instance discovery tells of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AliasGroup {
    /// The host that requests go to.
    pub preferred_network: String,
    /// The host under which caches keep the cloud's rows.
    pub preferred_cache: String,
    /// All hosts.
    pub aliases: Vec<String>,
}

impl AliasGroup {
    /// A group of `aliases`.
    pub fn new(preferred_network: &str, preferred_cache: &str, aliases: &[&str]) -> Self {
        Self {
            preferred_network: preferred_network.to_owned(),
            preferred_cache: preferred_cache.to_owned(),
            aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 0,
            host: "127.0.0.1".to_owned(),
            https: true,
            users: default_users(),
            clients: default_clients(),
            signed_in_user: Some(ALICE.to_owned()),
            lifetimes: Lifetimes::default(),
            rotation: Rotation::EntraLike,
            device_approval: DeviceApproval::Manual,
            pushed_requests: PushedRequests::Off,
            response_iss: false,
            dpop: Dpop::Off,
            alias_groups: Vec::new(),
            revocation: false,
        }
    }
}

impl Config {
    /// The default, over plain HTTP: allowed on loopback for clients of generic OIDC issuers.
    pub fn plain_http() -> Self {
        Self {
            https: false,
            ..Self::default()
        }
    }

    /// Listens on this port instead of a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Lets instance discovery tell of one more group of hosts.
    #[must_use]
    pub fn alias_group(mut self, group: AliasGroup) -> Self {
        self.alias_groups.push(group);
        self
    }

    /// Adds a user.
    #[must_use]
    pub fn user(mut self, user: User) -> Self {
        self.users.push(user);
        self
    }

    /// Registers a client, in place of an earlier one with the same ID.
    #[must_use]
    pub fn client(mut self, client: Client) -> Self {
        self.clients
            .retain(|earlier| earlier.client_id != client.client_id);
        self.clients.push(client);
        self
    }

    /// Sets how long things live.
    #[must_use]
    pub fn lifetimes(mut self, lifetimes: Lifetimes) -> Self {
        self.lifetimes = lifetimes;
        self
    }

    /// Sets what becomes of a refresh token that has been used.
    #[must_use]
    pub fn rotation(mut self, rotation: Rotation) -> Self {
        self.rotation = rotation;
        self
    }

    /// Sets whether authorization requests can be, or must be, pushed.
    #[must_use]
    pub fn pushed_requests(mut self, pushed: PushedRequests) -> Self {
        self.pushed_requests = pushed;
        self
    }

    /// Sets whether authorization responses carry `iss`.
    #[must_use]
    pub fn response_iss(mut self, iss: bool) -> Self {
        self.response_iss = iss;
        self
    }

    /// Sets what is made of DPoP proofs.
    #[must_use]
    pub fn dpop(mut self, dpop: Dpop) -> Self {
        self.dpop = dpop;
        self
    }

    /// Offers a revocation endpoint (RFC 7009), and names it in the metadata.
    #[must_use]
    pub fn revocation(mut self) -> Self {
        self.revocation = true;
        self
    }

    /// Approves every device code for `username`, at the poll that follows `pending_polls` polls
    /// answered with `authorization_pending`.
    #[must_use]
    pub fn auto_approve_devices(mut self, pending_polls: u32, username: &str) -> Self {
        self.device_approval = DeviceApproval::Automatic {
            pending_polls,
            username: username.to_owned(),
        };
        self
    }
}

/// How long things live, in whole seconds on the wire. Changed while the authority runs, new values hold for
/// what is issued from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lifetimes {
    /// `expires_in` of access and ID tokens. Default 3,599 s, as Entra's.
    pub access_token: Duration,
    /// `ext_expires_in`; none leaves the field out. Default 3,599 s.
    pub extended: Option<Duration>,
    /// `refresh_in`; none leaves the field out, as Entra does for tokens of an hour. Default none.
    pub refresh_in: Option<Duration>,
    /// How long a refresh token can be used. Default 90 days.
    pub refresh_token: Duration,
    /// How long an authorization code can be redeemed. Default 600 s.
    pub authorization_code: Duration,
    /// How long a device code can be approved and polled. Default 900 s.
    pub device_code: Duration,
    /// The poll interval that device clients are told. Default 1 s (Entra's is 5 s, a long time in a test).
    pub device_interval: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            access_token: Duration::from_secs(3_599),
            extended: Some(Duration::from_secs(3_599)),
            refresh_in: None,
            refresh_token: Duration::from_secs(90 * 86_400),
            authorization_code: Duration::from_secs(600),
            device_code: Duration::from_secs(900),
            device_interval: Duration::from_secs(1),
        }
    }
}

impl Lifetimes {
    /// Sets how long access and ID tokens live.
    #[must_use]
    pub fn access_token(mut self, lifetime: Duration) -> Self {
        self.access_token = lifetime;
        self
    }

    /// Sets `refresh_in`.
    #[must_use]
    pub fn refresh_in(mut self, refresh_in: Duration) -> Self {
        self.refresh_in = Some(refresh_in);
        self
    }

    /// Sets `ext_expires_in`; none leaves it out.
    #[must_use]
    pub fn extended(mut self, lifetime: Option<Duration>) -> Self {
        self.extended = lifetime;
        self
    }
}

/// What becomes of a refresh token that has been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rotation {
    /// Each refresh brings a new token, and the old one stays usable until it expires.
    EntraLike,
    /// A refresh token works once. A second use revokes its whole family, the newest token and every access
    /// token included (RFC 9700 section 4.14.2; oidc-provider does the same).
    Strict,
}

/// What is made of DPoP proofs (RFC 9449) at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dpop {
    /// They are ignored, and every token is a bearer token: what an authority does that does not know them.
    Off,
    /// A request with a proof gets bound tokens, or is refused.
    Offered,
    /// As offered, and each proof must carry the latest nonce of the server (section 8).
    WithNonce,
}

/// Who approves device codes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceApproval {
    /// Somebody on the approval page, or a test.
    Manual,
    /// The authority itself.
    Automatic {
        /// How many polls are answered with `authorization_pending` first.
        pending_polls: u32,
        /// The user who approves.
        username: String,
    },
}

/// What becomes of pushed authorization requests (RFC 9126).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushedRequests {
    /// There is no endpoint for them.
    Off,
    /// They are taken; plain ones too.
    Offered,
    /// Only they are taken.
    Required,
}
