//! The browser of this machine, with a listener on loopback.

use std::net::{Ipv4Addr, TcpListener};

use cache_testkit::glewlwyd::ALICE;
use flows::client::{Acquisition, PublicClient};
use flows::{AuthenticationResult, Error, TokenSource};
use tokio::sync::oneshot;
use url::Url;

use crate::scene::{SCOPES, Scene, only_account};

/// What shows a URL, as `on_url` takes it.
type Show = Box<dyn FnOnce(&Url) + Send>;

/// A port of loopback where the provider lets browsers be sent to: it compares the whole redirect URI, other than RFC 8252
/// section 7.3 wants it.
pub(crate) async fn allowed_port(scene: &Scene) -> u16 {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    scene
        .provider
        .allow_redirect(&format!("http://127.0.0.1:{port}/"))
        .await
        .unwrap();
    port
}

/// Runs a sign-in beside Alice's browser; gives the URL that it opened too.
async fn browse<'a>(
    scene: &Scene,
    acquire: impl FnOnce(Show) -> Acquisition<'a>,
) -> (Result<AuthenticationResult, Error>, Url) {
    let (sender, url) = oneshot::channel();
    let show: Show = Box::new(move |url| sender.send(url.clone()).unwrap());
    tokio::join!(acquire(show), async {
        let url: Url = url.await.unwrap();
        let back = scene.provider.authorize(ALICE, url.as_str()).await.unwrap();
        let browser = reqwest::Client::builder().no_proxy().build().unwrap();
        browser.get(back).send().await.unwrap();
        url
    })
}

pub(crate) async fn signed_in(scene: &Scene, client: &PublicClient, port: u16) -> AuthenticationResult {
    let acquire = |show| {
        let acquire = client.acquire_token_interactive(SCOPES);
        acquire.port(port).on_url(show).into_future()
    };
    browse(scene, acquire).await.0.unwrap()
}

fn parameters(url: &Url) -> Vec<String> {
    url.query_pairs().map(|(name, _)| name.into_owned()).collect()
}

#[tokio::test]
async fn the_browser_signs_alice_in() {
    let scene = Scene::new().await;
    let client = scene.public().await;
    let port = allowed_port(&scene).await;
    let result = signed_in(&scene, &client, port).await;
    assert_eq!(result.metadata().source, TokenSource::Authority);
    assert_eq!(result.id_token_claims().unwrap().name(), Some("Alice"));
    let silent = client
        .acquire_token_silent(SCOPES)
        .account(&only_account(&client).await)
        .await
        .unwrap();
    assert_eq!(silent.access_token(), result.access_token());
}

#[tokio::test]
async fn a_session_answers_without_asking() {
    let scene = Scene::new().await;
    let client = scene.public().await;
    let port = allowed_port(&scene).await;
    let first = signed_in(&scene, &client, port).await;
    let alice = only_account(&client).await;
    let (result, url) = browse(&scene, |show| {
        let acquire = client.acquire_token_by_browser_session(SCOPES).account(&alice);
        acquire.port(port).on_url(show).into_future()
    })
    .await;
    let result = result.unwrap();
    assert_ne!(result.access_token(), first.access_token());
    assert_eq!(result.account(), first.account());
    assert!(parameters(&url).contains(&"id_token_hint".to_owned()));
}

#[tokio::test]
async fn a_session_is_refused_without_an_id_token_hint() {
    let scene = Scene::new().await;
    let client = scene.public().await;
    let port = allowed_port(&scene).await;
    let (result, url) = browse(&scene, |show| {
        let acquire = client.acquire_token_by_browser_session(SCOPES);
        acquire.port(port).on_url(show).into_future()
    })
    .await;
    assert!(
        matches!(&result, Err(Error::Authority(error)) if error.code() == "invalid_request"),
        "{result:?}"
    );
    assert!(!parameters(&url).contains(&"id_token_hint".to_owned()));
}

#[tokio::test]
async fn a_pushed_request_signs_alice_in() {
    let scene = Scene::new().await;
    let client = scene.public().await;
    let port = allowed_port(&scene).await;
    let (result, url) = browse(&scene, |show| {
        let acquire = client.acquire_token_interactive(SCOPES).pushed(true);
        acquire.port(port).on_url(show).into_future()
    })
    .await;
    assert_eq!(result.unwrap().id_token_claims().unwrap().name(), Some("Alice"));
    let shown = parameters(&url);
    assert!(
        shown.contains(&"request_uri".to_owned()) && !shown.contains(&"scope".to_owned()),
        "{shown:?}"
    );
}
