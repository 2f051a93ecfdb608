//! Who signed in, from a reply that was checked.

use cache_core::schema::{Account, AuthorityKind, TenantProfile};

use crate::authority::Authority;
use crate::client_info::ClientInfo;
use crate::display_text::display_text;
use crate::error::{Error, ReplyError};
use crate::id_token::{IdTokenClaims, IdTokenError};

/// What a reply says of the user.
pub(crate) struct Identity<'a> {
    pub(crate) authority: &'a Authority,
    /// The claims of an ID token that was checked.
    pub(crate) claims: Option<&'a IdTokenClaims>,
    /// Only from an authority that may name accounts with it.
    pub(crate) client_info: Option<&'a ClientInfo>,
}

impl Identity<'_> {
    /// Whether the two names of the user go together. In the home tenant `oid` is `uid`; elsewhere, and in B2C and CIAM, no such
    /// rule is documented.
    ///
    /// The signed ID token says who signed in, and the unsigned `client_info` whose partition the tokens go to: a reply that mixes
    /// them would put one user's tokens under another's account.
    fn check(&self) -> Result<(), ReplyError> {
        let (Some(claims), Some(info)) = (self.claims, self.client_info) else {
            return Ok(());
        };
        let (Some(tenant), Some(object)) = (claims.tenant_id(), claims.object_id()) else {
            return Ok(());
        };
        let is_at_home = tenant.eq_ignore_ascii_case(info.home_tenant());
        if self.authority.kind() == AuthorityKind::Entra
            && is_at_home
            && !object.eq_ignore_ascii_case(info.uid())
        {
            return Err(ReplyError::MixedAccounts);
        }
        Ok(())
    }

    /// `uid.utid` where `client_info` was honoured, else the subject.
    fn home_account_id(&self) -> Option<String> {
        match self.client_info {
            Some(info) => Some(info.home_account_id()),
            None => self.claims?.subject().map(str::to_owned),
        }
    }

    fn local_account_id(&self) -> Option<&str> {
        let claims = self.claims?;
        match self.authority.kind() {
            AuthorityKind::Oidc => claims.subject(),
            _ => claims.object_id().or_else(|| claims.subject()),
        }
    }

    /// The tenant of this sign-in, which is not the home tenant for a guest.
    fn realm(&self) -> &str {
        let kind = self.authority.kind();
        if kind.honours_client_info()
            && let Some(tenant) = self.claims.and_then(IdTokenClaims::tenant_id)
        {
            return tenant;
        }
        match self.client_info {
            Some(info) if self.authority.is_multi_tenant() => info.home_tenant(),
            _ => self.authority.tenant(),
        }
    }

    fn tenant_profiles(&self, local_account_id: &str) -> Vec<TenantProfile> {
        let Some(info) = self.client_info else {
            return Vec::new();
        };
        vec![TenantProfile {
            tenant_id: self.realm().to_owned(),
            local_account_id: local_account_id.to_owned(),
            name: self.claims.and_then(IdTokenClaims::name).map(display_text),
            username: self.claims.and_then(IdTokenClaims::username).map(display_text),
            is_home_tenant: self.realm().eq_ignore_ascii_case(info.home_tenant()),
            foreign: None,
        }]
    }
}

/// The account of a new sign-in.
pub(crate) fn new(identity: &Identity<'_>) -> Result<Account, Error> {
    identity.check()?;
    let home_account_id = identity.home_account_id().ok_or(ReplyError::NoAccount)?;
    let local_account_id = match (identity.local_account_id(), identity.client_info) {
        (Some(local), _) => local.to_owned(),
        (None, Some(info)) => info.uid().to_owned(),
        (None, None) => return Err(ReplyError::NoAccount.into()),
    };
    let kind = identity.authority.kind();
    let claims = identity.claims;
    Ok(Account {
        tenant_profiles: identity.tenant_profiles(&local_account_id),
        home_account_id,
        environment: identity.authority.environment().to_owned(),
        realm: identity.realm().to_owned(),
        local_account_id,
        username: claims
            .and_then(IdTokenClaims::username)
            .map(display_text)
            .unwrap_or_default(),
        authority_type: kind.msal_authority_type().to_owned(),
        name: claims.and_then(IdTokenClaims::name).map(display_text),
        issuer: match kind {
            AuthorityKind::Oidc => claims.and_then(IdTokenClaims::issuer).map(str::to_owned),
            _ => None,
        },
        foreign: None,
    })
}

/// The account of a refresh, which must be `known` (OIDC Core section 12.2). `previous` are the claims of its latest
/// ID token.
///
/// An issuer, or whoever sits in its place, could else put one user's tokens into another's partition.
pub(crate) fn same(
    identity: &Identity<'_>,
    known: &Account,
    previous: Option<&IdTokenClaims>,
) -> Result<Account, Error> {
    if let Some(info) = identity.client_info
        && info.home_account_id() != known.home_account_id
    {
        return Err(ReplyError::AnotherAccount.into());
    }
    let Some(claims) = identity.claims else {
        return Ok(known.clone());
    };
    if !is_same_user(identity, claims, known, previous) {
        return Err(IdTokenError::AnotherUser.into());
    }
    let mut account = new(identity)?;
    // Without client_info the subject would take the place of `uid.utid`.
    account.home_account_id.clone_from(&known.home_account_id);
    // Refreshed ID tokens often say less of the person.
    if account.username.is_empty() {
        account.username.clone_from(&known.username);
    }
    account.name = account.name.or_else(|| known.name.clone());
    Ok(account)
}

fn is_same_user(
    identity: &Identity<'_>,
    claims: &IdTokenClaims,
    known: &Account,
    previous: Option<&IdTokenClaims>,
) -> bool {
    let kind = identity.authority.kind();
    if !kind.honours_client_info() {
        let issuer_kept = known.issuer.is_none() || known.issuer.as_deref() == claims.issuer();
        return claims.subject() == Some(&known.home_account_id)
            && (issuer_kept || kind != AuthorityKind::Oidc)
            && previous.is_none_or(|previous| previous.subject() == claims.subject());
    }
    // Entra's `sub` and `oid` differ from tenant to tenant, so they compare only within one.
    let same_subject = previous
        .filter(|previous| previous.tenant_id() == claims.tenant_id())
        .is_none_or(|previous| previous.subject() == claims.subject());
    let same_object = known.realm != identity.realm()
        || claims
            .object_id()
            .is_none_or(|object| object == known.local_account_id);
    // Across tenants, only client_info says that the guest is the same person.
    let vouched = identity.client_info.is_some() || known.realm == identity.realm();
    same_subject && same_object && vouched
}
