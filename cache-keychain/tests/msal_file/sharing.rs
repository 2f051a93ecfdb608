//! A token cache over the file.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::layout::MsalLayout;
use cache_core::schema::{
    Account, AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, TokenContext, TokenResponse, TokenType,
};
use cache_core::seal::Namespace;
use cache_core::secret::Secret;
use cache_core::strategy::{SealPolicy, Strategy};
use cache_core::time::{Clock, SystemClock};
use serde_json::Value;

use crate::support::{child_file, names_in, open, process, runtime};

const HOST: &str = "login.microsoftonline.com";
const TENANT: &str = "00000000-0000-0000-0000-00000000000b";
const CLIENT: &str = "client";

const PROCESSES: usize = 16;
const USERS: usize = 3;

async fn cache(path: &Path, strategy: Strategy) -> TokenCache {
    let store = open(path).await;
    let layout = MsalLayout::single_record(store.record());
    TokenCache::builder(Arc::new(store))
        .strategy(strategy.seal(SealPolicy::PlaintextAllowed))
        .open_plaintext_shared(Namespace::default(), layout)
        .unwrap()
}

async fn sign_in(cache: &TokenCache, user: &str) {
    let home_account_id = format!("{user}.{TENANT}");
    let key = PartitionKey::User {
        authority: AuthorityIdentity::of_host(AuthorityKind::Entra, HOST),
        home_account_id: home_account_id.clone(),
    };
    let now = SystemClock.now().to_seconds();
    let scopes = ScopeSet::parse("User.Read");
    let response = TokenResponse {
        client_id: CLIENT.to_owned(),
        environment: HOST.to_owned(),
        realm: TENANT.to_owned(),
        scopes: scopes.clone(),
        requested_scopes: scopes,
        token_type: TokenType::Bearer,
        access_token: Some(Secret::new(format!("access-{user}"))),
        requested_at: now,
        expires_on: now.saturating_add(Duration::from_secs(3_600)),
        extended_expires_on: None,
        refresh_on: None,
        refresh_token: Some(Secret::new(format!("refresh-{user}"))),
        refresh_token_expires_on: None,
        family_id: None,
        id_token: Some(Secret::new("header.claims.signature")),
        account: Some(Account {
            home_account_id,
            environment: HOST.to_owned(),
            realm: TENANT.to_owned(),
            local_account_id: user.to_owned(),
            username: format!("{user}@contoso.test"),
            authority_type: "MSSTS".to_owned(),
            name: None,
            issuer: None,
            tenant_profiles: Vec::new(),
            foreign: None,
        }),
        context: TokenContext::default(),
    };
    cache.sign_in(&key, response).await.unwrap();
}

fn names_of_accounts(path: &Path) -> Vec<String> {
    let document: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let accounts = document["Account"].as_object().unwrap().values();
    let names = accounts.map(|account| account["username"].as_str().unwrap().to_owned());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_cache_whose_partitions_would_expire_keeps_them_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("msal_token_cache.json");
    for idle_lifetime in [Some(Duration::from_secs(86_400)), None] {
        let strategy = Strategy::desktop_tool().idle_lifetime(idle_lifetime);
        let cache = cache(&path, strategy).await;
        sign_in(&cache, "alice").await;
        sign_in(&cache, "bob").await;
        assert_eq!(cache.accounts().await.unwrap().accounts.len(), 2);
        assert_eq!(
            names_of_accounts(&path),
            ["alice@contoso.test", "bob@contoso.test"]
        );
    }
    assert_eq!(names_in(directory.path()), ["msal_token_cache.json"]);
}

#[tokio::test]
async fn what_another_program_writes_is_there_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (path, other) = (
        directory.path().join("one.json"),
        directory.path().join("two.json"),
    );
    let (one, two) = (
        cache(&path, Strategy::desktop_tool()).await,
        cache(&other, Strategy::desktop_tool()).await,
    );
    sign_in(&one, "alice").await;
    assert_eq!(one.accounts().await.unwrap().accounts.len(), 1);
    sign_in(&two, "alice").await;
    sign_in(&two, "bob").await;
    fs::copy(&other, &path).unwrap();
    assert_eq!(one.accounts().await.unwrap().accounts.len(), 2);
}

#[test]
fn processes_that_sign_users_in_at_once_lose_none() {
    if let Some(path) = child_file() {
        return runtime().block_on(async {
            let cache = cache(&path, Strategy::desktop_tool()).await;
            for user in 0..USERS {
                sign_in(&cache, &format!("{}-{user}", std::process::id())).await;
            }
        });
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("msal_token_cache.json");
    let children: Vec<_> = (0..PROCESSES)
        .map(|_| {
            process("sharing::processes_that_sign_users_in_at_once_lose_none", &path)
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(names_of_accounts(&path).len(), PROCESSES * USERS);
    assert_eq!(names_in(directory.path()), ["msal_token_cache.json"]);
}
