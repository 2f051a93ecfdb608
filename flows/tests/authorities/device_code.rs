//! The device code row: who sees the code, how often the authority is asked, and when that ends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::time::Clock;
use cache_testkit::authority::{
    ALICE, Alteration, Config, Endpoint, Grant, HOME_TENANT, PUBLIC_CLIENT, Script, ScriptedError,
};
use cache_testkit::clock::ManualClock;
use flows::Error;
use flows::client::PublicClient;
use flows::error::{DeviceCodeError, ReplyError};
use flows::http::{HttpClient, HttpError, HttpRequest, HttpResponse};
use serde_json::json;

use crate::scene::{Scene, Ticking, only_account};

/// Notes when the token endpoint was asked.
#[derive(Debug)]
struct Timed {
    inner: Arc<dyn HttpClient>,
    clock: ManualClock,
    polls: Mutex<Vec<Duration>>,
}

#[async_trait]
impl HttpClient for Timed {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if request.url.path().ends_with("/token") {
            self.polls.lock().unwrap().push(self.clock.monotonic());
        }
        self.inner.send(request).await
    }
}

async fn timed(scene: &Scene) -> (Arc<Timed>, PublicClient) {
    let http = Arc::new(Timed {
        inner: Arc::clone(&scene.http),
        clock: scene.clock.clone(),
        polls: Mutex::default(),
    });
    let client = PublicClient::builder(PUBLIC_CLIENT, scene.entra(HOME_TENANT), scene.cache().await)
        .http(http.clone())
        .build()
        .unwrap();
    (http, client)
}

fn polls(scene: &Scene) -> u64 {
    scene.fake.grant_count(Grant::DeviceCode).requests
}

fn slow_down() -> Script {
    Script::error(ScriptedError::new("slow_down", 70_016)).grant(Grant::DeviceCode)
}

