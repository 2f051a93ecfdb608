//! ID tokens: what the issuer said of the user at sign-in (OIDC Core section 2).

use std::fmt;

use super::Foreign;
use crate::secret::Secret;

/// An ID token. It is kept to show its claims, and is never a credential.
#[derive(Clone, PartialEq, Eq)]
pub struct IdToken {
    /// The account that it describes.
    pub home_account_id: String,
    /// The host that issued it.
    pub environment: String,
    /// The tenant that issued it; empty for issuers without tenants.
    pub realm: String,
    /// The client that it was issued to.
    pub client_id: String,
    /// The token, a signed JWT.
    pub secret: Secret,
    /// What another program keeps on this row.
    pub foreign: Option<Box<Foreign>>,
}

impl fmt::Debug for IdToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdToken")
            .field("environment", &self.environment)
            .field("realm", &self.realm)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}
