//! Partitions, tokens and caches of the sizes that real authorities bring about.
//!
//! Everything follows from a seed, so that two runs measure the same bytes.

mod authority;
mod filled;
mod picker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cache_core::schema::{
    AccessToken, Account, AppMetadata, AuthorityIdentity, AuthorityKind, IdToken, Partition, PartitionKey,
    RefreshToken, ScopeSet, TokenContext, TokenRequest, TokenResponse, TokenType,
};
use cache_core::secret::Secret;
use cache_core::time::{Clock, SystemClock, UnixSeconds};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub use authority::FakeAuthority;
pub use filled::{PayloadError, fill, memory_cache, open, warm};
pub use picker::Picker;

/// The client of all payloads.
pub const CLIENT_ID: &str = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";
/// The authority's host.
pub const ENVIRONMENT: &str = "login.microsoftonline.com";
/// The tenant.
pub const REALM: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
/// How long an access token lasts.
pub const LIFETIME: Duration = Duration::from_secs(3900);

const KIND: AuthorityKind = AuthorityKind::Entra;

/// How long tokens are, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenSizes {
    /// An access token: 100 or more.
    pub access: usize,
    /// A refresh token.
    pub refresh: usize,
    /// An ID token: 100 or more.
    pub id: usize,
}

impl TokenSizes {
    /// Those of Entra.
    pub const ENTRA: Self = Self {
        access: 1800,
        refresh: 1200,
        id: 1100,
    };
    /// As short as tokens that are references can be, for when there are very many.
    pub const SMALL: Self = Self {
        access: 100,
        refresh: 60,
        id: 100,
    };
}

/// Makes accounts, tokens and requests. Users and resources are numbered.
#[derive(Clone, Debug)]
pub struct Payload {
    seed: u64,
    /// When the tokens were obtained.
    now: UnixSeconds,
    refresh_after: Option<Duration>,
    sizes: TokenSizes,
}

impl Payload {
    /// Tokens that are obtained `now`.
    #[must_use]
    pub fn new(seed: u64, now: UnixSeconds) -> Self {
        Self {
            seed,
            now,
            refresh_after: None,
            sizes: TokenSizes::ENTRA,
        }
    }

    /// Tokens that are obtained at the system's present.
    #[must_use]
    pub fn present(seed: u64) -> Self {
        Self::new(seed, SystemClock.now().to_seconds())
    }

    /// Lets the authority recommend to replace tokens after this time (`refresh_in`).
    #[must_use]
    pub fn refresh_after(mut self, time: Duration) -> Self {
        self.refresh_after = Some(time);
        self
    }

    /// Sets how long the tokens are.
    #[must_use]
    pub fn sizes(mut self, sizes: TokenSizes) -> Self {
        self.sizes = sizes;
        self
    }

    /// Where the tokens of a user are.
    #[must_use]
    pub fn key(&self, user: usize) -> PartitionKey {
        PartitionKey::User {
            authority: AuthorityIdentity::of_host(KIND, ENVIRONMENT),
            home_account_id: self.home_account_id(user),
        }
    }

    /// `uid.utid` of a user.
    #[must_use]
    pub fn home_account_id(&self, user: usize) -> String {
        format!("{}.{REALM}", self.object_id(user))
    }

    /// The scopes that the token for a resource was granted.
    #[must_use]
    pub fn granted_scopes(&self, resource: usize) -> ScopeSet {
        let base = resource_url(resource);
        ScopeSet::of([
            format!("{base}/Files.Read"),
            format!("{base}/Mail.Read"),
            format!("{base}/Mail.Send"),
            format!("{base}/User.Read"),
        ])
    }

    /// The scopes that a program asks for, fewer than it is granted: a superset serves it.
    #[must_use]
    pub fn requested_scopes(&self, resource: usize) -> ScopeSet {
        let base = resource_url(resource);
        ScopeSet::of([format!("{base}/Mail.Read"), format!("{base}/User.Read")])
    }

    /// A request for the token of a resource, with exactly the scopes that were granted.
    #[must_use]
    pub fn request(&self, user: usize, resource: usize) -> Arc<TokenRequest> {
        self.request_for(user, self.granted_scopes(resource))
    }

