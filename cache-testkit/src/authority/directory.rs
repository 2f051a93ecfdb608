//! Who can sign in, with what, and where: users, clients and tenants.

use std::fmt;

/// The tenant in which the default users are at home.
pub const HOME_TENANT: &str = "aaaaaaaa-0000-4000-8000-000000000001";
/// A domain of [`HOME_TENANT`], by which authorities may name it too.
pub const HOME_DOMAIN: &str = "contoso.onmicrosoft.test";
/// A policy of B2C for examples; any that begins with `b2c_1` works.
pub const B2C_POLICY: &str = "b2c_1_susi";
/// The tenant in which the default user alice is a guest.
pub const GUEST_TENANT: &str = "bbbbbbbb-0000-4000-8000-000000000002";
/// The tenant of personal Microsoft accounts, which `consumers` stands for.
pub const CONSUMER_TENANT: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
/// The default public client. It has no secret and belongs to no family.
pub const PUBLIC_CLIENT: &str = "cccccccc-0000-4000-8000-00000000000a";
/// The default confidential client. Its secret is [`CONFIDENTIAL_SECRET`].
pub const CONFIDENTIAL_CLIENT: &str = "dddddddd-0000-4000-8000-00000000000b";
/// The secret of the default confidential client.
pub const CONFIDENTIAL_SECRET: &str = "canary-client-secret";
/// The two default clients of family `1`, which share refresh tokens.
pub const FAMILY_CLIENTS: [&str; 2] = [
    "eeeeeeee-0000-4000-8000-00000000000c",
    "eeeeeeee-0000-4000-8000-00000000000d",
];
/// A default user, at home in [`HOME_TENANT`] and a guest in [`GUEST_TENANT`].
pub const ALICE: &str = "alice@contoso.test";
/// A default user, at home in [`HOME_TENANT`].
pub const BOB: &str = "bob@contoso.test";
/// The password of both default users.
pub const PASSWORD: &str = "canary-password";

/// A person who can sign in.
#[derive(Clone)]
#[non_exhaustive]
pub struct User {
    /// The sign-in name, compared without case.
    pub username: String,
    /// The display name, `name` in ID tokens.
    pub name: String,
    /// What the password grant accepts.
    pub password: String,
    /// The GUID of the user in the home tenant: the `uid` of `client_info`.
    pub object_id: String,
    /// The GUID of the home tenant: the `utid` of `client_info`.
    pub home_tenant: String,
    /// The tenants in which the user is a guest.
    pub guest_in: Vec<Guest>,
}

impl User {
    /// A user of [`HOME_TENANT`] whose password is [`PASSWORD`].
    pub fn new(username: &str, name: &str, object_id: &str) -> Self {
        Self {
            username: username.to_owned(),
            name: name.to_owned(),
            password: PASSWORD.to_owned(),
            object_id: object_id.to_owned(),
            home_tenant: HOME_TENANT.to_owned(),
            guest_in: Vec::new(),
        }
    }

    /// Makes the user a guest of another tenant, where the user's object has another GUID.
    #[must_use]
    pub fn guest_in(mut self, tenant: &str, object_id: &str) -> Self {
        self.guest_in.push(Guest {
            tenant: tenant.to_owned(),
            object_id: object_id.to_owned(),
        });
        self
    }

    /// The GUID of the user's object in `tenant`, if the user is a member or a guest of it.
    pub(super) fn object_id_in(&self, tenant: &str) -> Option<&str> {
        if self.home_tenant == tenant {
            return Some(&self.object_id);
        }
        self.guest_in
            .iter()
            .find(|guest| guest.tenant == tenant)
            .map(|guest| guest.object_id.as_str())
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("username", &self.username)
            .field("object_id", &self.object_id)
            .field("home_tenant", &self.home_tenant)
            .field("guest_in", &self.guest_in)
            .finish_non_exhaustive()
    }
}

/// A user's presence in a tenant that is not the user's own.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Guest {
    /// The GUID of the tenant.
    pub tenant: String,
    /// The GUID of the user's object there.
    pub object_id: String,
}

/// A registered application.
#[derive(Clone)]
#[non_exhaustive]
pub struct Client {
    /// The client ID.
    pub client_id: String,
    /// The secret of a confidential client.
    pub secret: Option<String>,
    /// Public keys (PEM, RSA or P-256) with which a confidential client may sign assertions, by any algorithm and as
    /// often as it wants until they expire: as a federated issuer does, or MSAL Python, which sends them again.
    pub assertion_keys: Vec<String>,
    /// Certificates with which a confidential client may sign assertions, as strictly as Entra's documents have it.
    pub assertion_certificates: Vec<AssertionCertificate>,
    /// The family of client IDs that this client shares refresh tokens with: `foci` in replies.
    pub family: Option<String>,
    /// Where authorization codes may be sent. The port of a loopback address is not compared
    /// (RFC 8252 section 7.3).
    pub redirect_uris: Vec<String>,
}

