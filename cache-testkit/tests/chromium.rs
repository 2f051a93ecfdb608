//! A real browser at a real provider: the pages on which a person signs in.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use cache_testkit::chromium::Chromium;
use cache_testkit::oidc_provider::{CLI_CLIENT_ID, OidcProvider, Options, PASSWORD, USERNAME};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_and_declines() {
    let provider = OidcProvider::start(Options::default()).await.unwrap();
    let browser = Chromium::start().await.unwrap();
    let url = format!(
        "{}/auth?client_id={CLI_CLIENT_ID}&response_type=code&scope=openid&state=s\
         &redirect_uri=http%3A%2F%2F127.0.0.1%2Fcallback\
         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256",
        provider.issuer()
    );
    browser.open(&url).await.unwrap();
    browser.fill("#login", USERNAME).await.unwrap();
    browser.fill("#password", "wrong").await.unwrap();
    browser.click("#sign-in").await.unwrap();
    browser
        .wait_for_text("The user name or the password is wrong.")
        .await
        .unwrap();

    browser.fill("#login", USERNAME).await.unwrap();
    browser.fill("#password", PASSWORD).await.unwrap();
    browser.click("#sign-in").await.unwrap();
    let consent = browser.wait_for_text("asks for").await.unwrap();
    assert!(
        consent.contains(CLI_CLIENT_ID) && consent.contains("openid"),
        "{consent}"
    );
    // Nobody listens at the redirect address: the browser says so, and that it was sent there.
    browser.click("#decline").await.unwrap();
    browser.wait_for_text("127.0.0.1").await.unwrap();
}
