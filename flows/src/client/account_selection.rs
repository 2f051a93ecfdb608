//! Whose token a silent acquisition is for.

use std::borrow::Cow;

use cache_core::cache::CachedAccount;
use cache_core::schema::TenantProfile;

use super::application::Application;
use crate::error::ConfigurationError;
use crate::{Error, InteractionRequired};

/// What the caller said of the account.
pub(super) enum AccountSelection<'a> {
    Unsaid,
    Account(&'a CachedAccount),
    LoginHint(String),
}

impl<'a> AccountSelection<'a> {
    /// The account among those of `application`.
    pub(super) async fn resolve(self, application: &Application) -> Result<Cow<'a, CachedAccount>, Error> {
        let hint = match self {
            Self::Account(account) => return Ok(Cow::Borrowed(account)),
            Self::LoginHint(hint) => hint,
            Self::Unsaid => {
                return Err(ConfigurationError::new(
                    "a silent acquisition needs an account; see accounts() and login_hint()",
                )
                .into());
            }
        };
        let listing = application.accounts().await?;
        for (_, error) in &listing.unreadable {
            tracing::warn!(%error, "an account that cannot be read is no match for the login hint");
        }
        let mut matches: Vec<CachedAccount> = Vec::new();
        for account in listing.accounts {
            let is_new = matches.iter().all(|known| known.partition != account.partition);
            if is_new && is_meant(&hint, &account) {
                matches.push(account);
            }
        }
        match (matches.len(), matches.pop()) {
            (1, Some(account)) => Ok(Cow::Owned(account)),
            (0, _) => Err(Error::InteractionRequired(Box::new(
                InteractionRequired::no_refresh_token(),
            ))),
            (matches, _) => Err(Error::AmbiguousAccount { matches }),
        }
    }
}

/// Whether `hint` is a name or an identifier of the account, in any tenant. Names are compared without case; so are
/// identifiers where they are GUIDs, but a generic issuer's subject is exact (OIDC Core section 2).
fn is_meant(hint: &str, cached: &CachedAccount) -> bool {
    let account = &cached.account;
    let exact_ids = cached
        .partition
        .authority()
        .is_some_and(|authority| !authority.kind().honours_client_info());
    let is_name = |name: &str| !name.is_empty() && name.eq_ignore_ascii_case(hint);
    let is_id = |id: &str| if exact_ids { id == hint } else { is_name(id) };
    let in_tenant = |profile: &TenantProfile| {
        is_id(&profile.local_account_id) || profile.username.as_deref().is_some_and(is_name)
    };
    is_name(&account.username)
        || is_id(&account.home_account_id)
        || is_id(&account.local_account_id)
        || account.tenant_profiles.iter().any(in_tenant)
}
