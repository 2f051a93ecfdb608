//! Accounts: who is signed in.

use std::fmt;

use super::Foreign;

/// A signed-in user at one authority.
///
/// The identity is [`home_account_id`](Self::home_account_id) within its authority. The user name is for people
/// to read: it changes, it is reused, and another issuer can claim it.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// `uid.utid` from `client_info` (Entra, B2C, CIAM), or the `sub` claim (ADFS and other issuers).
    pub home_account_id: String,
    /// The host that issued the tokens.
    pub environment: String,
    /// The tenant of this row; empty for issuers without tenants.
    pub realm: String,
    /// The user's object ID in that tenant (`oid`), or `sub`.
    pub local_account_id: String,
    /// The name that the user signs in with, to show to people (`preferred_username`).
    pub username: String,
    /// MSAL's `authority_type`: `MSSTS`, `ADFS` or `Generic`.
    pub authority_type: String,
    /// The user's name in full, to show to people.
    pub name: Option<String>,
    /// The exact issuer, for issuers that are not identified by their host.
    pub issuer: Option<String>,
    /// The tenants in which the account was seen.
    pub tenant_profiles: Vec<TenantProfile>,
    /// What another program keeps on this row.
    pub foreign: Option<Box<Foreign>>,
}

/// Personal data stays out of logs, so only what identifies the account without naming the person is shown.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("environment", &self.environment)
            .field("realm", &self.realm)
            .field("authority_type", &self.authority_type)
            .finish_non_exhaustive()
    }
}

/// An account as one tenant knows it: a guest has another object ID in each.
#[derive(Clone, PartialEq, Eq)]
pub struct TenantProfile {
    /// The tenant.
    pub tenant_id: String,
    /// The user's object ID in the tenant.
    pub local_account_id: String,
    /// The user's name in the tenant, to show to people.
    pub name: Option<String>,
    /// The name that the user signs in with there.
    pub username: Option<String>,
    /// Whether it is the account's home tenant.
    pub is_home_tenant: bool,
    /// Fields of unknown meaning.
    pub foreign: Option<Box<Foreign>>,
}

impl fmt::Debug for TenantProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantProfile")
            .field("tenant_id", &self.tenant_id)
            .field("is_home_tenant", &self.is_home_tenant)
            .finish_non_exhaustive()
    }
}
