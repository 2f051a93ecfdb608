//! One cache in Redis with real MSAL Node and its `DistributedCachePlugin`, at an authority that both accept.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::sync::Arc;

use cache_core::cache::{CachedAccount, TokenCache};
use cache_core::layout::MsalLayout;
use cache_core::seal::Namespace;
use cache_core::secret::Secret;
use cache_core::store::{PutOptions, Store, StoreKey};
use cache_core::strategy::{MemoryTier, SealPolicy, Strategy};
use cache_redis::RedisConfig;
use cache_redis::layout::{MsalCacheStore, NodeLayout};
use cache_testkit::authority::{
    ALICE, CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Config, FakeAuthority, Grant, HOME_TENANT,
    PUBLIC_CLIENT, Rotation,
};
use cache_testkit::msal_program::{Cache, Error, MsalProgram, Setting};
use cache_testkit::redis::RedisServer;
use flows::TokenSource;
use flows::authority::Authority;
use flows::client::{ClientCredential, ConfidentialClient, PublicClient};
use flows::http::ReqwestClient;
use serde_json::{Value, json};

const SCOPE: &str = "User.Read";

struct Scene {
    authority: FakeAuthority,
    redis: RedisServer,
    store: Arc<MsalCacheStore>,
    cache: TokenCache,
    http: Arc<ReqwestClient>,
}

impl Scene {
    /// Refresh tokens work once, and a second use ends the sign-in.
    async fn set() -> Self {
        let config = Config::default()
            .rotation(Rotation::Strict)
            .auto_approve_devices(0, ALICE);
        let authority = FakeAuthority::start(config).await.unwrap();
        let redis = RedisServer::start().await.unwrap();
        let config = RedisConfig::from_url(&redis.url()).unwrap();
        let store = MsalCacheStore::open_node(config, NodeLayout::default())
            .await
            .unwrap();
        let store = Arc::new(store);
        let strategy = Strategy::web_front_end()
            .memory_tier(MemoryTier::off())
            .seal(SealPolicy::PlaintextAllowed);
        let cache = TokenCache::builder(Arc::<MsalCacheStore>::clone(&store))
            .strategy(strategy)
            .open_plaintext_shared(Namespace::default(), MsalLayout::node())
            .unwrap();
        let http = ReqwestClient::builder()
            .ca_certificates(authority.ca_pem().unwrap())
            .no_proxy()
            .build()
            .unwrap();
        Self {
            authority,
            redis,
            store,
            cache,
            http: Arc::new(http),
        }
    }

    fn url(&self) -> String {
        self.authority.authority_url(HOME_TENANT)
    }

    fn client(&self) -> PublicClient {
        let authority = Authority::detect(&self.url()).unwrap();
        PublicClient::builder(PUBLIC_CLIENT, authority, self.cache.clone())
            .http(self.http.clone())
            .build()
            .unwrap()
    }

    fn confidential(&self) -> ConfidentialClient {
        let authority = Authority::detect(&self.url()).unwrap();
        let secret = ClientCredential::secret(Secret::new(CONFIDENTIAL_SECRET));
        ConfidentialClient::builder(CONFIDENTIAL_CLIENT, authority, secret, self.cache.clone())
            .http(self.http.clone())
            .build()
            .unwrap()
    }

    async fn node(&self, client_id: &str, client_secret: Option<&str>) -> MsalProgram {
        let setting = Setting {
            authority: &self.url(),
            ca_pem: self.authority.ca_pem().unwrap(),
            client_id,
            client_secret,
            cache: Cache::Redis(&self.redis.url()),
        };
        MsalProgram::node(&setting).await.unwrap()
    }

    async fn document(&self, key: &str) -> Value {
        let key = StoreKey::new(key).unwrap();
        let found = self.store.get(&key).await.unwrap().unwrap();
        serde_json::from_slice(&found.payload).unwrap()
    }
}

async fn only_account(client: &PublicClient) -> CachedAccount {
    let mut listing = client.accounts().await.unwrap();
    assert!(listing.unreadable.is_empty(), "{listing:?}");
    assert_eq!(listing.accounts.len(), 1);
    listing.accounts.remove(0)
}

fn rows(document: &Value, section: &str) -> usize {
    document[section].as_object().map_or(0, serde_json::Map::len)
}

/// Lets the program look under `key`.
async fn ask(node: &mut MsalProgram, command: &str, key: &str, mut arguments: Value) -> Result<Value, Error> {
    arguments["key"] = key.into();
    node.ask(command, arguments).await
}

