//! No request is ever served a token that was issued for another one.
//!
//! Caches are filled at random with tokens that each say in their secret what they are for, and asked at random for
//! others. Every dimension has few values, so that most questions differ from some token in one dimension only.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{
    AcquireOptions, AppTokenCall, AuthorityCall, CacheError, CallError, CallOutcome, Redemption, TokenCache,
};
use cache_core::schema::{
    Account, AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, SessionKey, TokenContext,
    TokenRequest, TokenResponse, TokenType,
};
use cache_core::secret::Secret;
use cache_core::time::Clock;
use proptest::prelude::*;
use support::*;

/// 100 caches, and 1,000 questions to each.
const CACHES: u32 = 100;
const QUESTIONS: usize = 1_000;

const SCOPES: [&str; 4] = ["https://a/read", "https://a/write", "https://b/read", "read"];

/// Everything that sets one token apart from another, its scopes excepted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    authority: usize,
    /// `None` for the application itself.
    user: Option<usize>,
    client: usize,
    tenant: usize,
    resource: Option<usize>,
    continuous_access_evaluation: bool,
    /// The key that it is bound to, and by which scheme.
    key: Option<(usize, usize)>,
    assertion: Option<usize>,
    component: Option<usize>,
    session: Option<usize>,
}

fn identity() -> impl Strategy<Value = Identity> {
    let few = || 0..2_usize;
    let some = || prop::option::of(0..2_usize);
    (
        (0..3_usize, prop::option::weighted(0.8, few()), few(), few()),
        (some(), any::<bool>(), prop::option::of((few(), few()))),
        (some(), some(), prop::option::weighted(0.3, few())),
    )
        .prop_map(
            |((authority, user, client, tenant), (resource, cae, key), (assertion, component, session))| {
                Identity {
                    authority,
                    user,
                    client,
                    tenant,
                    resource,
                    continuous_access_evaluation: cae,
                    key,
                    assertion,
                    component,
                    // An application has no session.
                    session: session.filter(|_| user.is_some()),
                }
            },
        )
}

fn scopes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..SCOPES.len(), 1..3)
}

impl Identity {
    fn kind(&self) -> AuthorityKind {
        [AuthorityKind::Entra, AuthorityKind::Entra, AuthorityKind::Oidc][self.authority]
    }

    fn environment(&self) -> &'static str {
        [
            "login.microsoftonline.com",
            "login.microsoftonline.us",
            "id.example",
        ][self.authority]
    }

    fn authority(&self) -> AuthorityIdentity {
        match self.kind() {
            AuthorityKind::Oidc => AuthorityIdentity::of_issuer("https://id.example"),
            kind => AuthorityIdentity::of_host(kind, self.environment()),
        }
    }

    fn client(&self) -> String {
        format!("client-{}", self.client)
    }

    fn realm(&self) -> String {
        format!("tenant-{}", self.tenant)
    }

    fn home_account_id(&self) -> Option<String> {
        self.user.map(|user| format!("user-{user}.home"))
    }

    fn user_partition(&self) -> PartitionKey {
        PartitionKey::User {
            authority: self.authority(),
            home_account_id: self.home_account_id().unwrap(),
        }
    }

    fn partition(&self, cache: &TokenCache, scopes: &ScopeSet) -> PartitionKey {
        match (self.user, self.session) {
            (None, _) => cache.app_partition(&self.client(), &self.authority(), &self.realm(), scopes),
            (Some(_), None) => self.user_partition(),
            (Some(_), Some(session)) => PartitionKey::Session {
                client_id: self.client(),
                authority: self.authority(),
                // A session belongs to one user.
                key: SessionKey::WebSession(format!("session-{session}-{:?}", self.user)),
            },
        }
    }

    fn token_type(&self) -> TokenType {
        match self.key {
            None => TokenType::Bearer,
            Some((scheme, key)) => TokenType::Bound {
                scheme: ["DPoP", "pop"][scheme].into(),
                key_id: format!("thumbprint-{key}").into(),
            },
        }
    }

    fn context(&self) -> TokenContext {
        let component = self
            .component
            .map(|value| ("component".to_owned(), value.to_string()));
        TokenContext {
            resource: self.resource.map(|resource| format!("urn:{resource}").into()),
            continuous_access_evaluation: self.continuous_access_evaluation,
            assertion_hash: self.assertion.map(|assertion| format!("hash-{assertion}").into()),
            components: component.into_iter().collect(),
        }
    }

    fn request(&self, cache: &TokenCache, scopes: ScopeSet) -> Arc<TokenRequest> {
        let request = TokenRequest::new(
            self.partition(cache, &scopes),
            self.kind(),
            self.client(),
            self.environment(),
            self.realm(),
            scopes,
        );
        Arc::new(request.token_type(self.token_type()).context(self.context()))
    }

    fn response(&self, scopes: ScopeSet, serial: usize, clock: &dyn Clock) -> TokenResponse {
        let requested_at = clock.now().to_seconds();
        let account = self.home_account_id().map(|home_account_id| Account {
            environment: self.environment().into(),
            realm: self.realm(),
            local_account_id: home_account_id.clone(),
            username: format!("{home_account_id}@example"),
            authority_type: self.kind().msal_authority_type().into(),
            name: None,
            issuer: None,
            tenant_profiles: Vec::new(),
            foreign: None,
            home_account_id,
        });
        TokenResponse {
            client_id: self.client(),
            environment: self.environment().into(),
            realm: self.realm(),
            requested_scopes: scopes.clone(),
            scopes,
            token_type: self.token_type(),
            access_token: Some(Secret::new(format!("{serial}:{self:?}"))),
            requested_at,
            expires_on: requested_at.saturating_add(Duration::from_secs(3_600)),
            extended_expires_on: None,
            refresh_on: None,
            refresh_token: None,
            refresh_token_expires_on: None,
            family_id: None,
            id_token: None,
            account,
            context: self.context(),
        }
    }
}

