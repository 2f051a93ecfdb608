//! One record for all: each rule for the rows that are written, on the bytes.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{TokenCache, TokenSource};
use cache_core::layout::MsalLayout;
use cache_core::schema::TenantProfile;
use cache_core::store::Store;
use cache_core::time::Clock;
use cache_testkit::clock::ManualClock;
use serde_json::{Map, Value, json};

use crate::scene::*;
use crate::support::*;

pub(crate) const FILE: &str = "file";
pub(crate) const SECTIONS: [&str; 5] = ["Account", "IdToken", "AccessToken", "RefreshToken", "AppMetadata"];

pub(crate) fn over_file(store: &Arc<dyn Store>, clock: &ManualClock) -> TokenCache {
    shared(store, clock, MsalLayout::single_record(record(FILE)))
}

pub(crate) fn rows(document: &Value) -> impl Iterator<Item = (&str, &Map<String, Value>)> {
    SECTIONS.into_iter().flat_map(|section| {
        let rows = document[section].as_object().unwrap().values();
        rows.map(move |row| (section, row.as_object().unwrap()))
    })
}

/// A document with `rows` as its refresh tokens, in this order.
pub(crate) async fn write_refresh_tokens(
    store: &Arc<dyn Store>,
    clock: &ManualClock,
    rows: &[(&str, Value)],
) {
    let mut document = node_document(clock.now().to_seconds().0, "");
    document["RefreshToken"] = json!("refresh tokens");
    document["AccessToken"] = json!({});
    let rows: Vec<_> = rows
        .iter()
        .map(|(name, row)| format!("{}:{row}", json!(name)))
        .collect();
    let json = document.to_string();
    let json = json.replace("\"refresh tokens\"", &format!("{{{}}}", rows.join(",")));
    let options = cache_core::store::PutOptions::overwrite();
    store.put(&record(FILE), json.into(), options).await.unwrap();
}

/// As Python writes it, with a time, or as Node does, without.
pub(crate) fn refresh_token(secret: &str, modified: Option<i64>) -> Value {
    let mut row = json!({
        "home_account_id": HOME, "environment": "login.windows.net", "credential_type": "RefreshToken",
        "client_id": CLIENT, "secret": secret,
    });
    if let Some(modified) = modified {
        row["last_modification_time"] = modified.to_string().into();
    }
    row
}

/// Two users of a file, and two clients of one family: a family's token stays for its other member.
pub(crate) fn pythons() -> String {
    format!("{HOME}-login.windows.net-refreshtoken-{CLIENT}--")
}

pub(crate) fn nodes() -> String {
    format!("{HOME}-login.windows.net-refreshtoken-{CLIENT}---")
}

#[tokio::test]
async fn a_member_that_is_signed_out_is_so_for_one_user_and_for_good() {
    let (clock, store) = parts();
    let _ticking = ticking(&clock);
    let issuer = Issuer::new(&clock);
    let token = issuer.sign_in("User.Read").refresh_token.unwrap();
    let mut first = node_document(clock.now().to_seconds().0, token.expose());
    let tokens = first["AccessToken"].as_object_mut().unwrap();
    let mut others = tokens.values().next().unwrap().clone();
    others["client_id"] = "other-member".into();
    tokens.insert("of the other member".into(), others);
    for row in first["RefreshToken"].as_object_mut().unwrap().values_mut() {
        row["family_id"] = "1".into();
    }
    first["AppMetadata"] = json!({});
    for client in [CLIENT, "other-member"] {
        first["AppMetadata"][format!("appmetadata-login.windows.net-{client}")] =
            json!({ "client_id": client, "environment": "login.windows.net", "family_id": "1" });
    }
    let second: Value = serde_json::from_str(
        &first
            .to_string()
            .replace(HOME, "somebody.else")
            .replace(token.expose(), "theirs"),
    )
    .unwrap();
    for section in ["Account", "AccessToken", "RefreshToken"] {
        let into = first[section].as_object_mut().unwrap();
        for (name, row) in second[section].as_object().unwrap() {
            into.insert(format!("{name} of somebody else"), row.clone());
        }
    }
    let somebody = cache_core::schema::PartitionKey::User {
        authority: entra(),
        home_account_id: "somebody.else".into(),
    };
    for (signed_out, is_served) in [(somebody, true), (alice(), false)] {
        write(&store, FILE, &first).await;
        let cache = over_file(&store, &clock);
        let scope = cache_core::cache::SignOutScope::Client;
        assert!(cache.sign_out(&signed_out, CLIENT, scope).await.unwrap());
        assert!(document(&store, FILE).await.to_string().contains("theirs"));
        let found = silent(&over_file(&store, &clock), &issuer, "Mail.Read").await;
        match found {
            Ok(_) => assert!(is_served, "the sign-out was undone"),
            Err(error) => assert!(!is_served && error.is_interaction_required(), "{error:?}"),
        }
    }
}

