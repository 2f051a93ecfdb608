//! Alice of Entra, and documents with her rows.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{AcquireOptions, CacheError, TokenCache, TokenSource};
use cache_core::layout::MsalLayout;
use cache_core::schema::{
    AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, TokenRequest, TokenResponse,
};
use cache_core::seal::Namespace;
use cache_core::secret::Secret;
use cache_core::store::{PutOptions, Store, StoreKey};
use cache_core::strategy::{DirectoryPolicy, MemoryTier, SealPolicy, Strategy};
use cache_testkit::clock::ManualClock;
use serde_json::{Value, json};

use crate::support::*;

pub const HOME: &str = "00000000-0000-0000-0000-00000000000a.00000000-0000-0000-0000-00000000000b";
pub const TENANT: &str = "00000000-0000-0000-0000-00000000000b";
pub const HOST: &str = "login.microsoftonline.com";

pub fn strategy() -> Strategy {
    Strategy::background_worker()
        .seal(SealPolicy::PlaintextAllowed)
        .memory_tier(MemoryTier::off())
        .directory(DirectoryPolicy::Off)
        .idle_lifetime(None)
}

pub fn shared(store: &Arc<dyn Store>, clock: &ManualClock, layout: MsalLayout) -> TokenCache {
    TokenCache::builder(Arc::clone(store))
        .clock(Arc::new(clock.clone()))
        .strategy(strategy())
        .open_plaintext_shared(Namespace::default(), layout)
        .unwrap()
}

pub fn entra() -> AuthorityIdentity {
    AuthorityIdentity::of_host(AuthorityKind::Entra, HOST)
}

pub fn alice() -> PartitionKey {
    PartitionKey::User {
        authority: entra(),
        home_account_id: HOME.into(),
    }
}

pub fn entra_request(scopes: &str) -> Arc<TokenRequest> {
    let scopes = ScopeSet::parse(scopes);
    Arc::new(TokenRequest::new(
        alice(),
        AuthorityKind::Entra,
        CLIENT,
        HOST,
        TENANT,
        scopes,
    ))
}

/// What Entra grants to Alice, made of what the issuer granted.
pub fn as_entra(mut response: TokenResponse) -> TokenResponse {
    HOST.clone_into(&mut response.environment);
    TENANT.clone_into(&mut response.realm);
    response.id_token = Some(Secret::new("header.claims.signature"));
    let account = response.account.as_mut().unwrap();
    HOME.clone_into(&mut account.home_account_id);
    HOST.clone_into(&mut account.environment);
    TENANT.clone_into(&mut account.realm);
    "MSSTS".clone_into(&mut account.authority_type);
    account.issuer = None;
    response
}

/// A document as MSAL Node writes it.
pub fn node_document(now: i64, refresh_token: &str) -> Value {
    let environment = "login.windows.net";
    json!({
        "Account": { format!("{HOME}-{environment}-{TENANT}"): {
            "home_account_id": HOME, "environment": environment, "realm": TENANT, "local_account_id": "oid",
            "username": "alice@contoso.test", "authority_type": "MSSTS", "name": "Alice", "x_account": 7,
        } },
        "IdToken": {},
        "AccessToken": { format!("{HOME}-{environment}-accesstoken-{CLIENT}-{TENANT}-user.read-"): {
            "home_account_id": HOME, "environment": environment, "credential_type": "AccessToken",
            "client_id": CLIENT, "secret": "canary-node-access", "realm": TENANT, "target": "User.Read",
            "cached_at": now.to_string(), "expires_on": (now + 3600).to_string(), "token_type": "Bearer",
        } },
        "RefreshToken": { format!("{HOME}-{environment}-refreshtoken-{CLIENT}---"): {
            "home_account_id": HOME, "environment": environment, "credential_type": "RefreshToken",
            "client_id": CLIENT, "secret": refresh_token, "x_token": [1, null],
        } },
        "AppMetadata": { format!("appmetadata-{environment}-{CLIENT}"): {
            "client_id": CLIENT, "environment": environment,
        } },
        "Unknown": { "anything": { "at": "all" } },
        "Member": 5,
    })
}

pub fn record(key: &str) -> StoreKey {
    StoreKey::new(key).unwrap()
}

pub async fn write(store: &Arc<dyn Store>, key: &str, document: &Value) {
    let json = document.to_string();
    store
        .put(&record(key), json.into(), PutOptions::overwrite())
        .await
        .unwrap();
}

pub async fn document(store: &Arc<dyn Store>, key: &str) -> Value {
    let found = store.get(&record(key)).await.unwrap().unwrap();
    serde_json::from_slice(&found.payload).unwrap()
}

pub fn only<'a>(document: &'a Value, section: &str) -> (&'a String, &'a Value) {
    let rows = document[section].as_object().unwrap();
    assert_eq!(rows.len(), 1, "{section}: {rows:?}");
    rows.iter().next().unwrap()
}

pub async fn silent(
    cache: &TokenCache,
    issuer: &Arc<Issuer>,
    scopes: &str,
) -> Result<(String, TokenSource), CacheError> {
    let call = Arc::new(EntraCall(issuer.call(scopes)));
    let found = cache
        .acquire(entra_request(scopes), AcquireOptions::default(), call)
        .await?;
    Ok((found.token().secret.expose().to_owned(), found.source()))
}

/// The issuer's answers, as Entra's.
pub struct EntraCall(pub Arc<Call>);

#[async_trait::async_trait]
impl cache_core::cache::AuthorityCall for EntraCall {
    async fn prepare(&self, limit: Duration) -> Result<(), cache_core::cache::CallError> {
        self.0.prepare(limit).await
    }

    async fn redeem(&self, redemption: cache_core::cache::Redemption) -> cache_core::cache::CallOutcome {
        match self.0.redeem(redemption).await {
            cache_core::cache::CallOutcome::Granted(response) => {
                cache_core::cache::CallOutcome::Granted(Box::new(as_entra(*response)))
            }
            other => other,
        }
    }

    async fn discard(&self, token: Secret, limit: Duration) {
        self.0.discard(token, limit).await;
    }
}

pub struct AppCall(pub Arc<Call>);

#[async_trait::async_trait]
impl cache_core::cache::AppTokenCall for AppCall {
    async fn obtain(&self, limit: Duration) -> cache_core::cache::CallOutcome {
        match self.0.obtain(limit).await {
            cache_core::cache::CallOutcome::Granted(mut response) => {
                HOST.clone_into(&mut response.environment);
                TENANT.clone_into(&mut response.realm);
                cache_core::cache::CallOutcome::Granted(response)
            }
            other => other,
        }
    }
}