impl Client {
    /// A public client, with the redirect addresses that native applications and the tests use.
    pub fn public(client_id: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            secret: None,
            assertion_keys: Vec::new(),
            assertion_certificates: Vec::new(),
            family: None,
            redirect_uris: [
                "http://localhost",
                "http://localhost/callback",
                "http://127.0.0.1",
                "http://127.0.0.1/callback",
                "http://[::1]",
                "http://[::1]/callback",
                "https://app.contoso.test/callback",
            ]
            .map(String::from)
            .into(),
        }
    }

    /// A confidential client that knows a secret.
    pub fn confidential(client_id: &str, secret: &str) -> Self {
        Self {
            secret: Some(secret.to_owned()),
            ..Self::public(client_id)
        }
    }

    /// Also accepts assertions that this public key (PEM) verifies.
    #[must_use]
    pub fn assertion_key(mut self, public_key_pem: &str) -> Self {
        self.assertion_keys.push(public_key_pem.to_owned());
        self
    }

    /// Also accepts assertions that are signed by PS256 with the key of this certificate, name it by `x5t#S256`, and
    /// were not seen before. Both are in PEM.
    #[must_use]
    pub fn assertion_certificate(mut self, certificate_pem: &str, public_key_pem: &str) -> Self {
        self.assertion_certificates.push(AssertionCertificate {
            certificate: certificate_pem.to_owned(),
            public_key: public_key_pem.to_owned(),
        });
        self
    }

    /// Makes the client a member of a family, usually `1`.
    #[must_use]
    pub fn family(mut self, family: &str) -> Self {
        self.family = Some(family.to_owned());
        self
    }

    /// Allows one more redirect address.
    #[must_use]
    pub fn redirect_uri(mut self, uri: &str) -> Self {
        self.redirect_uris.push(uri.to_owned());
        self
    }

    pub(super) fn is_confidential(&self) -> bool {
        self.secret.is_some() || !self.assertion_keys.is_empty() || !self.assertion_certificates.is_empty()
    }

    /// Whether a code may be sent to `uri`.
    pub(super) fn allows_redirect(&self, uri: &str) -> bool {
        let Some(requested) = comparable_redirect(uri) else {
            return false;
        };
        self.redirect_uris
            .iter()
            .any(|registered| comparable_redirect(registered).as_ref() == Some(&requested))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("client_id", &self.client_id)
            .field("confidential", &self.is_confidential())
            .field("family", &self.family)
            .field("redirect_uris", &self.redirect_uris)
            .finish_non_exhaustive()
    }
}

/// A certificate that a client registered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AssertionCertificate {
    /// The certificate, in PEM.
    pub certificate: String,
    /// Its public key, in PEM.
    pub public_key: String,
}

/// The address without the port of a loopback host: a native client listens where it finds a free one.
fn comparable_redirect(uri: &str) -> Option<url::Url> {
    let mut url = url::Url::parse(uri).ok()?;
    let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if url.scheme() == "http" && loopback {
        url.set_port(None).ok()?;
    }
    Some(url)
}

/// The default users, alice and bob.
pub(super) fn default_users() -> Vec<User> {
    vec![
        User::new(ALICE, "Alice A", "11111111-0000-4000-8000-000000000001")
            .guest_in(GUEST_TENANT, "11111111-0000-4000-8000-0000000000bb"),
        User::new(BOB, "Bob B", "22222222-0000-4000-8000-000000000002"),
    ]
}

/// The default clients: one public, one confidential, two of a family.
pub(super) fn default_clients() -> Vec<Client> {
    let mut clients = vec![
        Client::public(PUBLIC_CLIENT),
        Client::confidential(CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET),
    ];
    clients.extend(FAMILY_CLIENTS.map(|client| Client::public(client).family("1")));
    clients
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_port_of_a_loopback_redirect_is_free() {
        let client = Client::public(PUBLIC_CLIENT);
        for allowed in [
            "http://localhost:4711",
            "http://localhost/",
            "http://127.0.0.1:1/callback",
        ] {
            assert!(client.allows_redirect(allowed), "{allowed}");
        }
        for refused in [
            "http://localhost:4711/other",
            "https://app.contoso.test:8443/callback",
            "http://evil.test",
        ] {
            assert!(!client.allows_redirect(refused), "{refused}");
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let printed = format!("{:?} {:?}", default_users(), default_clients());
        assert!(!printed.contains("canary"), "{printed}");
    }
}
