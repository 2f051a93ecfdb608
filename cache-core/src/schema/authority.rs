//! Whose tokens they are: the kind of authority and its identity.

use std::fmt;

/// The kinds of authority, which differ in how they name accounts and in what a refresh token survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuthorityKind {
    /// Microsoft Entra ID, any cloud, and authorities that behave like it.
    Entra,
    /// Azure AD B2C: the home account ID carries the policy.
    B2c,
    /// Microsoft Entra External ID.
    Ciam,
    /// Active Directory Federation Services: the home account ID is the `sub` claim.
    Adfs,
    /// Any other OpenID Connect issuer.
    Oidc,
}

impl AuthorityKind {
    /// Whether a scope without a resource is Microsoft Graph's.
    pub(super) fn has_graph(self) -> bool {
        matches!(self, Self::Entra | Self::Ciam)
    }

    /// The tag of this kind in logical keys. It never changes.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Entra => "entra",
            Self::B2c => "b2c",
            Self::Ciam => "ciam",
            Self::Adfs => "adfs",
            Self::Oidc => "oidc",
        }
    }

    /// The kind with this tag.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<Self> {
        [Self::Entra, Self::B2c, Self::Ciam, Self::Adfs, Self::Oidc]
            .into_iter()
            .find(|kind| kind.tag() == tag)
    }

    /// Whether scopes compare without regard to case (Entra's do; RFC 6749 section 3.3 makes others case-sensitive).
    #[must_use]
    pub const fn scopes_ignore_case(self) -> bool {
        !matches!(self, Self::Oidc)
    }

    /// Whether `client_info` in a token reply names the account. From any other issuer it is ignored: it could
    /// claim somebody else's home account ID.
    #[must_use]
    pub const fn honours_client_info(self) -> bool {
        matches!(self, Self::Entra | Self::B2c | Self::Ciam)
    }

    /// MSAL's `authority_type` of an account row.
    #[must_use]
    pub const fn msal_authority_type(self) -> &'static str {
        match self {
            Self::Entra | Self::B2c | Self::Ciam => "MSSTS",
            Self::Adfs => "ADFS",
            Self::Oidc => "Generic",
        }
    }
}

/// What makes two authorities the same one: their kind, and the issuer or the group of equivalent hosts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorityIdentity {
    kind: AuthorityKind,
    id: Box<str>,
}

impl AuthorityIdentity {
    /// The identity of an authority at `host` (with or without a port): the group of hosts that it belongs to.
    #[must_use]
    pub fn of_host(kind: AuthorityKind, host: &str) -> Self {
        Self {
            kind,
            id: super::environment::group(host).into(),
        }
    }

    /// The identity of a generic OpenID Connect issuer, which is its exact `iss` string.
    #[must_use]
    pub fn of_issuer(issuer: &str) -> Self {
        Self {
            kind: AuthorityKind::Oidc,
            id: issuer.into(),
        }
    }

    /// From its two parts, as [`kind`](Self::kind) and [`id`](Self::id) gave them.
    #[must_use]
    pub fn from_parts(kind: AuthorityKind, id: impl Into<Box<str>>) -> Self {
        Self { kind, id: id.into() }
    }

    /// The kind of authority.
    #[must_use]
    pub fn kind(&self) -> AuthorityKind {
        self.kind
    }

    /// The exact issuer, or the first host of the group.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for AuthorityIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.tag(), self.id)
    }
}
