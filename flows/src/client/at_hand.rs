//! Tokens that are at hand in memory, found without an allocation and without waiting.
//!
//! What is looked for is named exactly as the acquisitions name it when they ask the cache at length; whatever cannot be named that way
//! from borrowed parts is left to them.

use cache_core::cache::{Acquired, CachedAccount, Lookup, PartitionRef};
use cache_core::schema::AuthorityKind;
use tracing::level_filters::LevelFilter;

use super::application::{Application, home_tenant};
use super::asked_scopes::AskedScopes;
use super::session::KeyedSession;
use crate::AuthenticationResult;
use crate::authority::is_shared_tenant;

impl Application {
    /// The application's own token.
    pub(super) fn own_token_at_hand(&self, scopes: &AskedScopes) -> Option<AuthenticationResult> {
        let partition = PartitionRef::of(self.own_partition.as_ref()?)?.by_scopes();
        let found = self.at_hand(partition, self.authority.tenant(), scopes)?;
        Some(AuthenticationResult::from_cache(found))
    }

    /// A token of `account` in `tenant`, or in the one that it is asked for in where the caller says nothing.
    pub(super) fn users_token_at_hand(
        &self,
        account: &CachedAccount,
        tenant: Option<&str>,
        scopes: &AskedScopes,
    ) -> Option<AuthenticationResult> {
        let kind = self.authority.kind();
        let (realm, is_shared) = match tenant {
            Some(tenant) => (tenant, is_shared_tenant(tenant)),
            None => (self.authority.tenant(), self.is_multi_tenant),
        };
        // Only Entra's authorities have tenants to choose from. Whoever has none to choose is told so at length.
        if (is_shared || tenant.is_some()) && kind != AuthorityKind::Entra {
            return None;
        }
        let realm = if is_shared {
            home_tenant(kind, &account.account)
        } else {
            realm
        };
        let partition = PartitionRef::User {
            authority: &self.identity,
            home_account_id: &account.account.home_account_id,
        };
        let found = self.at_hand(partition, realm, scopes)?;
        Some(AuthenticationResult::from_cache(found))
    }

    /// A token of `session`. Where tenants share the authority, whose it is decides about the tenant, and that is looked up at length.
    pub(super) fn sessions_token_at_hand(
        &self,
        session: &KeyedSession<'_>,
        scopes: &AskedScopes,
    ) -> Option<AuthenticationResult> {
        if self.is_multi_tenant {
            return None;
        }
        let partition = PartitionRef::of(session.partition())?;
        let found = self.at_hand(partition, self.authority.tenant(), scopes)?;
        // Somebody else's is refused at length.
        let is_meant = session.is_of(found.token().home_account_id);
        is_meant.then(|| AuthenticationResult::from_cache(found))
    }

    fn at_hand(&self, partition: PartitionRef<'_>, realm: &str, scopes: &AskedScopes) -> Option<Acquired> {
        if is_recorded() {
            return None;
        }
        let lookup = Lookup {
            partition,
            kind: self.authority.kind(),
            client_id: self.client.id(),
            environment: self.authority.environment(),
            realm,
            scopes: &scopes.each()?,
            token_type: self.known_token_type()?,
            context: &self.context,
        };
        self.cache.find(&lookup)
    }
}

/// Whether somebody records how tokens are acquired: then each is acquired at length, in a span of its own.
fn is_recorded() -> bool {
    LevelFilter::current() >= LevelFilter::DEBUG
}
