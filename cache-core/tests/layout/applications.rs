//! Tokens of applications in one record: two rows, one token.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{AcquireOptions, TokenCache, TokenSource};
use cache_core::layout::MsalLayout;
use cache_core::schema::{AuthorityKind, ScopeSet, TokenRequest};
use cache_core::store::Store;
use cache_core::time::Clock;
use serde_json::{Value, json};

use crate::scene::*;
use crate::support::*;

const FILE: &str = "file";
const SCOPE: &str = "api/.default";

fn layout() -> MsalLayout {
    MsalLayout::single_record(record(FILE))
}

async fn app(cache: &TokenCache, issuer: &Arc<Issuer>, options: AcquireOptions) -> (String, TokenSource) {
    let scopes = ScopeSet::parse(SCOPE);
    let key = cache.app_partition(CLIENT, &entra(), TENANT, &scopes);
    let request = TokenRequest::new(key, AuthorityKind::Entra, CLIENT, HOST, TENANT, scopes);
    let call = Arc::new(AppCall(issuer.call(SCOPE)));
    let acquired = cache.acquire_app(Arc::new(request), options, call).await.unwrap();
    (acquired.token().secret.expose().to_owned(), acquired.source())
}

fn pythons(host: &str) -> String {
    format!("-{host}-accesstoken-{CLIENT}-{TENANT}-{SCOPE}")
}

fn nodes(host: &str) -> String {
    format!("-{host}-accesstoken-{CLIENT}-{TENANT}-{SCOPE}-")
}

/// The row as the program whose `home_account_id` this is writes it.
fn row(secret: &str, now: i64, home_account_id: &Value) -> Value {
    json!({
        "home_account_id": home_account_id, "environment": HOST, "credential_type": "AccessToken", "client_id": CLIENT,
        "realm": TENANT, "target": SCOPE, "token_type": "Bearer", "secret": secret, "cached_at": now.to_string(),
        "expires_on": (now + 3600).to_string(), "x_row": 7,
    })
}

async fn two_rows(store: &Arc<dyn Store>) -> (Value, Value) {
    let written = document(store, FILE).await;
    let rows = written["AccessToken"].as_object().unwrap();
    assert_eq!(rows.len(), 2, "{rows:?}");
    (rows[&pythons(HOST)].clone(), rows[&nodes(HOST)].clone())
}

/// Rule 5.
#[tokio::test]
async fn a_token_has_a_row_for_python_and_one_for_node() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let cache = shared(&store, &clock, layout());
    let (token, _) = app(&cache, &issuer, AcquireOptions::default()).await;
    let (mut python, mut node) = two_rows(&store).await;
    // Python finds no row that lacks the field.
    assert_eq!(python.get("home_account_id"), Some(&Value::Null));
    assert_eq!(
        (&python["home_account_id"], &node["home_account_id"]),
        (&json!(null), &json!(""))
    );
    for row in [&mut python, &mut node] {
        assert_eq!(row["secret"], token);
        row["home_account_id"].take();
    }
    assert_eq!(python, node);

    // Read back it is one, and so it stays however often the document is written.
    for _ in 0..2 {
        let again = shared(&store, &clock, layout());
        assert_eq!(
            app(&again, &issuer, AcquireOptions::default()).await,
            (token.clone(), TokenSource::Store)
        );
        again.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
        two_rows_and(&store, 1).await;
        again.forget_account(&user()).await.unwrap();
        two_rows(&store).await;
    }
    let records = cache.inspect().await.unwrap();
    let [record] = &records[..] else {
        panic!("{records:?}")
    };
    let contents = record.contents.as_ref().unwrap().as_ref().unwrap();
    assert_eq!(contents.access_tokens, 1);

    // Replaced as one.
    clock.advance(Duration::from_secs(3600));
    let (fresh, source) = app(&cache, &issuer, AcquireOptions::default()).await;
    assert_eq!(source, TokenSource::Authority);
    let (python, node) = two_rows(&store).await;
    assert_eq!(
        (&python["secret"], &node["secret"]),
        (&json!(fresh), &json!(fresh))
    );
}

async fn two_rows_and(store: &Arc<dyn Store>, others: usize) {
    let written = document(store, FILE).await;
    assert_eq!(
        written["AccessToken"].as_object().unwrap().len(),
        2 + others,
        "{written}"
    );
}

