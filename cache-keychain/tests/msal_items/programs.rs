//! One item with real MSAL Python and MSAL Node, at an authority that rotates refresh tokens strictly.

use std::path::Path;
use std::sync::Arc;

use cache_core::cache::CachedAccount;
use cache_core::cache::TokenCache;
use cache_core::layout::MsalLayout;
use cache_core::seal::Namespace;
use cache_core::store::Store;
use cache_core::strategy::{MemoryTier, SealPolicy, Strategy};
use cache_keychain::{MsalSecretServiceConfig, MsalSecretServiceStore};
use cache_testkit::authority::{ALICE, Config, FakeAuthority, HOME_TENANT, PUBLIC_CLIENT, Rotation};
use cache_testkit::msal_program::{Cache, ItemName, MsalProgram, Setting};
use flows::TokenSource;
use flows::authority::Authority;
use flows::client::PublicClient;
use flows::http::ReqwestClient;
use serde_json::{Value, json};

use crate::session::{items, within_session};

const SCOPE: &str = "User.Read";
const TURNS: usize = 5;

struct Scene {
    authority: FakeAuthority,
    folder: tempfile::TempDir,
    name: ItemName<'static>,
}

impl Scene {
    async fn set(name: ItemName<'static>) -> Self {
        let config = Config::default()
            .rotation(Rotation::Strict)
            .auto_approve_devices(0, ALICE);
        Self {
            authority: FakeAuthority::start(config).await.unwrap(),
            folder: tempfile::tempdir().unwrap(),
            name,
        }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("cache.bin")
    }

    fn config(&self) -> MsalSecretServiceConfig {
        let path = self.path();
        let config = match self.name {
            ItemName::Account(service, account) => MsalSecretServiceConfig::node(service, account),
            ItemName::Schema(schema, attribute) => MsalSecretServiceConfig::python(schema, [attribute]),
            ItemName::Path => return MsalSecretServiceConfig::python_at(path.to_str().unwrap()),
        };
        config.cache_path(path)
    }

    async fn client(&self) -> PublicClient {
        let store = MsalSecretServiceStore::open(self.config()).await.unwrap();
        let layout = MsalLayout::single_record(store.record());
        let strategy = Strategy::desktop_tool()
            .memory_tier(MemoryTier::off())
            .seal(SealPolicy::PlaintextAllowed);
        let cache = TokenCache::builder(Arc::new(store) as Arc<dyn Store>)
            .strategy(strategy)
            .open_plaintext_shared(Namespace::default(), layout)
            .unwrap();
        let http = ReqwestClient::builder()
            .ca_certificates(self.authority.ca_pem().unwrap())
            .no_proxy()
            .build()
            .unwrap();
        let authority = Authority::detect(&self.authority.authority_url(HOME_TENANT)).unwrap();
        PublicClient::builder(PUBLIC_CLIENT, authority, cache)
            .http(Arc::new(http))
            .build()
            .unwrap()
    }

    async fn program(&self) -> MsalProgram {
        let path = self.path();
        let setting = Setting {
            authority: &self.authority.authority_url(HOME_TENANT),
            ca_pem: self.authority.ca_pem().unwrap(),
            client_id: PUBLIC_CLIENT,
            client_secret: None,
            cache: Cache::Item(Path::new(&path), self.name),
        };
        match self.name {
            ItemName::Account(..) => MsalProgram::node(&setting).await.unwrap(),
            ItemName::Schema(..) | ItemName::Path => MsalProgram::python(&setting).await.unwrap(),
        }
    }

    /// The document in the item, of which there is one.
    async fn document(&self) -> Value {
        assert_eq!(items().len(), 1, "{:?}", items());
        let store = MsalSecretServiceStore::open(self.config()).await.unwrap();
        let found = store.get(&store.record()).await.unwrap().unwrap();
        serde_json::from_slice(&found.payload).unwrap()
    }
}

async fn only_account(client: &PublicClient) -> CachedAccount {
    let mut listing = client.accounts().await.unwrap();
    assert!(listing.unreadable.is_empty(), "{listing:?}");
    assert_eq!(listing.accounts.len(), 1);
    listing.accounts.remove(0)
}

/// The token, and whether nobody was asked for it.
async fn silent(client: &PublicClient, account: &CachedAccount, force: bool) -> (String, bool) {
    let silent = client.acquire_token_silent([SCOPE]).account(account);
    let result = silent.force_refresh(force).await.unwrap();
    let is_cached = result.metadata().source != TokenSource::Authority;
    (result.access_token().expose().to_owned(), is_cached)
}

