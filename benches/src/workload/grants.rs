//! What the simulated authority grants, and what is asked of the cache for it.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::schema::{
    Account, AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, TokenContext, TokenRequest,
    TokenResponse, TokenType,
};
use cache_core::secret::Secret;
use cache_core::time::UnixSeconds;

use super::file::Workload;
use super::sequence::{Subject, SubjectKind};

const CLIENT: &str = "3c1f0f5e-6f0d-4a63-9a5c-1a3a6a1d7a10";
const HOST: &str = "login.workload.example";
const HOME: &str = "home";
/// What Entra ID's are like.
const REFRESH_TOKEN_BYTES: usize = 1100;

/// Makes requests and replies for the subjects of a workload.
#[derive(Clone, Debug)]
pub(super) struct Grants {
    workload: Arc<Workload>,
    authority: AuthorityIdentity,
}

impl Grants {
    pub(super) fn new(workload: Arc<Workload>) -> Self {
        Self {
            workload,
            authority: AuthorityIdentity::of_host(AuthorityKind::Entra, HOST),
        }
    }

    pub(super) fn kind(&self, subject: Subject) -> SubjectKind {
        subject.kind(&self.workload)
    }

    /// The partition of a user.
    pub(super) fn user(&self, user: u32) -> PartitionKey {
        PartitionKey::User {
            authority: self.authority.clone(),
            home_account_id: home_account_id(user),
        }
    }

    /// What is asked of `cache`.
    pub(super) fn request(&self, cache: &TokenCache, subject: Subject) -> TokenRequest {
        let scopes = self.scopes(subject);
        let (partition, realm) = match self.kind(subject) {
            SubjectKind::User { user, .. } => (self.user(user), HOME.to_owned()),
            SubjectKind::Application { tenant, .. } => {
                let tenant = tenant_name(tenant);
                let partition = cache.app_partition(CLIENT, &self.authority, &tenant, &scopes);
                (partition, tenant)
            }
        };
        TokenRequest::new(partition, AuthorityKind::Entra, CLIENT, HOST, realm, scopes)
    }

    /// What is granted at `requested_at`. `serial` sets it apart from what was granted before.
    pub(super) fn response(
        &self,
        subject: Subject,
        serial: u64,
        refresh_serial: u64,
        requested_at: UnixSeconds,
    ) -> TokenResponse {
        let tokens = &self.workload.tokens;
        let lifetime = Duration::from_secs(tokens.lifetime_seconds.into());
        let scopes = self.scopes(subject);
        let user = match self.kind(subject) {
            SubjectKind::User { user, .. } => Some(user),
            SubjectKind::Application { .. } => None,
        };
        let realm = match self.kind(subject) {
            SubjectKind::User { .. } => HOME.to_owned(),
            SubjectKind::Application { tenant, .. } => tenant_name(tenant),
        };
        let bytes = usize::try_from(tokens.bytes).unwrap_or(usize::MAX);
        TokenResponse {
            client_id: CLIENT.to_owned(),
            environment: HOST.to_owned(),
            realm,
            scopes: scopes.clone(),
            requested_scopes: scopes,
            token_type: TokenType::Bearer,
            access_token: Some(padded(format!("at.{}.{serial}.", subject.0), bytes)),
            requested_at,
            expires_on: requested_at.saturating_add(lifetime),
            extended_expires_on: None,
            refresh_on: (tokens.refresh_after > 0.0)
                .then(|| requested_at.saturating_add(lifetime.mul_f64(tokens.refresh_after))),
            refresh_token: user.map(|user| refresh_token(user, refresh_serial)),
            refresh_token_expires_on: None,
            family_id: None,
            id_token: None,
            account: user.map(account),
            context: TokenContext::default(),
        }
    }

    fn scopes(&self, subject: Subject) -> ScopeSet {
        match self.kind(subject) {
            SubjectKind::User { resource, .. } => ScopeSet::parse(&format!("api://resource-{resource}/read")),
            SubjectKind::Application { resource, .. } => {
                ScopeSet::parse(&format!("https://resource-{resource}.example/.default"))
            }
        }
    }
}

fn account(user: u32) -> Account {
    Account {
        home_account_id: home_account_id(user),
        environment: HOST.to_owned(),
        realm: HOME.to_owned(),
        local_account_id: format!("user-{user}"),
        username: format!("user-{user}@workload.example"),
        authority_type: "MSSTS".to_owned(),
        name: None,
        issuer: None,
        tenant_profiles: Vec::new(),
        foreign: None,
    }
}

fn home_account_id(user: u32) -> String {
    format!("user-{user}.{HOME}")
}

fn tenant_name(tenant: u32) -> String {
    format!("tenant-{tenant}")
}

fn refresh_token(user: u32, serial: u64) -> Secret {
    padded(format!("rt.{user}.{serial}."), REFRESH_TOKEN_BYTES)
}

/// The serial number of a refresh token that was made here.
pub(super) fn serial_of(refresh_token: &Secret) -> Option<u64> {
    refresh_token.expose().split('.').nth(2)?.parse().ok()
}

fn padded(mut text: String, bytes: usize) -> Secret {
    while text.len() < bytes {
        text.push('x');
    }
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::presets;

    #[test]
    fn a_refresh_token_tells_its_serial_number() {
        let grants = Grants::new(Arc::new(presets::workload("web-front-end").unwrap()));
        let response = grants.response(Subject(3), 9, 17, UnixSeconds(1000));
        assert_eq!(serial_of(response.refresh_token.as_ref().unwrap()), Some(17));
        assert_eq!(response.expires_on, UnixSeconds(1060));
        assert_eq!(response.refresh_on, Some(UnixSeconds(1030)));
        assert_eq!(response.access_token.unwrap().expose().len(), 1600);
    }
}
