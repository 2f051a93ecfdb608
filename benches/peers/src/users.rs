//! Users who signed in to one client, with an account, an ID token, a refresh token and an access token each.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use benches::harness::QuestionError;
use benches::payload::{CLIENT_ID, ENVIRONMENT, LIFETIME, Payload, REALM, fill, open, warm};
use cache_core::cache::{CachedAccount, TokenCache};
use cache_core::codec::{BincodeCodec, msal};
use cache_core::schema::{Partition, ScopeSet};
use cache_core::secret::{Secret, SecretBytes};
use cache_core::store::{MemoryStore, Store};
use cache_core::strategy::{DirectoryPolicy, MemoryTier, Strategy};
use cache_core::time::{Clock, SystemClock};
use flows::authority::Authority;
use flows::client::PublicClient;
use serde_json::{Value, json};

use crate::offline::Offline;

/// The authority of everybody.
pub(crate) fn authority_url() -> String {
    format!("https://{ENVIRONMENT}/{REALM}")
}

/// As a server's, with room for everything and for as long as the run: the peers never ask a store whether their memory is right, and note nothing about
/// who comes.
pub(crate) fn in_memory(strategy: Strategy) -> Strategy {
    let memory = MemoryTier::bounded(1 << 30).max_staleness(Duration::from_secs(86_400));
    strategy.memory_tier(memory).directory(DirectoryPolicy::Off)
}

/// Some users.
#[derive(Clone, Debug)]
pub(crate) struct Users {
    payload: Payload,
    count: usize,
}

impl Users {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            payload: Payload::present(6),
            count,
        }
    }

    /// The scopes that a program asks for.
    pub(crate) fn scopes(&self, all: bool) -> Vec<String> {
        let scopes: ScopeSet = match all {
            true => self.payload.granted_scopes(0),
            false => self.payload.requested_scopes(0),
        };
        scopes.words().map(str::to_owned).collect()
    }

    /// The token that is the right answer for `user`.
    pub(crate) fn access_token(&self, user: usize) -> String {
        let partition = self.payload.partition(user, 1);
        partition.access_tokens[0].secret.expose().to_owned()
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn home_account_id(&self, user: usize) -> String {
        self.payload.home_account_id(user)
    }

    pub(crate) fn partitions(&self) -> impl Iterator<Item = Partition> + '_ {
        (0..self.count).map(|user| self.partition(user))
    }

    /// What one user has in the cache.
    pub(crate) fn partition(&self, user: usize) -> Partition {
        let mut partition = self.payload.partition(user, 1);
        let account = &partition.accounts[0];
        let issued = SystemClock.now().to_seconds();
        // MSAL Node reads its claims at every hit.
        let claims = json!({
            "aud": CLIENT_ID, "iss": format!("{}/v2.0", authority_url()), "iat": issued.0, "nbf": issued.0,
            "exp": issued.saturating_add(LIFETIME).0, "name": account.name, "oid": account.local_account_id,
            "preferred_username": account.username, "sub": "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE", "tid": REALM, "ver": "2.0",
        });
        let token = &mut partition.id_tokens[0].secret;
        *token = readable(&claims, token);
        partition
    }

    /// All of them as one MSAL cache, as this project writes it for other programs.
    pub(crate) fn document(&self) -> SecretBytes {
        let partitions: Vec<Partition> = self.partitions().collect();
        msal::write(&msal::from_partitions(&partitions))
    }

    /// The accounts as MSAL Node has them; MSAL Python looks them up by their ID.
    pub(crate) fn accounts(&self) -> Vec<Value> {
        let account = |user| {
            let account = self.payload.partition(user, 1).accounts.remove(0);
            json!({
                "homeAccountId": account.home_account_id,
                "localAccountId": account.local_account_id,
                "environment": account.environment,
                "tenantId": account.realm,
                "username": account.username,
            })
        };
        (0..self.count).map(account).collect()
    }

    /// A cache with all of them, sealed over a store in memory, which has been asked for each once.
    pub(crate) async fn cache(&self) -> Result<TokenCache, QuestionError> {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let cache = open(Arc::clone(&store), in_memory(Strategy::web_front_end())).await?;
        fill(&store, cache.sealer(), &BincodeCodec, self.partitions()).await?;
        warm(&cache, &self.payload, self.count).await?;
        Ok(cache)
    }

    /// The client that they signed in to, and who they are, in the order of their numbers.
    pub(crate) async fn client(
        &self,
        http: Arc<Offline>,
    ) -> Result<(PublicClient, Vec<CachedAccount>), QuestionError> {
        let authority = Authority::entra(&authority_url())?;
        let client = PublicClient::builder(CLIENT_ID, authority, self.cache().await?)
            .http(http)
            .build()?;
        let mut known: std::collections::HashMap<_, _> = client
            .accounts()
            .await?
            .accounts
            .into_iter()
            .map(|account| (account.account.home_account_id.clone(), account))
            .collect();
        let accounts = (0..self.count).map(|user| known.remove(&self.home_account_id(user)));
        let accounts: Option<Vec<_>> = accounts.collect();
        Ok((client, accounts.ok_or("an account is not in the cache")?))
    }
}

/// A JWT with these claims, about as long as `like`. Nobody checks its signature.
fn readable(claims: &Value, like: &Secret) -> Secret {
    let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"RS256","kid":"k1"}"#);
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    let like = like.expose();
    let begin = like
        .len()
        .min(header.len() + claims.len() + 2)
        .min(like.len() - 342);
    Secret::new(format!("{header}.{claims}.{}", like[begin..].replace('.', "_")))
}