/// There is one row of a client's metadata for all users.
#[tokio::test]
async fn a_new_user_leaves_what_others_know_of_the_client() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let mut other = node_document(clock.now().to_seconds().0, "canary-other");
    let metadata = &mut other["AppMetadata"][format!("appmetadata-login.windows.net-{CLIENT}")];
    metadata["x_metadata"] = json!([1]);
    metadata["family_id"] = "1".into();
    let other = other.to_string().replace(HOME, "somebody.else");
    write(&store, FILE, &serde_json::from_str(&other).unwrap()).await;
    let cache = over_file(&store, &clock);
    let mut response = as_entra(issuer.sign_in("User.Read"));
    response.family_id = Some("1".into());
    cache.sign_in(&alice(), response).await.unwrap();
    let written = document(&store, FILE).await;
    let (_, row) = only(&written, "AppMetadata");
    assert_eq!(
        (&row["family_id"], &row["x_metadata"]),
        (&json!("1"), &json!([1])),
        "{row}"
    );
}

/// Rule 1.
#[tokio::test]
async fn new_rows_have_the_environment_that_the_document_has_for_the_cloud() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    // Somebody else signed in by Node, which keeps rows under another host of the cloud.
    let other = node_document(clock.now().to_seconds().0, "canary-other");
    let other = other.to_string().replace(HOME, "somebody.else");
    write(&store, FILE, &serde_json::from_str(&other).unwrap()).await;
    let cache = over_file(&store, &clock);
    cache
        .sign_in(&alice(), as_entra(issuer.sign_in("User.Read")))
        .await
        .unwrap();
    let written = document(&store, FILE).await;
    for (section, row) in rows(&written) {
        assert_eq!(row["environment"], "login.windows.net", "{section}");
    }
    assert_eq!(
        only(&written, "AppMetadata").0,
        &format!("appmetadata-login.windows.net-{CLIENT}")
    );
    assert_eq!(
        silent(&cache, &issuer, "User.Read").await.unwrap().1,
        TokenSource::Store
    );
}

#[tokio::test]
async fn new_rows_have_no_port_because_python_knows_none() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let cache = over_file(&store, &clock);
    let mut granted = as_entra(issuer.sign_in("User.Read"));
    granted.environment = format!("{HOST}:8443");
    granted.account.as_mut().unwrap().environment = format!("{HOST}:8443");
    cache.sign_in(&alice(), granted).await.unwrap();
    let written = document(&store, FILE).await;
    for (section, row) in rows(&written) {
        assert_eq!(row["environment"], HOST, "{section}");
    }
    let name = format!("{HOME}-{HOST}-refreshtoken-{CLIENT}--");
    assert_eq!(only(&written, "RefreshToken").0, &name);
    assert!(silent(&cache, &issuer, "User.Read").await.is_ok());
}

