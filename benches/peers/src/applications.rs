//! Tokens of an application for many resources.

use std::sync::Arc;

use benches::harness::QuestionError;
use benches::payload::{CLIENT_ID, ENVIRONMENT, LIFETIME, Payload, REALM};
use cache_core::cache::TokenCache;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::secret::Secret;
use cache_core::store::MemoryStore;
use cache_core::strategy::{Strategy, WritePolicy};
use cache_core::time::{Clock, SystemClock};
use flows::authority::Authority;
use flows::client::{ClientCredential, ConfidentialClient};
use serde_json::{Map, Value, json};

use crate::offline::Offline;
use crate::script::Script;
use crate::users::{authority_url, in_memory};

/// What the client of everybody proves itself with.
pub(crate) const SECRET: &str = "a-secret-that-nobody-checks";

/// Tokens for some resources.
#[derive(Clone, Debug)]
pub(crate) struct Resources {
    payload: Payload,
    count: usize,
}

impl Resources {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            payload: Payload::present(7),
            count,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// What is asked for a resource.
    pub(crate) fn scope(&self, resource: usize) -> String {
        format!("https://api-{resource}.contoso.example/.default")
    }

    pub(crate) fn scopes(&self) -> Vec<[String; 1]> {
        (0..self.count).map(|resource| [self.scope(resource)]).collect()
    }

    /// The token that is the right answer for `resource`.
    pub(crate) fn access_token(&self, resource: usize) -> String {
        let token = self.payload.partition(resource, 1).access_tokens.remove(0);
        token.secret.expose().to_owned()
    }

    /// All of them as the program `name` keeps them: MSAL Python and MSAL Node do not find each other's.
    pub(crate) fn document(&self, name: &str) -> Value {
        let now = SystemClock.now().to_seconds();
        let expires_on = now.saturating_add(LIFETIME).0.to_string();
        let (owner, ending) = match name {
            Script::NODE => (Value::from(""), "-"),
            _ => (Value::Null, ""),
        };
        let row = |resource| {
            let scope = self.scope(resource);
            let name = format!("-{ENVIRONMENT}-accesstoken-{CLIENT_ID}-{REALM}-{scope}{ending}");
            let row = json!({
                "credential_type": "AccessToken", "secret": self.access_token(resource), "home_account_id": owner,
                "environment": ENVIRONMENT, "client_id": CLIENT_ID, "target": scope, "realm": REALM, "token_type": "Bearer",
                "cached_at": now.0.to_string(), "expires_on": expires_on, "extended_expires_on": expires_on,
            });
            (name, row)
        };
        let tokens: Map<String, Value> = (0..self.count).map(row).collect();
        json!({
            "Account": {}, "IdToken": {}, "AccessToken": tokens, "RefreshToken": {},
            "AppMetadata": { format!("appmetadata-{ENVIRONMENT}-{CLIENT_ID}"): { "client_id": CLIENT_ID, "environment": ENVIRONMENT } },
        })
    }

    /// A client that has obtained a token for each: a daemon with a partition a resource.
    pub(crate) async fn client(&self, http: Arc<Offline>) -> Result<ConfidentialClient, QuestionError> {
        // Written at once, so that nothing waits to be written while hits are measured.
        let strategy = in_memory(Strategy::high_volume_daemon()).write_policy(WritePolicy::Through);
        let source = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
        let cache = TokenCache::builder(Arc::new(MemoryStore::new()))
            .strategy(strategy)
            .open_sealed(Namespace::default(), source)
            .await?;
        let authority = Authority::entra(&authority_url())?;
        let credential = ClientCredential::secret(Secret::new(SECRET));
        let client = ConfidentialClient::builder(CLIENT_ID, authority, credential, cache)
            .http(Arc::clone(&http) as Arc<dyn flows::http::HttpClient>)
            .build()?;
        for resource in 0..self.count {
            http.grant_next(Secret::new(self.access_token(resource)));
            client.acquire_token_for_client([self.scope(resource)]).await?;
        }
        Ok(client)
    }
}
