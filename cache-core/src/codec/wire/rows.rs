//! The five kinds of row.

use bincode::{BorrowDecode, Encode};

use super::Reason;
use super::json::WireForeign;
use super::state::{WireContext, WireMarker, WireRefusal, WireTokenType};
use crate::schema::{AccessToken, Account, AppMetadata, IdToken, RefreshToken, ScopeSet, TenantProfile};
use crate::secret::Secret;
use crate::time::UnixSeconds;

#[derive(Encode, BorrowDecode)]
pub(in crate::codec) struct WireAccount<'a> {
    home_account_id: &'a str,
    environment: &'a str,
    realm: &'a str,
    local_account_id: &'a str,
    username: &'a str,
    authority_type: &'a str,
    name: Option<&'a str>,
    issuer: Option<&'a str>,
    tenant_profiles: Vec<WireProfile<'a>>,
    foreign: Option<WireForeign<'a>>,
}

impl<'a> WireAccount<'a> {
    /// Adds what other rows may have too.
    pub(super) fn names(&self, names: &mut Vec<&'a str>) {
        names.extend([
            self.home_account_id,
            self.environment,
            self.realm,
            self.local_account_id,
        ]);
        for profile in &self.tenant_profiles {
            names.extend([profile.tenant_id, profile.local_account_id]);
        }
    }

    pub(super) fn has_foreign(&self) -> bool {
        self.foreign.is_some()
            || self
                .tenant_profiles
                .iter()
                .any(|profile| profile.foreign.is_some())
    }
}

impl<'a> From<&'a Account> for WireAccount<'a> {
    fn from(row: &'a Account) -> Self {
        Self {
            home_account_id: &row.home_account_id,
            environment: &row.environment,
            realm: &row.realm,
            local_account_id: &row.local_account_id,
            username: &row.username,
            authority_type: &row.authority_type,
            name: row.name.as_deref(),
            issuer: row.issuer.as_deref(),
            tenant_profiles: row.tenant_profiles.iter().map(Into::into).collect(),
            foreign: WireForeign::of(row.foreign.as_deref()),
        }
    }
}

impl TryFrom<WireAccount<'_>> for Account {
    type Error = Reason;

    fn try_from(wire: WireAccount<'_>) -> Result<Self, Reason> {
        Ok(Self {
            home_account_id: wire.home_account_id.to_owned(),
            environment: wire.environment.to_owned(),
            realm: wire.realm.to_owned(),
            local_account_id: wire.local_account_id.to_owned(),
            username: wire.username.to_owned(),
            authority_type: wire.authority_type.to_owned(),
            name: wire.name.map(str::to_owned),
            issuer: wire.issuer.map(str::to_owned),
            tenant_profiles: super::rows(wire.tenant_profiles)?,
            foreign: WireForeign::into_foreign(wire.foreign)?,
        })
    }
}

#[derive(Encode, BorrowDecode)]
pub(super) struct WireProfile<'a> {
    tenant_id: &'a str,
    local_account_id: &'a str,
    name: Option<&'a str>,
    username: Option<&'a str>,
    is_home_tenant: bool,
    foreign: Option<WireForeign<'a>>,
}

impl<'a> From<&'a TenantProfile> for WireProfile<'a> {
    fn from(profile: &'a TenantProfile) -> Self {
        Self {
            tenant_id: &profile.tenant_id,
            local_account_id: &profile.local_account_id,
            name: profile.name.as_deref(),
            username: profile.username.as_deref(),
            is_home_tenant: profile.is_home_tenant,
            foreign: WireForeign::of(profile.foreign.as_deref()),
        }
    }
}

impl TryFrom<WireProfile<'_>> for TenantProfile {
    type Error = Reason;

    fn try_from(wire: WireProfile<'_>) -> Result<Self, Reason> {
        Ok(Self {
            tenant_id: wire.tenant_id.to_owned(),
            local_account_id: wire.local_account_id.to_owned(),
            name: wire.name.map(str::to_owned),
            username: wire.username.map(str::to_owned),
            is_home_tenant: wire.is_home_tenant,
            foreign: WireForeign::into_foreign(wire.foreign)?,
        })
    }
}