/// Rule 2.
#[tokio::test]
async fn a_write_leaves_one_row_of_each_whatever_hosts_and_names_there_were() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let token = issuer.sign_in("User.Read").refresh_token.unwrap();
    let mut before = node_document(clock.now().to_seconds().0, token.expose());
    let id_token = json!({
        "home_account_id": HOME, "environment": "login.windows.net", "credential_type": "IdToken",
        "client_id": CLIENT, "realm": TENANT, "secret": "old.id.token",
    });
    before["IdToken"] = json!({ "one": id_token, "another": id_token });
    // The same under another host of the cloud, as Python adds it; another client of another user has a copy of the metadata, too.
    for section in ["AccessToken", "AppMetadata"] {
        let (name, row) = only(&before, section);
        let (name, row) = (name.clone(), row.to_string());
        let alias: Value = serde_json::from_str(&row.replace("login.windows.net", HOST)).unwrap();
        before[section][name.replace("login.windows.net", HOST)] = alias;
    }
    let bob = json!({
        "home_account_id": "bob.tenant", "environment": HOST, "credential_type": "RefreshToken", "client_id": CLIENT,
        "secret": "canary-bob",
    });
    before["RefreshToken"]["bob"] = bob;
    write(&store, FILE, &before).await;
    clock.advance(Duration::from_secs(3600));
    let cache = over_file(&store, &clock);
    silent(&cache, &issuer, "User.Read").await.unwrap();
    let written = document(&store, FILE).await;
    for section in ["Account", "IdToken", "AccessToken", "AppMetadata"] {
        only(&written, section);
    }
    assert_eq!(written["RefreshToken"].as_object().unwrap().len(), 2);
    for (section, row) in rows(&written) {
        let always: &[&str] = match section {
            "Account" => &["realm", "local_account_id", "authority_type", "username"],
            "IdToken" => &["realm"],
            "AccessToken" => &["realm", "target"],
            _ => &["client_id"],
        };
        for field in always {
            assert!(row.contains_key(*field), "{section}: {field}");
        }
    }
}

/// Rule 3.
#[tokio::test]
async fn times_are_texts_and_nothing_is_null_or_empty() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let cache = over_file(&store, &clock);
    let mut granted = as_entra(issuer.sign_in("User.Read"));
    let now = clock.now().to_seconds();
    granted.extended_expires_on = Some(now.saturating_add(Duration::from_secs(7200)));
    granted.refresh_on = Some(now.saturating_add(Duration::from_secs(1800)));
    cache.sign_in(&alice(), granted).await.unwrap();
    let written = document(&store, FILE).await;
    for (section, row) in rows(&written) {
        for (field, value) in row {
            assert!(
                value.as_str().is_some_and(|text| !text.is_empty()),
                "{section}: {field} is {value}"
            );
        }
    }
    let (_, token) = only(&written, "AccessToken");
    for (field, after) in [
        ("cached_at", 0),
        ("expires_on", 3600),
        ("extended_expires_on", 7200),
        ("refresh_on", 1800),
    ] {
        assert_eq!(token[field], (now.0 + after).to_string(), "{field}");
    }
}

/// Rule 4.
#[tokio::test]
async fn the_youngest_of_several_refresh_tokens_is_spent_and_the_reply_replaces_all() {
    // Who was last, and under whose name the next one belongs: what comes first is replaced next, and what comes behind is younger.
    let cases = [
        (vec![(nodes(), None), (pythons(), Some(0))], 1, nodes()),
        (vec![(pythons(), Some(0)), (nodes(), None)], 1, pythons()),
        (
            vec![(pythons(), Some(5)), ("python's of other scopes".into(), Some(3))],
            0,
            pythons(),
        ),
        (
            vec![(pythons(), Some(5)), ("python's of other scopes".into(), Some(5))],
            1,
            pythons(),
        ),
        (vec![(nodes(), None)], 0, nodes()),
    ];
    for (before, youngest, kept) in cases {
        let (clock, store) = parts();
        let issuer = Issuer::new(&clock);
        let live = issuer.sign_in("User.Read").refresh_token.unwrap();
        let since = clock.now().to_seconds().0 - 10;
        let before: Vec<_> = before
            .iter()
            .enumerate()
            .map(|(index, (name, modified))| {
                let secret = if index == youngest {
                    live.expose()
                } else {
                    "canary-spent"
                };
                (
                    name.as_str(),
                    refresh_token(secret, modified.map(|after| since + after)),
                )
            })
            .collect();
        write_refresh_tokens(&store, &clock, &before).await;
        silent(&over_file(&store, &clock), &issuer, "User.Read")
            .await
            .unwrap();
        assert_eq!(issuer.sent(), [live.expose()], "{before:?}");
        let written = document(&store, FILE).await;
        let (name, row) = only(&written, "RefreshToken");
        assert_eq!(name, &kept, "{before:?}");
        assert_eq!(
            row["last_modification_time"],
            clock.now().to_seconds().to_string()
        );
        assert!(issuer.is_live(&cache_core::secret::Secret::new(row["secret"].as_str().unwrap())));
    }
}