#[tokio::test]
async fn what_one_program_replaced_is_found_and_then_replaced_for_both() {
    for home_account_id in [json!(null), json!("")] {
        let (clock, store) = parts();
        let issuer = Issuer::new(&clock);
        let cache = shared(&store, &clock, layout());
        app(&cache, &issuer, AcquireOptions::default()).await;
        clock.advance(Duration::from_secs(1800));
        let mut changed = document(&store, FILE).await;
        let name = if home_account_id.is_null() {
            pythons(HOST)
        } else {
            nodes(HOST)
        };
        let theirs = row("canary-theirs", clock.now().to_seconds().0, &home_account_id);
        changed["AccessToken"][&name] = theirs.clone();
        write(&store, FILE, &changed).await;
        let found = app(&cache, &issuer, AcquireOptions::default()).await;
        assert_eq!(found, ("canary-theirs".into(), TokenSource::Store));
        // A write of something else leaves both rows as they are.
        cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
        cache.forget_account(&user()).await.unwrap();
        assert_eq!(
            document(&store, FILE).await["AccessToken"],
            changed["AccessToken"]
        );

        clock.advance(Duration::from_secs(3600));
        let (fresh, _) = app(&cache, &issuer, AcquireOptions::default()).await;
        let (python, node) = two_rows(&store).await;
        for (row, whose) in [(&python, json!(null)), (&node, json!(""))] {
            assert_eq!((&row["secret"], &row["home_account_id"]), (&json!(fresh), &whose));
        }
    }
}

#[tokio::test]
async fn a_row_that_only_one_program_finds_is_left_to_it_until_its_token_is_replaced() {
    for home_account_id in [json!(null), json!("")] {
        let (clock, store) = parts();
        let issuer = Issuer::new(&clock);
        let name = if home_account_id.is_null() {
            pythons(HOST)
        } else {
            nodes(HOST)
        };
        let theirs = row("canary-theirs", clock.now().to_seconds().0, &home_account_id);
        let before = json!({ "AccessToken": { name: theirs } });
        write(&store, FILE, &before).await;
        let cache = shared(&store, &clock, layout());
        assert_eq!(
            app(&cache, &issuer, AcquireOptions::default()).await.1,
            TokenSource::Store
        );
        cache.sign_in(&user(), issuer.sign_in("a")).await.unwrap();
        cache.forget_account(&user()).await.unwrap();
        assert_eq!(document(&store, FILE).await["AccessToken"], before["AccessToken"]);
        clock.advance(Duration::from_secs(3600));
        app(&cache, &issuer, AcquireOptions::default()).await;
        let (python, node) = two_rows(&store).await;
        assert_eq!(python["secret"], node["secret"]);
        // Fields that nobody here understands go on with the token.
        assert_eq!((&python["x_row"], &node["x_row"]), (&json!(7), &json!(7)));
    }
}

#[tokio::test]
async fn both_rows_are_swept_when_their_time_is_over() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let cache = shared(&store, &clock, layout());
    app(&cache, &issuer, AcquireOptions::default()).await;
    clock.advance(Duration::from_secs(3601));
    let scopes = ScopeSet::parse("other/.default");
    let key = cache.app_partition(CLIENT, &entra(), TENANT, &scopes);
    let request = TokenRequest::new(key, AuthorityKind::Entra, CLIENT, HOST, TENANT, scopes);
    let call = Arc::new(AppCall(issuer.call("other/.default")));
    cache
        .acquire_app(Arc::new(request), AcquireOptions::default(), call)
        .await
        .unwrap();
    let written = document(&store, FILE).await;
    let rows = written["AccessToken"].as_object().unwrap();
    assert_eq!(rows.len(), 2);
    assert!(
        rows.values().all(|row| row["target"] == "other/.default"),
        "{rows:?}"
    );
}

/// Rule 7.
#[tokio::test]
async fn applications_can_have_a_record_of_their_own() {
    let (clock, store) = parts();
    let issuer = Issuer::new(&clock);
    let layout = || layout().app_record(record("app"));
    let cache = shared(&store, &clock, layout());
    cache
        .sign_in(&alice(), as_entra(issuer.sign_in("User.Read")))
        .await
        .unwrap();
    let (token, _) = app(&cache, &issuer, AcquireOptions::default()).await;
    let (users, apps) = (document(&store, FILE).await, document(&store, "app").await);
    assert_eq!(only(&users, "AccessToken").1["home_account_id"], HOME);
    let rows = apps["AccessToken"].as_object().unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows.values().all(|row| row["secret"] == token));
    for section in ["Account", "RefreshToken", "IdToken"] {
        assert!(apps.get(section).is_none(), "{apps}");
    }
    let again = shared(&store, &clock, layout());
    assert_eq!(
        app(&again, &issuer, AcquireOptions::default()).await,
        (token, TokenSource::Store)
    );
    assert_eq!(again.accounts().await.unwrap().accounts.len(), 1);
    assert_eq!(again.inspect().await.unwrap().len(), 2);
}