async fn their_silent(program: &mut MsalProgram, home: &str, force: bool) -> (String, bool) {
    let arguments = json!({ "scopes": [SCOPE], "homeAccountId": home, "forceRefresh": force });
    let answer = program.ask("silent", arguments).await.unwrap();
    let token = answer["accessToken"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"));
    (token.to_owned(), answer["fromCache"].as_bool().unwrap())
}

/// The program signs in, and then each uses and refreshes what the other wrote.
async fn take_turns(name: ItemName<'static>) {
    let scene = Scene::set(name).await;
    let mut program = scene.program().await;
    let arguments = json!({ "scopes": [SCOPE] });
    let signed_in = program.ask("deviceCode", arguments).await.unwrap();
    let home = signed_in["homeAccountId"].as_str().unwrap().to_owned();
    let attributes = items();

    let client = scene.client().await;
    let account = only_account(&client).await;
    assert_eq!(account.account.username, ALICE);
    let token = signed_in["accessToken"].as_str().unwrap().to_owned();
    assert_eq!(silent(&client, &account, false).await, (token, true));
    for turn in 0..TURNS {
        let (token, is_cached) = silent(&client, &account, true).await;
        assert!(!is_cached, "turn {turn}");
        assert_eq!(
            their_silent(&mut program, &home, false).await,
            (token, true),
            "turn {turn}"
        );
        let (token, is_cached) = their_silent(&mut program, &home, true).await;
        assert!(!is_cached, "turn {turn}");
        assert_eq!(
            silent(&client, &account, false).await,
            (token, true),
            "turn {turn}"
        );
    }
    assert_eq!(scene.authority.families_revoked(), 0);
    assert_eq!(items(), attributes, "the item is the program's still");
    let document = scene.document().await;
    for section in ["Account", "IdToken", "AccessToken", "RefreshToken", "AppMetadata"] {
        let rows = document[section].as_object().map_or(0, serde_json::Map::len);
        assert_eq!(rows, 1, "{section}: {document}");
    }
}

/// The item is made here; the program finds what is in it, and that it is gone.
async fn begin_here(name: ItemName<'static>) {
    let scene = Scene::set(name).await;
    let client = scene.client().await;
    let signed_in = client.acquire_token_by_device_code([SCOPE]).await.unwrap();
    let account = only_account(&client).await;
    let home = account.account.home_account_id.clone();

    let mut program = scene.program().await;
    assert_eq!(program.ask("accounts", json!({})).await.unwrap(), json!([ALICE]));
    let token = signed_in.access_token().expose().to_owned();
    assert_eq!(their_silent(&mut program, &home, false).await, (token, true));
    let (token, _) = their_silent(&mut program, &home, true).await;
    assert_eq!(silent(&client, &account, false).await, (token, true));
    scene.document().await;

    assert!(client.remove_account(&account).await.unwrap().found);
    program.ask("restart", json!({})).await.unwrap();
    assert_eq!(program.ask("accounts", json!({})).await.unwrap(), json!([]));
    // And once more over what a sign-out leaves.
    program
        .ask("deviceCode", json!({ "scopes": [SCOPE] }))
        .await
        .unwrap();
    assert_eq!(only_account(&client).await.account.username, ALICE);
    scene.document().await;
}

const NODE: ItemName<'static> = ItemName::Account("mytool", "cache");
const PYTHON: ItemName<'static> = ItemName::Schema("mytool", ("kind", "token cache"));

#[tokio::test(flavor = "multi_thread")]
async fn node_and_tokenkeep_take_turns() {
    within_session("programs::node_and_tokenkeep_take_turns", take_turns(NODE)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_finds_an_item_that_was_made_here() {
    within_session(
        "programs::node_finds_an_item_that_was_made_here",
        begin_here(NODE),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_and_tokenkeep_take_turns() {
    within_session("programs::python_and_tokenkeep_take_turns", take_turns(PYTHON)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_and_tokenkeep_take_turns_at_an_item_named_by_its_path() {
    within_session(
        "programs::python_and_tokenkeep_take_turns_at_an_item_named_by_its_path",
        take_turns(ItemName::Path),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_finds_an_item_that_was_made_here() {
    within_session(
        "programs::python_finds_an_item_that_was_made_here",
        begin_here(PYTHON),
    )
    .await;
}