#[derive(Encode, BorrowDecode)]
pub(in crate::codec) struct WireIdToken<'a> {
    home_account_id: &'a str,
    environment: &'a str,
    realm: &'a str,
    client_id: &'a str,
    secret: &'a str,
    foreign: Option<WireForeign<'a>>,
}

impl<'a> WireIdToken<'a> {
    /// Adds what other rows may have too.
    pub(super) fn names(&self, names: &mut Vec<&'a str>) {
        names.extend([self.home_account_id, self.environment, self.realm, self.client_id]);
    }

    pub(super) fn has_foreign(&self) -> bool {
        self.foreign.is_some()
    }
}

impl<'a> From<&'a IdToken> for WireIdToken<'a> {
    fn from(row: &'a IdToken) -> Self {
        Self {
            home_account_id: &row.home_account_id,
            environment: &row.environment,
            realm: &row.realm,
            client_id: &row.client_id,
            secret: row.secret.expose(),
            foreign: WireForeign::of(row.foreign.as_deref()),
        }
    }
}

impl TryFrom<WireIdToken<'_>> for IdToken {
    type Error = Reason;

    fn try_from(wire: WireIdToken<'_>) -> Result<Self, Reason> {
        Ok(Self {
            home_account_id: wire.home_account_id.to_owned(),
            environment: wire.environment.to_owned(),
            realm: wire.realm.to_owned(),
            client_id: wire.client_id.to_owned(),
            secret: Secret::new(wire.secret),
            foreign: WireForeign::into_foreign(wire.foreign)?,
        })
    }
}

#[derive(Encode, BorrowDecode)]
pub(in crate::codec) struct WireAccessToken<'a> {
    home_account_id: &'a str,
    environment: &'a str,
    client_id: &'a str,
    realm: &'a str,
    target: &'a str,
    token_type: WireTokenType<'a>,
    secret: &'a str,
    cached_at: i64,
    expires_on: i64,
    extended_expires_on: Option<i64>,
    refresh_on: Option<i64>,
    context: WireContext<'a>,
    foreign: Option<WireForeign<'a>>,
}

impl<'a> From<&'a AccessToken> for WireAccessToken<'a> {
    fn from(row: &'a AccessToken) -> Self {
        Self {
            home_account_id: &row.home_account_id,
            environment: &row.environment,
            client_id: &row.client_id,
            realm: &row.realm,
            target: row.target.as_str(),
            token_type: (&row.token_type).into(),
            secret: row.secret.expose(),
            cached_at: row.cached_at.0,
            expires_on: row.expires_on.0,
            extended_expires_on: row.extended_expires_on.map(|time| time.0),
            refresh_on: row.refresh_on.map(|time| time.0),
            context: (&row.context).into(),
            foreign: WireForeign::of(row.foreign.as_deref()),
        }
    }
}

impl TryFrom<WireAccessToken<'_>> for AccessToken {
    type Error = Reason;

    fn try_from(wire: WireAccessToken<'_>) -> Result<Self, Reason> {
        Ok(Self {
            home_account_id: wire.home_account_id.to_owned(),
            environment: wire.environment.to_owned(),
            client_id: wire.client_id.to_owned(),
            realm: wire.realm.to_owned(),
            target: ScopeSet::parse(wire.target),
            token_type: wire.token_type.into(),
            secret: Secret::new(wire.secret),
            cached_at: UnixSeconds(wire.cached_at),
            expires_on: UnixSeconds(wire.expires_on),
            extended_expires_on: wire.extended_expires_on.map(UnixSeconds),
            refresh_on: wire.refresh_on.map(UnixSeconds),
            context: wire.context.try_into()?,
            foreign: WireForeign::into_foreign(wire.foreign)?,
        })
    }
}