/// Moves the clock second by second whenever the sign-in waits.
fn running(clock: &ManualClock) -> tokio::task::JoinHandle<()> {
    let clock = clock.clone();
    tokio::spawn(async move {
        loop {
            clock.wait_for_sleepers(1).await;
            clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_slow_down_adds_five_seconds_for_good() {
    let scene = Scene::with(Config::default().auto_approve_devices(1, ALICE)).await;
    let (http, client) = timed(&scene).await;
    scene.fake.script(slow_down().times(2));
    let time = running(&scene.clock);
    let sign_in = client.acquire_token_by_device_code(["User.Read"]);
    sign_in.on_prompt(|_| {}).await.unwrap();
    time.abort();
    let polls = http.polls.lock().unwrap().clone();
    let waits: Vec<_> = polls
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs())
        .collect();
    // The interval of the fake authority is one second.
    assert_eq!(waits, [6, 11, 11]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sign_in_ends_when_the_code_expires_or_the_user_declines() {
    let scene = Scene::with(Config::default()).await;
    let (http, client) = timed(&scene).await;
    let short = Alteration::Set("expires_in".to_owned(), json!(10));
    scene.fake.script(Script::alter([short]).on(Endpoint::DeviceCode));
    let time = running(&scene.clock);
    let error = client
        .acquire_token_by_device_code(["User.Read"])
        .on_prompt(|_| {})
        .await
        .unwrap_err();
    time.abort();
    assert!(
        matches!(error, Error::DeviceCode(DeviceCodeError::Expired)),
        "{error:?}"
    );
    // Once a second, and not in the second in which the code expires.
    assert_eq!(http.polls.lock().unwrap().len(), 9);

    let _ticking = Ticking::start(&scene.clock);
    let error = client
        .acquire_token_by_device_code(["User.Read"])
        .on_prompt(|prompt| scene.fake.deny_device(prompt.user_code()).unwrap())
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::DeviceCode(DeviceCodeError::Declined)),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_expires_while_the_authority_is_down_says_that_nobody_knows() {
    let scene = Scene::with(Config::default()).await;
    let client = scene.public(scene.entra(HOME_TENANT)).await;
    let short = Alteration::Set("expires_in".to_owned(), json!(10));
    scene.fake.script(Script::alter([short]).on(Endpoint::DeviceCode));
    scene
        .fake
        .script(Script::status(503).grant(Grant::DeviceCode).times(100));
    let time = running(&scene.clock);
    let ended = client
        .acquire_token_by_device_code(["User.Read"])
        .on_prompt(|_| {})
        .await;
    time.abort();
    let Err(Error::DeviceCode(DeviceCodeError::Unanswered(cause))) = ended else {
        panic!("{ended:?}")
    };
    assert!(
        matches!(
            &*cause,
            Error::Reply(ReplyError::Unavailable { status: 503, .. }) | Error::Throttled(_)
        ),
        "{cause:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_sign_in_ends_the_polling() {
    let scene = Scene::with(Config::default()).await;
    let client = scene.public(scene.entra(HOME_TENANT)).await;
    let sign_in = tokio::spawn({
        let client = client.clone();
        async move {
            client
                .acquire_token_by_device_code(["User.Read"])
                .on_prompt(|_| {})
                .await
                .map(drop)
        }
    });
    for _ in 0..3 {
        scene.clock.wait_for_sleepers(1).await;
        let before = polls(&scene);
        scene.clock.advance(Duration::from_secs(1));
        while polls(&scene) == before {
            tokio::task::yield_now().await;
        }
    }
    scene.clock.wait_for_sleepers(1).await;
    sign_in.abort();
    assert!(sign_in.await.unwrap_err().is_cancelled());
    let before = polls(&scene);
    assert_eq!(scene.clock.sleepers(), 0, "nobody waits for the next poll");
    scene.clock.advance(Duration::from_secs(600));
    tokio::task::yield_now().await;
    assert_eq!(polls(&scene), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn unless_told_otherwise_the_instruction_is_printed_without_control_characters() {
    let scene = Scene::new().await;
    let client = scene.public(scene.entra(HOME_TENANT)).await;
    let message = Alteration::Set(
        "message".to_owned(),
        json!("Go \u{1b}[2J\u{7}there\r\nnow\u{202e}"),
    );
    let complete = "https://127.0.0.1/devicelogin?user_code=canary";
    let complete = Alteration::Set("verification_uri_complete".to_owned(), json!(complete));
    scene
        .fake
        .script(Script::alter([message, complete]).on(Endpoint::DeviceCode));
    let _ticking = Ticking::start(&scene.clock);
    let mut printed = Vec::new();
    client
        .acquire_token_by_device_code(["User.Read"])
        .print_to(&mut printed)
        .await
        .unwrap();
    let printed = String::from_utf8(printed).unwrap();
    let mut lines = printed.lines();
    assert_eq!(lines.next(), Some("Go  [2J there  now"));
    // A message that does not say where to go is not enough.
    let own = lines.next().unwrap();
    assert!(
        own.starts_with("To sign in, open https://127.0.0.1:") && own.contains("/devicelogin in a browser"),
        "{own}"
    );
    assert_eq!(lines.next(), None);
    assert!(
        !printed.contains("canary"),
        "the filled-in address is for who asks for it"
    );
    // To standard error, which a test cannot look at: that it is no mistake to set nothing is what is tested.
    client.acquire_token_by_device_code(["User.Read"]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_cannot_be_printed_is_an_error_and_is_not_waited_for() {
    struct Closed;
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let scene = Scene::new().await;
    let client = scene.public(scene.entra(HOME_TENANT)).await;
    let sign_in = client.acquire_token_by_device_code(["User.Read"]);
    let error = sign_in.print_to(Closed).await.unwrap_err();
    assert!(matches!(error, Error::Configuration(_)), "{error:?}");
    assert_eq!(polls(&scene), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_prompt_runs_beside_the_polling_and_ends_with_it() {
    let scene = Scene::with(Config::default()).await;
    let client = scene.public(scene.entra(HOME_TENANT)).await;
    let (dropped, gone) = tokio::sync::oneshot::channel::<()>();
    let fake = &scene.fake;
    let _ticking = Ticking::start(&scene.clock);
    client
        .acquire_token_by_device_code(["User.Read"])
        .on_prompt_async(|prompt| async move {
            let _dropped = dropped;
            tokio::task::yield_now().await;
            fake.approve_device(prompt.user_code(), ALICE).unwrap();
            // A dialogue that nobody closes.
            std::future::pending::<()>().await;
        })
        .await
        .unwrap();
    assert!(gone.await.is_err(), "the prompt is over when the sign-in is");
    assert_eq!(only_account(&client).await.account.username, ALICE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confidential_client_signs_a_user_in_by_device_code_with_its_secret() {
    let scene = Scene::new().await;
    let client = scene.confidential(scene.entra(HOME_TENANT)).await;
    let _ticking = Ticking::start(&scene.clock);
    let sign_in = client.acquire_token_by_device_code(["User.Read"]);
    let result = sign_in.on_prompt(|_| {}).await.unwrap();
    let account = client.accounts().await.unwrap().accounts.remove(0);
    let silent = client
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    assert_eq!(silent.access_token(), result.access_token());
    let index = scene
        .fake
        .requests()
        .iter()
        .position(|request| request.endpoint == Endpoint::Token);
    let form = scene.fake.request_form(index.unwrap()).unwrap();
    assert!(form.iter().any(|(name, _)| name == "client_secret"));
}
