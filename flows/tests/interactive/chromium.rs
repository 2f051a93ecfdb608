//! The whole way in real, headless Chromium.

use cache_testkit::authority::{ALICE, Config};
use cache_testkit::chromium::Chromium;
use cache_testkit::oidc_provider::{CLI_CLIENT_ID, PASSWORD, USERNAME};
use flows::Error;
use flows::request::authorization_code::ResponseMode;
use url::Url;

use crate::scene::{Entra, Oidc, sign_in};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_at_a_certified_provider_and_the_session_serves_afterwards() {
    let oidc = Oidc::new(CLI_CLIENT_ID).await;
    let browser = Chromium::start().await.unwrap();
    let browser = &browser;

    // Nobody is signed in yet, so the session is not enough and the same page goes on to the sign-in.
    let (result, page) = sign_in(
        |show| {
            let acquire = oidc
                .client
                .acquire_token_interactive(["api:read"])
                .login_hint(USERNAME);
            acquire.session_first(true).on_url(show).into_future()
        },
        async |url: Url| {
            browser.open(url.as_str()).await.unwrap();
            browser.fill("#login", USERNAME).await.unwrap();
            browser.fill("#password", PASSWORD).await.unwrap();
            browser.click("#sign-in").await.unwrap();
            browser.click("#allow").await.unwrap();
            let page = browser.wait_for_text("You are signed in").await.unwrap();
            // The policy lets the page's own style in: without it, this would be `block`.
            assert_eq!(browser.style("body", "display").await.unwrap(), "flex");
            // And its script: the code is not left in the address bar.
            let address = browser.address().await.unwrap();
            assert!(
                address.starts_with("http://127.0.0.1:") && address.ends_with('/'),
                "{address}"
            );
            page
        },
    )
    .await;
    assert_eq!(result.unwrap().account().unwrap().username, USERNAME);
    assert!(page.contains("You can close this page"), "{page}");

    let account = oidc.client.accounts().await.unwrap().accounts.remove(0);
    let (result, ()) = sign_in(
        |show| {
            oidc.client
                .acquire_token_by_browser_session(["api:read"])
                .account(&account)
                .on_url(show)
                .into_future()
        },
        async |url: Url| {
            browser.open(url.as_str()).await.unwrap();
            browser.wait_for_text("You are signed in").await.unwrap();
        },
    )
    .await;
    assert_eq!(result.unwrap().account().unwrap().username, USERNAME);

    // Another profile has no session.
    let other = Chromium::start().await.unwrap();
    let (result, page) = sign_in(
        |show| {
            oidc.client
                .acquire_token_by_browser_session(["api:read"])
                .account(&account)
                .on_url(show)
                .into_future()
        },
        async |url: Url| {
            other.open(url.as_str()).await.unwrap();
            let page = other.wait_for_text("You are not signed in").await.unwrap();
            assert!(!other.address().await.unwrap().contains('?'));
            page
        },
    )
    .await;
    assert!(matches!(result, Err(Error::InteractionRequired(_))), "{result:?}");
    assert!(page.contains("login_required"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn entras_answer_comes_by_redirect_and_by_a_form_that_a_script_posts() {
    let entra = Entra::new(Config::default()).await;
    let browser = Chromium::start().await.unwrap();
    let browser = &browser;
    for mode in [ResponseMode::Query, ResponseMode::FormPost] {
        let (result, ()) = sign_in(
            |show| {
                let acquire = entra
                    .client
                    .acquire_token_interactive(["User.Read"])
                    .login_hint(ALICE);
                acquire.response_mode(mode).on_url(show).into_future()
            },
            async |url: Url| {
                browser.open(url.as_str()).await.unwrap();
                browser.wait_for_text("You are signed in").await.unwrap();
            },
        )
        .await;
        assert_eq!(result.unwrap().account().unwrap().username, ALICE, "{mode:?}");
    }
}
