//! The whole way, in real, headless Chromium: sign in, call the API, be acted for, sign out, be acted for no more.

use std::process::Stdio;
use std::time::Duration;

use cache_core::strategy::Strategy;
use cache_testkit::chromium::Chromium;
use cache_testkit::oidc_provider::{PASSWORD, USERNAME};
use clap::Parser;
use examples::open::Opened;
use examples::worker::options::Options;
use flows::Error;

use crate::api::Demand;
use crate::process::Process;
use crate::scene::{Place, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_acted_for_until_the_sign_out_on_sqlite() {
    the_whole_way(Place::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_acted_for_until_the_sign_out_on_redis() {
    the_whole_way(Place::Redis).await;
}

async fn the_whole_way(place: Place) {
    // Tokens last at first, so that it is the API that refuses them.
    let scene = Scene::at(place, 2, 3600, &[]).await;
    let [one, two] = &scene.replicas[..] else {
        unreachable!()
    };
    let browser = Chromium::start().await.unwrap();

    // Sign in, at a certified provider.
    browser.open(&one.at("/")).await.unwrap();
    browser.click("#sign-in").await.unwrap();
    browser.fill("#login", USERNAME).await.unwrap();
    browser.fill("#password", PASSWORD).await.unwrap();
    browser.click("#sign-in").await.unwrap();
    browser.click("#allow").await.unwrap();
    let home = browser.wait_for_text("Signed in as").await.unwrap();
    assert!(home.contains(USERNAME), "{home}");
    assert_eq!(browser.address().await.unwrap(), one.at("/"));
    // The policy lets the page's own style in.
    assert_eq!(browser.style("body", "max-width").await.unwrap(), "640px");

    // Call the API, at either replica.
    browser.click("#call-api").await.unwrap();
    browser.wait_for_text("hello").await.unwrap();
    browser.open(&two.at("/call-api")).await.unwrap();
    browser.wait_for_text("hello").await.unwrap();

    // A claims challenge that another token answers, and one that sends the user to the issuer and back.
    scene.api.demand(Demand::NewClaims);
    browser.open(&one.at("/call-api")).await.unwrap();
    browser.wait_for_text("hello").await.unwrap();
    assert_eq!(scene.api.refused(), 1);
    scene.provider.set_access_token_ttl(2).await.unwrap();
    scene.api.demand(Demand::ImpossibleClaims);
    browser.open(&one.at("/call-api")).await.unwrap();
    browser.click("#allow").await.unwrap();
    browser.wait_for_text("does not accept that").await.unwrap();
    assert_eq!(browser.address().await.unwrap(), one.at("/call-api"));
    scene.api.demand(Demand::Nothing);

    // The user is away, and the token has expired. The worker spends the refresh token, and the front end goes on with its successor.
    browser.open("about:blank").await.unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let said = scene.work().await;
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(
        (&said[0]["outcome"], &said[0]["token_from"]),
        (&"called".into(), &"authority".into())
    );
    tokio::time::sleep(Duration::from_millis(2500)).await;
    browser.open(&two.at("/call-api")).await.unwrap();
    browser.wait_for_text("hello").await.unwrap();

    // One worker is at it all the time, with its own memory, when the user signs out.
    let busy = Process::start(scene.worker(&["--interval", "1"]).stdout(Stdio::null()));
    let before = scene.api.answered();
    until(|| scene.api.answered() > before).await;
    browser.open(&two.at("/")).await.unwrap();
    browser.click("#sign-out").await.unwrap();
    browser.wait_for_text("You are signed out").await.unwrap();
    // A call may have been under way.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let after = scene.api.answered();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(scene.api.answered(), after, "the worker went on");
    drop(busy);
    let said = scene.work().await;
    assert!(said.iter().all(|line| line["outcome"] != "called"), "{said:?}");

    // Whoever has an account in mind is refused too, and so is the browser, wherever it goes.
    let arguments = scene.worker(&[]);
    let options = Options::parse_from(
        std::iter::once(arguments.get_program())
            .chain(arguments.get_args())
            .map(|text| {
                // This process has no variable, and its environment is not changed for it.
                match text.to_str() {
                    Some("env:CLIENT_SECRET") => format!("file:{}", scene.secret_file().display()).into(),
                    _ => text.to_owned(),
                }
            }),
    );
    let opened = Opened::open(&options.cache, Strategy::background_worker())
        .await
        .unwrap();
    let silent = opened
        .client
        .acquire_token_silent(["api:read"])
        .login_hint(USERNAME)
        .await;
    assert!(matches!(silent, Err(Error::InteractionRequired(_))), "{silent:?}");
    opened.close().await;
    for replica in [one, two] {
        browser.open(&replica.at("/")).await.unwrap();
        browser.wait_for_text("You are not signed in").await.unwrap();
    }

    // And at the issuer, if the user wants that.
    browser.open(&two.at("/signed-out")).await.unwrap();
    browser.click("#issuer-sign-out").await.unwrap();
    browser.click("#log-out").await.unwrap();
    browser.wait_for_text("You are not signed in").await.unwrap();
    browser.click("#sign-in").await.unwrap();
    browser.fill("#login", USERNAME).await.unwrap();

    let statistics = scene.provider.statistics().await.unwrap();
    assert_eq!(statistics.refresh_tokens_reused, 0);
}

async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..400 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not happen");
}
