//! Scopes: forms that mean the same are found again, resources stay apart, more scopes cost one refresh.

use cache_core::cache::CachedAccount;
use cache_testkit::authority::{Alteration, Endpoint, Grant, Script};
use flows::client::PublicClient;
use flows::{AuthenticationResult, TokenSource};
use serde_json::json;

use crate::scene::{Scene, only_account};

const API: &str = "11111111-aaaa-4000-8000-00000000000a";

async fn signed_in() -> (Scene, PublicClient, CachedAccount) {
    let scene = Scene::new().await;
    let client = scene.public(scene.entra("organizations")).await;
    scene.sign_in(&client, "User.Read").await;
    let account = only_account(&client).await;
    (scene, client, account)
}

async fn silent(client: &PublicClient, account: &CachedAccount, scopes: &str) -> AuthenticationResult {
    client
        .acquire_token_silent([scopes])
        .account(account)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn graphs_short_and_long_scopes_are_served_by_one_token() {
    let (scene, client, account) = signed_in().await;
    for form in [
        "User.Read",
        "https://graph.microsoft.com/User.Read",
        "https://graph.microsoft.com/user.read openid",
    ] {
        let result = silent(&client, &account, form).await;
        assert_ne!(result.metadata().source, TokenSource::Authority, "{form}");
    }
    for other in ["api://x/User.Read", "https://graph.microsoft.com//User.Read"] {
        let result = silent(&client, &account, other).await;
        assert_eq!(result.metadata().source, TokenSource::Authority, "{other}");
    }
    assert_eq!(scene.refreshes(), 2);
    // Each resource keeps its own token, although all replies grant `email`.
    for scope in [
        "User.Read",
        "api://x/User.Read",
        "https://graph.microsoft.com//User.Read",
    ] {
        assert_ne!(
            silent(&client, &account, scope).await.metadata().source,
            TokenSource::Authority,
            "{scope}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_in_another_form_answers_the_same_request_the_next_time() {
    for (requested, replied) in [
        (
            "https://graph.microsoft.com/.default".to_owned(),
            "User.Read Mail.Read openid profile email".to_owned(),
        ),
        (format!("{API}/.default"), format!("api://{API}/read openid")),
        (format!("{API}/read"), format!("api://{API}/read")),
        (
            "https://x//.default".to_owned(),
            "https://x/user_impersonation".to_owned(),
        ),
        // Less than was asked for.
        ("Mail.Read Mail.Send".to_owned(), "Mail.Read".to_owned()),
    ] {
        let (scene, client, account) = signed_in().await;
        let scope = Alteration::Set("scope".to_owned(), json!(replied));
        scene.fake.script(Script::alter([scope]).on(Endpoint::Token));
        let first = silent(&client, &account, &requested).await;
        assert_eq!(first.metadata().source, TokenSource::Authority);
        let second = silent(&client, &account, &requested).await;
        assert_eq!(second.access_token(), first.access_token(), "{requested}");
        // Also for another process, which has the store alone.
        let other = scene.public(scene.entra("organizations")).await;
        assert_eq!(
            silent(&other, &account, &requested)
                .await
                .access_token()
                .to_secret(),
            first.access_token()
        );
        assert_eq!(scene.refreshes(), 1, "{requested}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_granted_is_asked_for_again_on_its_own() {
    let (scene, client, account) = signed_in().await;
    let scope = Alteration::Set("scope".to_owned(), json!("Mail.Read"));
    scene.fake.script(Script::alter([scope]).on(Endpoint::Token));
    let fewer = silent(&client, &account, "Mail.Read Mail.Send").await;
    assert_eq!(fewer.scopes().as_str(), "Mail.Read");
    let send = silent(&client, &account, "Mail.Send").await;
    assert_ne!(send.access_token(), fewer.access_token());
    assert_eq!(scene.refreshes(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_is_not_served_by_anothers_token_whatever_the_reply_says() {
    let (scene, client, account) = signed_in().await;
    let scope = Alteration::Set(
        "scope".to_owned(),
        json!("read https://b/.default User.Read.All https://a/x"),
    );
    scene.fake.script(Script::alter([scope]).on(Endpoint::Token));
    let a = silent(&client, &account, "https://a/.default").await;
    for other in ["https://b/.default", "User.Read.All", "https://a//.default"] {
        assert_ne!(
            silent(&client, &account, other).await.access_token(),
            a.access_token(),
            "{other}"
        );
    }
    assert_eq!(
        silent(&client, &account, "https://a/.default")
            .await
            .access_token(),
        a.access_token()
    );
    assert_eq!(scene.refreshes(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_scopes_than_any_token_covers_spend_the_refresh_token_for_all_of_them() {
    let (scene, client, account) = signed_in().await;
    let more = silent(&client, &account, "User.Read Mail.Read").await;
    assert_eq!(more.metadata().source, TokenSource::Authority);
    let request = scene
        .fake
        .requests()
        .into_iter()
        .rfind(|request| request.grant == Some(Grant::RefreshToken));
    let sent = request.unwrap().scopes;
    assert!(
        sent.contains(&"User.Read".to_owned()) && sent.contains(&"Mail.Read".to_owned()),
        "{sent:?}"
    );
    for covered in [
        "User.Read",
        "Mail.Read",
        "mail.read https://graph.microsoft.com/User.Read",
    ] {
        assert_eq!(
            silent(&client, &account, covered).await.access_token(),
            more.access_token(),
            "{covered}"
        );
    }
    assert_eq!(scene.refreshes(), 1);
}
