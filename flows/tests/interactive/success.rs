//! Sign-ins that succeed, and what they send and show.

use cache_testkit::authority::{ALICE, BOB, Config, Endpoint};
use cache_testkit::oidc_provider::{CLI_CLIENT_ID, USERNAME};
use flows::TokenSource;
use flows::request::authorization_code::{Prompt, ResponseMode};
use tokio::net::TcpListener;
use url::Url;

use crate::scene::{Entra, Oidc, parameter, redirect_uri, sign_in};

#[tokio::test(flavor = "multi_thread")]
async fn entra_signs_a_user_in_and_silence_follows() {
    let entra = Entra::new(Config::default()).await;
    let (result, (uri, page)) = sign_in(
        |show| {
            entra
                .client
                .acquire_token_interactive(["User.Read"])
                .on_url(show)
                .into_future()
        },
        async |url: Url| {
            for name in ["state", "nonce", "code_challenge"] {
                assert!(parameter(&url, name).len() >= 43, "{name}");
            }
            assert_eq!(parameter(&url, "code_challenge_method"), "S256");
            (redirect_uri(&url), entra.agent.follow(url.as_str()).await)
        },
    )
    .await;
    let result = result.unwrap();
    assert_eq!(result.account().unwrap().username, ALICE);
    assert_eq!(result.metadata().source, TokenSource::Authority);
    assert_eq!(page.status, 200);
    assert!(
        page.body.contains("You are signed in") && !page.body.contains("code="),
        "{}",
        page.body
    );

    let uri = Url::parse(&uri).unwrap();
    assert_eq!((uri.host_str(), uri.path()), (Some("localhost"), "/"));
    TcpListener::bind(("127.0.0.1", uri.port().unwrap()))
        .await
        .expect("the port is free again");
    let account = entra.client.accounts().await.unwrap().accounts.remove(0);
    let silent = entra
        .client
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    assert_eq!(silent.access_token(), result.access_token());
    assert!(!entra.sent(Endpoint::Token, "code_verifier")[0].is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certified_provider_signs_a_user_in() {
    let oidc = Oidc::new(CLI_CLIENT_ID).await;
    let (result, page) = sign_in(
        |show| {
            oidc.client
                .acquire_token_interactive(["api:read"])
                .on_url(show)
                .into_future()
        },
        async |url: Url| {
            assert!(redirect_uri(&url).starts_with("http://127.0.0.1:"), "{url}");
            let back = oidc.provider.authorize(url.as_str()).await.unwrap();
            assert!(back.contains("iss="), "{back}");
            oidc.agent.get(&back).await
        },
    )
    .await;
    assert_eq!(result.unwrap().account().unwrap().username, USERNAME);
    assert!(page.body.contains("You are signed in"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_comes_in_a_form_too() {
    let entra = Entra::new(Config::default()).await;
    let (result, page) = sign_in(
        |show| {
            let acquire = entra.client.acquire_token_interactive(["User.Read"]);
            acquire
                .response_mode(ResponseMode::FormPost)
                .on_url(show)
                .into_future()
        },
        async |url: Url| {
            let form = entra.agent.get(url.as_str()).await.hidden_fields();
            let (back, mut forged) = (redirect_uri(&url), form.clone());
            assert_eq!(entra.agent.get(&format!("{back}/?code=x")).await.status, 405);
            forged.iter_mut().find(|(name, _)| name == "state").unwrap().1 = "forged".to_owned();
            assert_eq!(entra.agent.post(&back, &forged).await.status, 400);
            entra.agent.post(&back, &form).await
        },
    )
    .await;
    assert_eq!(result.unwrap().account().unwrap().username, ALICE);
    assert!(page.body.contains("You are signed in"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_option_reaches_the_authority_and_the_pages_are_the_applications_own() {
    let entra = Entra::new(Config::default()).await;
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let (result, page) = sign_in(
        |show| {
            let acquire = entra.client.acquire_token_interactive(["User.Read"]);
            let acquire = acquire
                .login_hint(BOB)
                .domain_hint("contoso.test")
                .prompt(Prompt::SelectAccount);
            let acquire = acquire.claims(claims).parameter("ui_locales", "de");
            let acquire = acquire
                .redirect_uri("http://localhost/callback")
                .success_page("<h1>Welcome</h1>");
            acquire.on_url(show).into_future()
        },
        async |url: Url| (redirect_uri(&url), entra.agent.follow(url.as_str()).await),
    )
    .await;
    assert_eq!(result.unwrap().account().unwrap().username, BOB);
    assert_eq!((page.1.status, &*page.1.body), (200, "<h1>Welcome</h1>"));
    assert!(page.0.ends_with("/callback"));
    for (name, value) in [
        ("login_hint", BOB),
        ("domain_hint", "contoso.test"),
        ("prompt", "select_account"),
        ("claims", claims),
        ("ui_locales", "de"),
    ] {
        assert_eq!(entra.sent(Endpoint::Authorize, name), [value], "{name}");
    }
    assert_eq!(entra.sent(Endpoint::Token, "claims"), [claims]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sign_ins_at_once_do_not_take_each_others_answer() {
    let entra = Entra::new(Config::default()).await;
    let exchanged = tokio::sync::Mutex::new(Vec::<Url>::new());
    let both = tokio::sync::Barrier::new(2);
    let one = |hint: &'static str| {
        let (entra, exchanged, both) = (&entra, &exchanged, &both);
        sign_in(
            move |show| {
                entra
                    .client
                    .acquire_token_interactive(["User.Read"])
                    .login_hint(hint)
                    .on_url(show)
                    .into_future()
            },
            async move |url: Url| {
                exchanged.lock().await.push(url.clone());
                both.wait().await;
                let other = exchanged
                    .lock()
                    .await
                    .iter()
                    .find(|known| **known != url)
                    .unwrap()
                    .clone();
                // The other one's answer, brought to this listener.
                let theirs = entra.agent.authorize(&other).await;
                let mut astray = Url::parse(&theirs).unwrap();
                astray
                    .set_port(Url::parse(&redirect_uri(&url)).unwrap().port())
                    .unwrap();
                let refused = entra.agent.get(astray.as_str()).await;
                assert_eq!(refused.status, 400, "{}", refused.body);
                both.wait().await;
                entra.agent.follow(url.as_str()).await
            },
        )
    };
    let (first, second) = tokio::join!(one(ALICE), one(BOB));
    assert_eq!(first.0.unwrap().account().unwrap().username, ALICE);
    assert_eq!(second.0.unwrap().account().unwrap().username, BOB);
    assert!(first.1.body.contains("You are signed in") && second.1.body.contains("You are signed in"));
}
