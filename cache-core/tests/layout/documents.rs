//! Documents of every layout: what is read, written and left.

use std::sync::Arc;
use std::time::Duration;

use crate::scene::*;
use crate::support::*;
use cache_core::cache::{AcquireOptions, CacheError, RecordInfo, SignOutScope, TokenCache, TokenSource};
use cache_core::layout::MsalLayout;
use cache_core::schema::{AuthorityKind, PartitionKey, ScopeSet, TokenRequest};
use cache_core::seal::Namespace;
use cache_core::store::error::ErrorKind;
use cache_core::store::{PutOptions, Store};
use cache_core::strategy::{OutagePolicy, Partitioning, Strategy};
use cache_core::time::Clock;
use serde_json::json;

#[tokio::test]
async fn what_node_wrote_serves_and_is_refreshed_under_its_own_name() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let refresh_token = issuer.sign_in("User.Read").refresh_token.unwrap();
    let before = node_document(clock.now().to_seconds().0, refresh_token.expose());
    write(&store, HOME, &before).await;
    let cache = shared(&store, &clock, MsalLayout::node());

    let found = silent(&cache, &issuer, "User.Read").await.unwrap();
    assert_eq!(found, ("canary-node-access".into(), TokenSource::Store));
    assert_eq!(
        cache.accounts().await.unwrap().accounts[0]
            .account
            .name
            .as_deref(),
        Some("Alice")
    );

    clock.advance(Duration::from_secs(3600));
    let (fresh, source) = silent(&cache, &issuer, "User.Read").await.unwrap();
    assert_eq!(source, TokenSource::Authority);
    let after = document(&store, HOME).await;
    for (section, canary) in [
        ("AccessToken", fresh.as_str()),
        ("RefreshToken", "canary-refresh-3"),
    ] {
        let ((old_name, _), (name, row)) = (only(&before, section), only(&after, section));
        assert_eq!((name, &row["secret"]), (old_name, &json!(canary)));
        assert_eq!(row["environment"], "login.windows.net");
    }
    let (_, refresh_row) = only(&after, "RefreshToken");
    assert_eq!(refresh_row["x_token"], json!([1, null]));
    assert!(refresh_row["last_modification_time"].is_string());
    assert_eq!(only(&after, "Account").1["x_account"], 7);
    assert_eq!(
        (&after["Unknown"], &after["Member"]),
        (&before["Unknown"], &before["Member"])
    );
    assert_eq!(only(&after, "AppMetadata"), only(&before, "AppMetadata"));
}

#[tokio::test]
async fn a_new_sign_in_is_written_as_node_and_dot_net_would() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let node = shared(&store, &clock, MsalLayout::node());
    node.sign_in(&alice(), as_entra(issuer.sign_in("User.Read")))
        .await
        .unwrap();
    let written = document(&store, HOME).await;
    let named = |section| only(&written, section).0.clone();
    let environment = "login.windows.net";
    assert_eq!(named("Account"), format!("{HOME}-{environment}-{TENANT}"));
    assert_eq!(
        named("IdToken"),
        format!("{HOME}-{environment}-idtoken-{CLIENT}-{TENANT}--")
    );
    assert_eq!(
        named("AccessToken"),
        format!("{HOME}-{environment}-accesstoken-{CLIENT}-{TENANT}-user.read-")
    );
    assert_eq!(
        named("RefreshToken"),
        format!("{HOME}-{environment}-refreshtoken-{CLIENT}---")
    );
    assert_eq!(
        named("AppMetadata"),
        format!("appmetadata-{environment}-{CLIENT}")
    );

    let dot_net = shared(
        &store,
        &clock,
        MsalLayout::suggested_keys().user_key(|home| format!("net:{home}")),
    );
    dot_net
        .sign_in(&alice(), as_entra(issuer.sign_in("User.Read")))
        .await
        .unwrap();
    let written = document(&store, &format!("net:{HOME}")).await;
    assert_eq!(
        only(&written, "RefreshToken").0,
        &format!("{HOME}-{environment}-refreshtoken-{CLIENT}--")
    );
    // Two records of one user: each layout sees its own.
    assert_eq!(dot_net.accounts().await.unwrap().accounts.len(), 1);
}