async fn silent(node: &mut MsalProgram, home: &str, force: bool) -> Value {
    let arguments = json!({ "scopes": [SCOPE], "homeAccountId": home, "forceRefresh": force });
    ask(node, "silent", home, arguments).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn node_signs_in_and_each_refreshes_what_the_other_rotated() {
    let scene = Scene::set().await;
    let mut node = scene.node(PUBLIC_CLIENT, None).await;
    let signed_in = ask(&mut node, "deviceCode", "nobody", json!({ "scopes": [SCOPE] }))
        .await
        .unwrap();
    let home = signed_in["homeAccountId"].as_str().unwrap().to_owned();

    let client = scene.client();
    let account = only_account(&client).await;
    assert_eq!(
        (
            account.account.username.as_str(),
            account.account.home_account_id.as_str()
        ),
        (ALICE, home.as_str())
    );
    let found = client
        .acquire_token_silent([SCOPE])
        .account(&account)
        .await
        .unwrap();
    assert_eq!(found.metadata().source, TokenSource::Store);
    assert_eq!(
        found.access_token().expose(),
        signed_in["accessToken"].as_str().unwrap()
    );

    for turn in 0..10 {
        let forced = client
            .acquire_token_silent([SCOPE])
            .account(&account)
            .force_refresh(true)
            .await
            .unwrap();
        let seen = silent(&mut node, &home, false).await;
        assert_eq!(seen["accessToken"], forced.access_token().expose(), "turn {turn}");
        assert_eq!(seen["fromCache"], true);
        let forced = silent(&mut node, &home, true).await;
        assert_eq!(forced["fromCache"], false);
        let seen = client
            .acquire_token_silent([SCOPE])
            .account(&account)
            .await
            .unwrap();
        assert_eq!(
            seen.access_token().expose(),
            forced["accessToken"].as_str().unwrap(),
            "turn {turn}"
        );
    }
    assert_eq!(scene.authority.families_revoked(), 0);
    assert_eq!(scene.authority.grant_count(Grant::RefreshToken).issued, 20);
    let document = scene.document(&home).await;
    for section in ["Account", "IdToken", "AccessToken", "RefreshToken", "AppMetadata"] {
        assert_eq!(rows(&document, section), 1, "{section}: {document}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tokenkeep_signs_in_node_uses_and_a_sign_out_reaches_it() {
    let scene = Scene::set().await;
    let client = scene.client();
    client.acquire_token_by_device_code([SCOPE]).await.unwrap();
    let account = only_account(&client).await;
    let home = account.account.home_account_id.clone();

    // Fields, sections and members of other programs survive both.
    let key = StoreKey::new(&home).unwrap();
    let mut document = scene.document(&home).await;
    for row in document["RefreshToken"].as_object_mut().unwrap().values_mut() {
        row["x_row"] = json!({ "kept": [1] });
    }
    document["Section"] = json!({ "row": { "kept": true } });
    scene
        .store
        .put(&key, document.to_string().into(), PutOptions::overwrite())
        .await
        .unwrap();

    let mut node = scene.node(PUBLIC_CLIENT, None).await;
    assert_eq!(
        ask(&mut node, "accounts", &home, json!({})).await.unwrap(),
        json!([ALICE])
    );
    let found = silent(&mut node, &home, false).await;
    assert_eq!(
        (&found["fromCache"], &found["username"]),
        (&json!(true), &json!(ALICE))
    );
    silent(&mut node, &home, true).await;
    client
        .acquire_token_silent([SCOPE])
        .account(&account)
        .force_refresh(true)
        .await
        .unwrap();
    let document = scene.document(&home).await;
    assert_eq!(rows(&document, "RefreshToken"), 1, "{document}");
    let row = document["RefreshToken"]
        .as_object()
        .unwrap()
        .values()
        .next()
        .unwrap();
    assert_eq!(row["x_row"], json!({ "kept": [1] }));
    assert_eq!(document["Section"], json!({ "row": { "kept": true } }));
    assert_eq!(scene.authority.families_revoked(), 0);

    // MSAL lists accounts from its memory too, but reads anew before it looks for a token.
    assert!(client.remove_account(&account).await.unwrap().found);
    let arguments = json!({ "scopes": [SCOPE], "homeAccountId": home });
    let refused = ask(&mut node, "silent", &home, arguments).await.unwrap_err();
    assert_eq!(refused.refused(), Some("no_tokens_found"));
    assert_eq!(
        ask(&mut node, "accounts", &home, json!({})).await.unwrap(),
        json!([])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_by_node_ends_it_here() {
    let scene = Scene::set().await;
    let client = scene.client();
    client.acquire_token_by_device_code([SCOPE]).await.unwrap();
    let account = only_account(&client).await;
    let home = account.account.home_account_id.clone();
    let mut node = scene.node(PUBLIC_CLIENT, None).await;
    ask(&mut node, "signOut", &home, json!({ "homeAccountId": home }))
        .await
        .unwrap();
    let refused = client
        .acquire_token_silent([SCOPE])
        .account(&account)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, flows::Error::InteractionRequired(_)),
        "{refused:?}"
    );
    assert!(client.accounts().await.unwrap().accounts.is_empty());

    // And signing in again works over what is left.
    client.acquire_token_by_device_code([SCOPE]).await.unwrap();
    assert_eq!(silent(&mut node, &home, false).await["fromCache"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_the_application_are_shared_both_ways() {
    let scopes = json!({ "scopes": ["api://resource/.default"] });
    let key = format!("{CONFIDENTIAL_CLIENT}_{HOME_TENANT}_AppTokenCache");
    for node_first in [true, false] {
        let scene = Scene::set().await;
        let client = scene.confidential();
        let ours = || client.acquire_token_for_client(["api://resource/.default"]);
        let mut node = scene.node(CONFIDENTIAL_CLIENT, Some(CONFIDENTIAL_SECRET)).await;
        let (node_has, we_have);
        if node_first {
            node_has = ask(&mut node, "app", &key, scopes.clone()).await.unwrap();
            we_have = ours().await.unwrap();
        } else {
            we_have = ours().await.unwrap();
            node_has = ask(&mut node, "app", &key, scopes.clone()).await.unwrap();
        }
        assert_eq!(
            node_has["accessToken"],
            we_have.access_token().expose(),
            "node first: {node_first}"
        );
        assert_eq!(node_has["fromCache"], !node_first);
        assert_eq!(scene.authority.grant_count(Grant::ClientCredentials).issued, 1);
    }
}