#[derive(Encode, BorrowDecode)]
pub(in crate::codec) struct WireRefreshToken<'a> {
    home_account_id: &'a str,
    environment: &'a str,
    client_id: &'a str,
    family_id: Option<&'a str>,
    target: Option<&'a str>,
    secret: &'a str,
    last_modification_time: Option<i64>,
    expires_on: Option<i64>,
    spending: Option<WireMarker>,
    refusals: Vec<WireRefusal<'a>>,
    foreign: Option<WireForeign<'a>>,
}

impl<'a> WireRefreshToken<'a> {
    /// Adds what other rows may have too.
    pub(super) fn names(&self, names: &mut Vec<&'a str>) {
        names.extend([self.home_account_id, self.environment, self.client_id]);
        names.extend(self.target);
    }

    pub(super) fn has_foreign(&self) -> bool {
        self.foreign.is_some()
    }
}

impl<'a> From<&'a RefreshToken> for WireRefreshToken<'a> {
    fn from(row: &'a RefreshToken) -> Self {
        Self {
            home_account_id: &row.home_account_id,
            environment: &row.environment,
            client_id: &row.client_id,
            family_id: row.family_id.as_deref(),
            target: row.target.as_ref().map(ScopeSet::as_str),
            secret: row.secret.expose(),
            last_modification_time: row.last_modification_time.map(|time| time.0),
            expires_on: row.expires_on.map(|time| time.0),
            spending: row.spending.as_ref().map(Into::into),
            refusals: row.refusals.iter().map(Into::into).collect(),
            foreign: WireForeign::of(row.foreign.as_deref()),
        }
    }
}

impl TryFrom<WireRefreshToken<'_>> for RefreshToken {
    type Error = Reason;

    fn try_from(wire: WireRefreshToken<'_>) -> Result<Self, Reason> {
        Ok(Self {
            home_account_id: wire.home_account_id.to_owned(),
            environment: wire.environment.to_owned(),
            client_id: wire.client_id.to_owned(),
            family_id: wire.family_id.map(str::to_owned),
            target: wire.target.map(ScopeSet::parse),
            secret: Secret::new(wire.secret),
            last_modification_time: wire.last_modification_time.map(UnixSeconds),
            expires_on: wire.expires_on.map(UnixSeconds),
            spending: wire.spending.map(Into::into),
            refusals: wire.refusals.into_iter().map(Into::into).collect(),
            foreign: WireForeign::into_foreign(wire.foreign)?,
        })
    }
}

#[derive(Encode, BorrowDecode)]
pub(in crate::codec) struct WireAppMetadata<'a> {
    client_id: &'a str,
    environment: &'a str,
    family_id: Option<&'a str>,
    foreign: Option<WireForeign<'a>>,
}

impl<'a> WireAppMetadata<'a> {
    /// Adds what other rows may have too.
    pub(super) fn names(&self, names: &mut Vec<&'a str>) {
        names.extend([self.client_id, self.environment]);
    }

    pub(super) fn has_foreign(&self) -> bool {
        self.foreign.is_some()
    }
}

impl<'a> From<&'a AppMetadata> for WireAppMetadata<'a> {
    fn from(row: &'a AppMetadata) -> Self {
        Self {
            client_id: &row.client_id,
            environment: &row.environment,
            family_id: row.family_id.as_deref(),
            foreign: WireForeign::of(row.foreign.as_deref()),
        }
    }
}

impl TryFrom<WireAppMetadata<'_>> for AppMetadata {
    type Error = Reason;

    fn try_from(wire: WireAppMetadata<'_>) -> Result<Self, Reason> {
        Ok(Self {
            client_id: wire.client_id.to_owned(),
            environment: wire.environment.to_owned(),
            family_id: wire.family_id.map(str::to_owned),
            foreign: WireForeign::into_foreign(wire.foreign)?,
        })
    }
}