#[tokio::test]
async fn tokens_of_applications_are_where_and_as_msal_looks_for_them() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let cache = shared(&store, &clock, MsalLayout::node());
    let key = cache.app_partition(CLIENT, &entra(), TENANT, &ScopeSet::parse(".default"));
    let scopes = ScopeSet::parse("api/.default");
    let request = Arc::new(TokenRequest::new(
        key,
        AuthorityKind::Entra,
        CLIENT,
        HOST,
        TENANT,
        scopes,
    ));
    let call = AppCall(issuer.call("api/.default"));
    let options = AcquireOptions::default();
    let first = cache
        .acquire_app(Arc::clone(&request), options, Arc::new(call))
        .await
        .unwrap();
    let record = format!("{CLIENT}_{TENANT}_AppTokenCache");
    let written = document(&store, &record).await;
    let (name, row) = only(&written, "AccessToken");
    assert_eq!(
        name,
        &format!("-login.windows.net-accesstoken-{CLIENT}-{TENANT}-api/.default-")
    );
    assert_eq!(
        (&row["home_account_id"], &row["realm"]),
        (&json!(""), &json!(TENANT))
    );

    let other = shared(&store, &clock, MsalLayout::suggested_keys());
    let call = AppCall(issuer.call("api/.default"));
    let again = other.acquire_app(request, options, Arc::new(call)).await.unwrap();
    assert_eq!(again.token().secret, first.token().secret);
    assert_eq!(issuer.obtained(), 1);
}