    /// A request for the token of a resource, with fewer scopes than were granted.
    #[must_use]
    pub fn subset_request(&self, user: usize, resource: usize) -> Arc<TokenRequest> {
        self.request_for(user, self.requested_scopes(resource))
    }

    /// A request of a user for any scopes.
    #[must_use]
    pub fn request_for(&self, user: usize, scopes: ScopeSet) -> Arc<TokenRequest> {
        let request = TokenRequest::new(self.key(user), KIND, CLIENT_ID, ENVIRONMENT, REALM, scopes);
        Arc::new(request)
    }

    /// What is granted to an application that acts for itself: no account, no refresh token. Applications are numbered as users are.
    #[must_use]
    pub fn app_response(&self, app: usize, resource: usize) -> TokenResponse {
        TokenResponse {
            refresh_token: None,
            id_token: None,
            account: None,
            client_id: self.object_id(app),
            ..self.response(app, resource)
        }
    }

    /// A request of an application that acts for itself, for the token of a resource.
    #[must_use]
    pub fn app_request(&self, app: usize, resource: usize) -> Arc<TokenRequest> {
        let client_id = self.object_id(app);
        let key = PartitionKey::App {
            client_id: client_id.clone(),
            authority: AuthorityIdentity::of_host(KIND, ENVIRONMENT),
            tenant: REALM.into(),
            resource: None,
            components: BTreeMap::new(),
        };
        let scopes = self.granted_scopes(resource);
        Arc::new(TokenRequest::new(
            key,
            KIND,
            client_id,
            ENVIRONMENT,
            REALM,
            scopes,
        ))
    }

    /// A user's partition with the access tokens of `resources` resources, one refresh token, one ID token and the account.
    #[must_use]
    pub fn partition(&self, user: usize, resources: usize) -> Partition {
        let mut random = self.random(user);
        let mut partition = Partition::new(self.key(user));
        partition.accounts.push(self.account(user));
        partition.access_tokens = (0..resources)
            .map(|resource| self.access_token(user, resource, &mut random))
            .collect();
        partition.refresh_tokens.push(RefreshToken {
            home_account_id: self.home_account_id(user),
            environment: ENVIRONMENT.into(),
            client_id: CLIENT_ID.into(),
            family_id: None,
            target: None,
            secret: opaque(&mut random, self.sizes.refresh),
            last_modification_time: Some(self.now),
            expires_on: None,
            spending: None,
            refusals: Vec::new(),
            foreign: None,
        });
        partition.id_tokens.push(IdToken {
            home_account_id: self.home_account_id(user),
            environment: ENVIRONMENT.into(),
            realm: REALM.into(),
            client_id: CLIENT_ID.into(),
            secret: jwt(&mut random, self.sizes.id),
            foreign: None,
        });
        partition.app_metadata.push(AppMetadata {
            client_id: CLIENT_ID.into(),
            environment: ENVIRONMENT.into(),
            family_id: Some(String::new()),
            foreign: None,
        });
        partition
    }

    /// How many bytes of a partition are secrets: what nobody can do without.
    #[must_use]
    pub fn secret_bytes(partition: &Partition) -> usize {
        let access = partition.access_tokens.iter().map(|row| &row.secret);
        let refresh = partition.refresh_tokens.iter().map(|row| &row.secret);
        let id = partition.id_tokens.iter().map(|row| &row.secret);
        access
            .chain(refresh)
            .chain(id)
            .map(|secret| secret.expose().len())
            .sum()
    }

    /// What the authority grants a user at sign-in or at a refresh for a resource.
    #[must_use]
    pub fn response(&self, user: usize, resource: usize) -> TokenResponse {
        let mut random = self.random(user ^ resource.rotate_left(20));
        let scopes = self.granted_scopes(resource);
        TokenResponse {
            client_id: CLIENT_ID.into(),
            environment: ENVIRONMENT.into(),
            realm: REALM.into(),
            requested_scopes: scopes.clone(),
            scopes,
            token_type: TokenType::Bearer,
            access_token: Some(jwt(&mut random, self.sizes.access)),
            requested_at: self.now,
            expires_on: self.now.saturating_add(LIFETIME),
            extended_expires_on: None,
            refresh_on: self.refresh_after.map(|time| self.now.saturating_add(time)),
            refresh_token: Some(opaque(&mut random, self.sizes.refresh)),
            refresh_token_expires_on: None,
            family_id: None,
            id_token: Some(jwt(&mut random, self.sizes.id)),
            account: Some(self.account(user)),
            context: TokenContext::default(),
        }
    }