fn scope_set(scopes: &[usize]) -> ScopeSet {
    ScopeSet::of(scopes.iter().map(|scope| SCOPES[*scope]))
}

async fn store(cache: &TokenCache, identity: &Identity, scopes: &[usize], serial: usize) {
    let clock = Arc::clone(cache.clock());
    let response = identity.response(scope_set(scopes), serial, &*clock);
    let request = identity.request(cache, scope_set(scopes));
    match (identity.user, identity.session) {
        (None, _) => {
            let options = AcquireOptions {
                freshness: cache_core::cache::Freshness::Claims,
                ..AcquireOptions::default()
            };
            cache
                .acquire_app(request, options, Arc::new(Grants(response)))
                .await
                .map(drop)
        }
        (Some(_), None) => cache.sign_in(request.partition(), response).await.map(drop),
        (Some(_), Some(_)) => {
            let lifetime = Duration::from_secs(3_600);
            let user = identity.user_partition();
            cache
                .begin_session(&user, request.partition(), response, lifetime)
                .await
                .map(drop)
        }
    }
    .unwrap();
}

/// The secret that the cache alone serves for a request.
async fn ask(cache: &TokenCache, identity: &Identity, scopes: &[usize]) -> Option<String> {
    let options = AcquireOptions {
        cache_only: true,
        ..AcquireOptions::default()
    };
    let request = identity.request(cache, scope_set(scopes));
    let acquired = match identity.user {
        None => cache.acquire_app(request, options, Arc::new(Nobody)).await,
        Some(_) => cache.acquire(request, options, Arc::new(Nobody)).await,
    };
    match acquired {
        Ok(acquired) => Some(acquired.token().secret.expose().to_owned()),
        Err(CacheError::InteractionRequired(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CACHES, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_token_serves_only_requests_that_agree_with_it_in_everything(
        tokens in prop::collection::vec((identity(), scopes()), 20..60),
        strangers in prop::collection::vec((identity(), scopes()), QUESTIONS / 2),
        near in prop::collection::vec((any::<prop::sample::Index>(), identity(), 0..10_usize, scopes()), QUESTIONS / 2),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (clock, backing) = parts();
            let writer = open(&backing, &clock).await;
            // The last token of each identity is there; earlier ones may have been replaced by it.
            let mut latest: HashMap<Identity, (usize, Vec<usize>)> = HashMap::new();
            for (serial, (identity, scopes)) in tokens.iter().enumerate() {
                store(&writer, identity, scopes, serial).await;
                latest.insert(identity.clone(), (serial, scopes.clone()));
            }
            // One reader has everything in memory, the other opens the store.
            let caches = [writer, open(&backing, &clock).await];
            let neighbours = near.into_iter().map(|(index, other, dimension, scopes)| {
                let (token, _) = &tokens[index.index(tokens.len())];
                (neighbour(token, &other, dimension), scopes)
            });
            for (number, (identity, scopes)) in strangers.into_iter().chain(neighbours).enumerate() {
                let served = ask(&caches[number % 2], &identity, &scopes).await;
                if let Some(secret) = &served {
                    let (serial, of) = secret.split_once(':').unwrap();
                    prop_assert_eq!(of, format!("{identity:?}"), "served to another request");
                    let (_, granted) = &tokens[serial.parse::<usize>().unwrap()];
                    prop_assert!(scopes.iter().all(|scope| granted.contains(scope)), "served beyond its scopes");
                }
                if let Some((serial, granted)) = latest.get(&identity)
                    && scopes.iter().all(|scope| granted.contains(scope))
                {
                    prop_assert!(served.is_some(), "token {} is there and was not found", serial);
                }
            }
            Ok(())
        })?;
    }
}

/// `token` with one dimension, or none, as `other` has it.
fn neighbour(token: &Identity, other: &Identity, dimension: usize) -> Identity {
    let mut near = token.clone();
    match dimension {
        0 => near.authority = other.authority,
        1 => near.user = other.user,
        2 => near.client = other.client,
        3 => near.tenant = other.tenant,
        4 => near.resource = other.resource,
        5 => near.continuous_access_evaluation = other.continuous_access_evaluation,
        6 => near.key = other.key,
        7 => near.assertion = other.assertion,
        8 => near.component = other.component,
        _ => {}
    }
    near.session = near.session.filter(|_| near.user.is_some());
    near
}

struct Grants(TokenResponse);

#[async_trait]
impl AppTokenCall for Grants {
    async fn obtain(&self, _time_limit: Duration) -> CallOutcome {
        CallOutcome::Granted(Box::new(self.0.clone()))
    }
}

struct Nobody;

#[async_trait]
impl AppTokenCall for Nobody {
    async fn obtain(&self, _time_limit: Duration) -> CallOutcome {
        CallOutcome::NotSent(CallError::new("nobody is to be asked"))
    }
}

#[async_trait]
impl AuthorityCall for Nobody {
    async fn prepare(&self, _time_limit: Duration) -> Result<(), CallError> {
        Err(CallError::new("nobody is to be asked"))
    }

    async fn redeem(&self, _redemption: Redemption) -> CallOutcome {
        CallOutcome::NotSent(CallError::new("nobody is to be asked"))
    }

    async fn discard(&self, _refresh_token: Secret, _time_limit: Duration) {}
}