#[tokio::test]
async fn the_order_of_rows_stays_when_others_are_written() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let live = issuer.sign_in("User.Read").refresh_token.unwrap();
    let before = [
        (nodes(), refresh_token("canary-spent", None)),
        (pythons(), refresh_token(live.expose(), Some(5))),
    ];
    let before: Vec<_> = before
        .iter()
        .map(|(name, row)| (name.as_str(), row.clone()))
        .collect();
    write_refresh_tokens(&store, &clock, &before).await;
    let cache = over_file(&store, &clock);
    cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    let found = store.get(&record(FILE)).await.unwrap().unwrap();
    let text = std::str::from_utf8(&found.payload).unwrap();
    let at = |name: &str| text.find(&json!(name).to_string()).unwrap();
    assert!(at(&nodes()) < at(&pythons()), "{text}");
    let kept = &document(&store, FILE).await["RefreshToken"][&nodes()];
    assert_eq!(*kept, refresh_token("canary-spent", None));
    silent(&cache, &issuer, "User.Read").await.unwrap();
    assert_eq!(issuer.sent(), [live.expose()]);
}

/// Rule 6.
#[tokio::test]
async fn tenant_profiles_are_texts_of_json_or_left_out() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let cache = over_file(&store, &clock);
    let mut granted = as_entra(issuer.sign_in("User.Read"));
    cache.sign_in(&alice(), granted.clone()).await.unwrap();
    assert!(
        only(&document(&store, FILE).await, "Account")
            .1
            .get("tenantProfiles")
            .is_none()
    );
    granted.account.as_mut().unwrap().tenant_profiles = vec![TenantProfile {
        tenant_id: TENANT.into(),
        local_account_id: "oid".into(),
        name: Some("Alice".into()),
        username: None,
        is_home_tenant: true,
        foreign: None,
    }];
    cache.sign_in(&alice(), granted).await.unwrap();
    let written = document(&store, FILE).await;
    let profiles = only(&written, "Account").1["tenantProfiles"].as_array().unwrap();
    let profile: Value = serde_json::from_str(profiles[0].as_str().unwrap()).unwrap();
    assert_eq!(profile["tenantId"], TENANT);
}

#[tokio::test]
async fn rows_sections_and_members_of_others_survive_every_write() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let token = issuer.sign_in("User.Read").refresh_token.unwrap();
    let mut before = node_document(clock.now().to_seconds().0, token.expose());
    before["RefreshToken"]["of a stranger"] = json!({
        "home_account_id": HOME, "environment": "login.windows.net.evil.example", "client_id": CLIENT,
        "secret": "canary-forged", "credential_type": "RefreshToken",
    });
    before["RefreshToken"]["not a row"] = json!(["kept"]);
    before["AccessToken"]["without secret"] = json!({ "client_id": CLIENT, "x": null });
    write(&store, FILE, &before).await;
    let cache = over_file(&store, &clock);
    clock.advance(Duration::from_secs(3600));
    silent(&cache, &issuer, "User.Read").await.unwrap();
    assert_eq!(issuer.sent(), [token.expose()]);
    cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
    cache.forget_account(&user()).await.unwrap();
    cache.forget_account(&alice()).await.unwrap();
    let after = document(&store, FILE).await;
    for (section, name) in [
        ("RefreshToken", "of a stranger"),
        ("RefreshToken", "not a row"),
        ("AccessToken", "without secret"),
    ] {
        assert_eq!(after[section][name], before[section][name], "{name}");
    }
    assert_eq!(
        (&after["Unknown"], &after["Member"]),
        (&before["Unknown"], &before["Member"])
    );
    assert_eq!(after["RefreshToken"].as_object().unwrap().len(), 2, "{after}");
}