    fn access_token(&self, user: usize, resource: usize, random: &mut StdRng) -> AccessToken {
        AccessToken {
            home_account_id: self.home_account_id(user),
            environment: ENVIRONMENT.into(),
            client_id: CLIENT_ID.into(),
            realm: REALM.into(),
            target: self.granted_scopes(resource),
            token_type: TokenType::Bearer,
            secret: jwt(random, self.sizes.access),
            cached_at: self.now,
            expires_on: self.now.saturating_add(LIFETIME),
            extended_expires_on: None,
            refresh_on: self.refresh_after.map(|time| self.now.saturating_add(time)),
            context: TokenContext::default(),
            foreign: None,
        }
    }

    fn account(&self, user: usize) -> Account {
        Account {
            home_account_id: self.home_account_id(user),
            environment: ENVIRONMENT.into(),
            realm: REALM.into(),
            local_account_id: self.object_id(user),
            username: format!("user.{user}@contoso.example"),
            authority_type: KIND.msal_authority_type().into(),
            name: Some(format!("User Number {user}")),
            issuer: None,
            tenant_profiles: Vec::new(),
            foreign: None,
        }
    }

    /// Numbers spread over the whole space, as real object IDs are.
    fn object_id(&self, user: usize) -> String {
        let mut random = self.random(user);
        let (a, b): (u64, u64) = (random.random(), random.random());
        let (a1, a2, a3) = (a >> 32, a >> 16 & 0xffff, a & 0xffff);
        format!(
            "{a1:08x}-{a2:04x}-{a3:04x}-{:04x}-{:012x}",
            b >> 48,
            b & 0xffff_ffff_ffff
        )
    }

    fn random(&self, number: usize) -> StdRng {
        StdRng::seed_from_u64(self.seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

fn resource_url(resource: usize) -> String {
    if resource == 0 {
        return "https://graph.microsoft.com".to_owned();
    }
    format!("https://api-{resource}.contoso.example")
}

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A token that only its issuer can read.
fn opaque(random: &mut StdRng, length: usize) -> Secret {
    let mut text = String::with_capacity(length);
    text.push_str("1.");
    extend(&mut text, random, length);
    Secret::new(text)
}

/// A token that looks like a signed JWT (RFC 7519): three parts of base64url. Nothing here reads its claims.
fn jwt(random: &mut StdRng, length: usize) -> Secret {
    const HEADER: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9";
    // Of RSA with 2,048 bits.
    let signature = if length > 800 { 342 } else { 43 };
    let mut text = String::with_capacity(length);
    text.push_str(HEADER);
    text.push_str(".eyJ");
    extend(&mut text, random, length.saturating_sub(signature + 1));
    text.push('.');
    extend(&mut text, random, length);
    Secret::new(text)
}

fn extend(text: &mut String, random: &mut StdRng, length: usize) {
    while text.len() < length {
        text.push(char::from(BASE64URL[random.random_range(0..BASE64URL.len())]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_have_the_sizes_that_they_are_told() {
        let payload = Payload::new(1, UnixSeconds(1_800_000_000));
        let partition = payload.partition(3, 10);
        assert_eq!(Payload::secret_bytes(&partition), 10 * 1800 + 1200 + 1100);
        let small = payload.sizes(TokenSizes::SMALL).partition(3, 1);
        assert_eq!(Payload::secret_bytes(&small), 260);
    }

    #[test]
    fn a_seed_gives_the_same_tokens_again_and_users_differ() {
        let payload = Payload::new(1, UnixSeconds(1_800_000_000));
        assert!(payload.partition(3, 2) == payload.partition(3, 2));
        assert_ne!(payload.home_account_id(3), payload.home_account_id(4));
    }
}
