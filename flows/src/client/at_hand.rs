//! Tokens that are at hand in memory, found without an allocation and without waiting.
//!
//! What is looked for is named exactly as the acquisitions name it when they ask the cache at length; whatever cannot be named that way
//! from borrowed parts is left to them.

use cache_core::cache::CachedAccount;
use cache_core::schema::AuthorityKind;
use tracing::level_filters::LevelFilter;

use super::application::{Application, home_tenant};
use crate::AuthenticationResult;
use crate::authority::is_shared_tenant;

impl Application {
    /// The application's own token.
    pub(super) fn own_token_at_hand(&self, scopes: &str) -> Option<AuthenticationResult> {
        let tenant = self.authority.tenant();
        // There is none, and the acquisition says why.
        if self.is_multi_tenant || is_recorded() {
            return None;
        }
        let partition = LookupPartition::App {
            authority: &self.identity,
            tenant,
        };
        self.at_hand(partition, tenant, scopes)
    }

    /// A token of `account` in `tenant`, or in the one that it is asked for in where the caller says nothing.
    pub(super) fn users_token_at_hand(
        &self,
        account: &CachedAccount,
        tenant: Option<&str>,
        scopes: &str,
    ) -> Option<AuthenticationResult> {
        if is_recorded() {
            return None;
        }
        let kind = self.authority.kind();
        let (tenant, is_shared) = match tenant {
            Some(tenant) if kind == AuthorityKind::Entra => (tenant, is_shared_tenant(tenant)),
            Some(_) => return None,
            None => (self.authority.tenant(), self.is_multi_tenant),
        };
        let realm = match is_shared {
            true if kind == AuthorityKind::Entra => home_tenant(kind, &account.account),
            true => return None,
            false => tenant,
        };
        let home_account_id = &account.account.home_account_id;
        let partition = LookupPartition::User {
            authority: &self.identity,
            home_account_id,
        };
        self.at_hand(partition, realm, scopes)
    }

    fn at_hand(
        &self,
        partition: LookupPartition<'_>,
        realm: &str,
        scopes: &str,
    ) -> Option<AuthenticationResult> {
        let lookup = Lookup {
            partition,
            kind: self.authority.kind(),
            client_id: self.client.id(),
            environment: self.authority.environment(),
            realm,
            scopes,
            token_type: self.known_token_type()?,
            context: &self.context,
        };
        find(&lookup).map(AuthenticationResult::from_cache)
    }
}

/// Whether somebody records how tokens are acquired: then each is acquired at length, in a span of its own.
fn is_recorded() -> bool {
    LevelFilter::current() >= LevelFilter::DEBUG
}

struct Lookup<'a> {
    partition: LookupPartition<'a>,
    kind: AuthorityKind,
    client_id: &'a str,
    environment: &'a str,
    realm: &'a str,
    scopes: &'a str,
    token_type: &'a cache_core::schema::TokenType,
    context: &'a cache_core::schema::TokenContext,
}
enum LookupPartition<'a> {
    App {
        authority: &'a cache_core::schema::AuthorityIdentity,
        tenant: &'a str,
    },
    User {
        authority: &'a cache_core::schema::AuthorityIdentity,
        home_account_id: &'a str,
    },
}
fn find(_: &Lookup<'_>) -> Option<cache_core::cache::Acquired> {
    None
}