#[tokio::test]
async fn a_sign_out_leaves_what_is_others() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let refresh_token = issuer.sign_in("a").refresh_token.unwrap();
    write(&store, HOME, &node_document(0, refresh_token.expose())).await;
    let node = shared(&store, &clock, MsalLayout::node());
    let removed = node
        .sign_out_with_tokens(&alice(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    assert_eq!(removed.refresh_tokens, [refresh_token]);
    let left = document(&store, HOME).await;
    for section in ["Account", "IdToken", "AccessToken", "RefreshToken"] {
        assert!(
            left[section].as_object().is_none_or(serde_json::Map::is_empty),
            "{section}"
        );
    }
    assert_eq!(
        (&left["Unknown"]["anything"]["at"], &left["Member"]),
        (&json!("all"), &json!(5))
    );

    // Where nothing of anybody is left, nothing stays.
    store.delete(&record(HOME), None).await.unwrap();
    for layout in [MsalLayout::node(), MsalLayout::suggested_keys()] {
        let cache = shared(&store, &clock, layout);
        for _ in 0..2 {
            cache
                .sign_in(&alice(), as_entra(issuer.sign_in("a")))
                .await
                .unwrap();
            assert_eq!(cache.accounts().await.unwrap().accounts.len(), 1);
            assert!(
                cache
                    .sign_out(&alice(), CLIENT, SignOutScope::Client)
                    .await
                    .unwrap()
            );
            assert_eq!(store.get(&record(HOME)).await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn rows_of_hosts_that_are_not_configured_serve_nobody() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let forged = node_document(clock.now().to_seconds().0, "canary-forged")
        .to_string()
        .replace("login.windows.net", "login.windows.net.evil.example");
    write(&store, HOME, &serde_json::from_str(&forged).unwrap()).await;
    let cache = shared(&store, &clock, MsalLayout::node());
    let refused = silent(&cache, &issuer, "User.Read").await.unwrap_err();
    assert!(refused.is_interaction_required());
    assert!(issuer.sent().is_empty());

    // They stay beside the rows of the real sign-in.
    cache
        .sign_in(&alice(), as_entra(issuer.sign_in("User.Read")))
        .await
        .unwrap();
    assert_ne!(
        silent(&cache, &issuer, "User.Read").await.unwrap().0,
        "canary-node-access"
    );
    assert_eq!(
        document(&store, HOME).await["RefreshToken"]
            .as_object()
            .unwrap()
            .len(),
        2
    );
    cache
        .sign_out(&alice(), CLIENT, SignOutScope::Client)
        .await
        .unwrap();
    assert_eq!(
        only(&document(&store, HOME).await, "RefreshToken").1["secret"],
        "canary-forged"
    );
}

#[tokio::test]
async fn what_is_not_a_cache_is_reported_and_left_alone() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let protected = [0x09, 0xF0, 0xC9, 0xF0, 1, 2, 3];
    store
        .put(&record(HOME), protected.to_vec().into(), PutOptions::overwrite())
        .await
        .unwrap();
    write(&store, "somebody:elses", &json!("no cache at all")).await;
    let cache = shared(&store, &clock, MsalLayout::suggested_keys());
    let refused = silent(&cache, &issuer, "a").await.unwrap_err();
    assert!(
        matches!(&refused, CacheError::Store(error) if error.kind() == ErrorKind::Corrupt),
        "{refused:?}"
    );
    let refused = cache
        .sign_in(&alice(), as_entra(issuer.sign_in("a")))
        .await
        .unwrap_err();
    assert!(refused.is_storage());
    let listing = cache.accounts().await.unwrap();
    assert_eq!((listing.accounts.len(), listing.unreadable.len()), (0, 1));
    let (unreadable, _) = &listing.unreadable[0];
    let records = cache.inspect().await.unwrap();
    let is_unreadable = |record: &&RecordInfo| matches!(record.contents, Some(Err(_)));
    let unread: Vec<_> = records
        .iter()
        .filter(is_unreadable)
        .map(|record| &record.key)
        .collect();
    assert_eq!(unread, [unreadable]);
    for outcome in [
        cache.store().delete(unreadable, None).await,
        cache
            .store()
            .put(unreadable, "x".into(), PutOptions::overwrite())
            .await
            .map(drop),
    ] {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    let kept = store.get(&record(HOME)).await.unwrap().unwrap();
    assert_eq!(kept.payload, protected.as_slice());
}

#[tokio::test]
async fn one_record_can_hold_everything() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    write(
        &store,
        "file",
        &node_document(clock.now().to_seconds().0, "canary-other"),
    )
    .await;
    let cache = shared(&store, &clock, MsalLayout::single_record(record("file")));
    cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    assert_eq!(
        silent(&cache, &issuer, "User.Read").await.unwrap().0,
        "canary-node-access"
    );
    assert_eq!(cache.accounts().await.unwrap().accounts.len(), 2);
    let written = document(&store, "file").await;
    assert_eq!(written["RefreshToken"].as_object().unwrap().len(), 2);
    // Other programs that share files name rows by the host that they asked.
    assert!(
        written["RefreshToken"]
            .get(format!("sub-1-issuer.example-refreshtoken-{CLIENT}--"))
            .is_some()
    );
    assert!(cache.forget_account(&user()).await.unwrap());
    assert_eq!(
        only(&document(&store, "file").await, "RefreshToken").1["secret"],
        "canary-other"
    );
}

#[tokio::test]
async fn no_account_name_reaches_our_own_records() {
    let (clock, store) = parts();
    let cache = shared(&store, &clock, MsalLayout::node());
    let mut key = alice();
    let PartitionKey::User { home_account_id, .. } = &mut key else {
        unreachable!()
    };
    "tokenkeep.plaintext/session/x".clone_into(home_account_id);
    let mut granted = as_entra(Issuer::new(&clock).sign_in("a"));
    home_account_id.clone_into(&mut granted.account.as_mut().unwrap().home_account_id);
    cache.sign_in(&key, granted).await.unwrap();
    assert!(
        store
            .get(&record("tokenkeep.plaintext/session/x"))
            .await
            .unwrap()
            .is_none()
    );
    assert!(store.get(&cache.stored_key(&key)).await.unwrap().is_some());
}

#[tokio::test]
async fn the_strategy_must_allow_it() {
    let (_, store) = parts();
    let open = |strategy| {
        TokenCache::builder(Arc::clone(&store))
            .strategy(strategy)
            .open_plaintext_shared(Namespace::default(), MsalLayout::node())
    };
    for strategy in [
        Strategy::web_front_end(),
        strategy().partitioning(Partitioning::AppByResource),
        strategy().outage(OutagePolicy::Fallback {
            store: Arc::clone(&store),
            at_most: Duration::from_secs(60),
        }),
    ] {
        assert!(matches!(open(strategy), Err(CacheError::Strategy(_))));
    }
    assert!(open(strategy()).is_ok());
}

#[tokio::test]
async fn what_is_imported_again_is_there_once_although_its_scopes_are_sorted_now() {
    let (clock, store) = parts();
    let now = clock.now().to_seconds().0;
    let mut file = node_document(now, "canary-refresh");
    let (name, _) = only(&file, "AccessToken");
    let name = name.to_owned();
    file["AccessToken"][&name]["target"] = json!("zeta alpha openid");
    let layout = MsalLayout::single_record(record("file"));
    let cache = shared(&store, &clock, layout);
    for _ in 0..3 {
        let identify = |origin: &cache_core::codec::msal::RowOrigin<'_>| origin.default_identity();
        cache
            .import(file.to_string().as_bytes(), &identify)
            .await
            .unwrap();
        let kept = document(&store, "file").await;
        for section in ["AccessToken", "RefreshToken", "Account"] {
            only(&kept, section);
        }
    }
}
