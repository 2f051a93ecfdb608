//! What an authority's answer forbids, to whom, and for how long.

use std::sync::Arc;
use std::time::Duration;

use cache_core::random::OsRandom;
use cache_core::schema::{Account, ScopeSet};
use cache_core::secret::Secret;
use cache_core::time::Clock;
use flows::authority::{Authority, Metadata};
use flows::error::{ReplyError, ThrottledBecause};
use flows::http::{HttpError, HttpErrorKind};
use flows::request::{ClientIdentity, TokenRequest, device_code, refresh_token};
use flows::{CorrelationId, Error, TokenEndpoint, Transport};

use crate::support::{ScriptedClient, StepClock};

const LIMIT: Duration = Duration::from_secs(30);
const GRANTED: &str = r#"{"access_token":"a","expires_in":3600}"#;
const UID: &str = "11111111-1111-1111-1111-111111111111";
const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

struct Scene {
    http: Arc<ScriptedClient>,
    clock: Arc<StepClock>,
    transport: Arc<Transport>,
}

impl Scene {
    fn new() -> Self {
        let http = Arc::new(ScriptedClient::default());
        // 2015-10-21T07:28:00Z
        let clock = Arc::new(StepClock::at(1_445_412_480));
        let transport = Arc::new(Transport::new(http.clone(), clock.clone(), Arc::new(OsRandom)));
        Self {
            http,
            clock,
            transport,
        }
    }

    fn endpoint(&self, client: &str, tenant: &str) -> TokenEndpoint {
        let authority = authority(tenant);
        let metadata = Arc::new(Metadata::by_convention(&authority).unwrap());
        let client = ClientIdentity::public(client).unwrap();
        TokenEndpoint::new(self.transport.clone(), authority, metadata, client)
    }

    async fn send(&self, request: TokenRequest) -> Result<(), Error> {
        let endpoint = self.endpoint("client", TENANT);
        endpoint.send(request, id(), LIMIT).await.map(drop)
    }

    fn sent(&self) -> usize {
        self.http.sent().len()
    }

    /// Asserts that `request` is held back for exactly `wait`, less a millisecond and not a moment more.
    async fn is_held_back_for(&self, wait: Duration, because: ThrottledBecause) {
        let sent = self.sent();
        let instant = Duration::from_millis(1);
        for left in [wait, instant] {
            if left == instant {
                self.clock.advance(wait - instant);
            }
            let Err(Error::Throttled(throttled)) = self.send(usual()).await else {
                panic!("it was sent")
            };
            assert_eq!((throttled.retry_after(), throttled.because()), (left, because));
        }
        self.clock.advance(instant);
        assert_eq!(self.sent(), sent);
    }

    async fn goes_out(&self, request: TokenRequest) {
        let sent = self.sent();
        self.http.push(200, GRANTED);
        self.send(request).await.unwrap();
        assert_eq!(self.sent(), sent + 1);
    }
}

fn authority(tenant: &str) -> Authority {
    Authority::detect(&format!("https://login.microsoftonline.com/{tenant}")).unwrap()
}

fn id() -> CorrelationId {
    CorrelationId::random(&OsRandom).unwrap()
}

pub fn account(user: &str) -> Account {
    Account {
        home_account_id: format!("{user}.{TENANT}"),
        environment: "login.microsoftonline.com".to_owned(),
        realm: TENANT.to_owned(),
        local_account_id: user.to_owned(),
        username: String::new(),
        authority_type: "MSSTS".to_owned(),
        name: None,
        issuer: None,
        tenant_profiles: Vec::new(),
        foreign: None,
    }
}

fn refresh(user: &str, token: &str, scopes: &str) -> TokenRequest {
    let scopes = ScopeSet::parse(scopes);
    refresh_token::request(
        &authority(TENANT),
        &Secret::new(token),
        scopes,
        account(user),
        None,
    )
}

fn usual() -> TokenRequest {
    refresh(UID, "rt", "User.Read Mail.Read")
}

#[tokio::test]
async fn retry_after_is_obeyed_in_both_forms_up_to_an_hour() {
    for (status, value, seconds) in [
        (429, "60", 60),
        (429, "999999", 3_600),
        (429, "Wed, 21 Oct 2015 07:30:00 GMT", 120),
        (429, "Wed, 28 Oct 2015 07:30:00 GMT", 3_600),
        (503, "7", 7),
        (500, "Wed, 21 Oct 2015 07:28:01 GMT", 1),
    ] {
        let scene = Scene::new();
        scene.http.push_with(status, &[("retry-after", value)], "");
        assert!(!matches!(
            scene.send(usual()).await,
            Ok(()) | Err(Error::Throttled(_))
        ));
        let because = match status {
            429 => ThrottledBecause::TooManyRequests,
            _ => ThrottledBecause::Unavailable,
        };
        scene
            .is_held_back_for(Duration::from_secs(seconds), because)
            .await;
        scene.goes_out(usual()).await;
        scene.goes_out(usual()).await;
    }
}

#[tokio::test]
async fn without_it_pauses_grow_from_five_seconds_and_an_answer_ends_them() {
    let url = "https://login.microsoftonline.com".parse().unwrap();
    let fail = |scene: &Scene, failure: u16| match failure {
        0 => scene
            .http
            .push_error(HttpError::new(HttpErrorKind::OutcomeUnknown, &url, "no reply")),
        status => scene.http.push(status, ""),
    };
    for failure in [0, 408, 429, 500, 503] {
        let scene = Scene::new();
        for least in [5, 10, 20, 40] {
            fail(&scene, failure);
            scene.send(usual()).await.unwrap_err();
            let Err(Error::Throttled(throttled)) = scene.send(usual()).await else {
                panic!("it was sent")
            };
            let least = Duration::from_secs(least);
            let wait = throttled.retry_after();
            assert!(wait >= least && wait <= least.mul_f64(1.25), "{wait:?}");
            scene.is_held_back_for(wait, throttled.because()).await;
        }
        // A refusal is an answer: the authority is well.
        scene.http.push(400, r#"{"error":"invalid_scope"}"#);
        assert!(matches!(scene.send(usual()).await, Err(Error::Authority(_))));
        fail(&scene, failure);
        scene.send(usual()).await.unwrap_err();
        scene.clock.advance(Duration::from_millis(6_250));
        scene.goes_out(usual()).await;
    }
}

#[tokio::test]
async fn an_authority_that_cannot_be_reached_is_tried_again_soon() {
    let scene = Scene::new();
    let url = "https://login.microsoftonline.com".parse().unwrap();
    scene
        .http
        .push_error(HttpError::new(HttpErrorKind::NotSent, &url, "no network"));
    scene.send(usual()).await.unwrap_err();
    let Err(Error::Throttled(throttled)) = scene.send(usual()).await else {
        panic!("it was sent")
    };
    assert_eq!(throttled.because(), ThrottledBecause::Unreachable);
    assert!(throttled.retry_after() <= Duration::from_millis(1_250));
    let shown = throttled.to_string();
    assert!(
        shown.contains("login.microsoftonline.com") && shown.contains("2 s"),
        "{shown}"
    );
    scene.clock.advance(throttled.retry_after());
    scene.goes_out(usual()).await;
}

#[tokio::test]
async fn other_requests_are_not_held_back_and_the_same_one_is_in_any_order_of_its_scopes() {
    let scene = Scene::new();
    scene.http.push_with(429, &[("retry-after", "600")], "");
    scene.send(usual()).await.unwrap_err();
    for same in [
        refresh(UID, "rt", "mail.read user.read"),
        refresh(UID, "a-successor", "User.Read Mail.Read"),
        usual().claims(r#"{"access_token":{}}"#),
    ] {
        assert!(matches!(scene.send(same).await, Err(Error::Throttled(_))));
    }
    scene.goes_out(refresh(UID, "rt", "User.Read")).await;
    let other = "22222222-2222-2222-2222-222222222222";
    scene.goes_out(refresh(other, "rt", "User.Read Mail.Read")).await;
    scene.goes_out(usual().context(with_resource())).await;
    for (client, tenant) in [
        ("another", TENANT),
        ("client", "22222222-aaaa-4bbb-8ccc-333333333333"),
    ] {
        scene.http.push(200, GRANTED);
        let endpoint = scene.endpoint(client, tenant);
        endpoint.send(usual(), id(), LIMIT).await.unwrap();
    }
    // Everybody who shares the transport obeys; who has another does not know.
    let sharing = scene.endpoint("client", TENANT);
    assert!(matches!(
        sharing.send(usual(), id(), LIMIT).await,
        Err(Error::Throttled(_))
    ));
    assert!(matches!(sharing.check(&usual()), Err(Error::Throttled(_))));
    let stranger = Scene::new();
    stranger.goes_out(usual()).await;
}

fn with_resource() -> cache_core::schema::TokenContext {
    cache_core::schema::TokenContext {
        resource: Some("https://graph.microsoft.com".into()),
        ..cache_core::schema::TokenContext::default()
    }
}

const CONSENT: &str = r#"{"error":"invalid_grant","suberror":"consent_required","claims":"{\"c\":1}"}"#;

#[tokio::test]
async fn a_refusal_that_needs_the_user_is_repeated_for_two_minutes_without_asking() {
    let scene = Scene::new();
    scene.http.push(400, CONSENT);
    let Err(Error::InteractionRequired(first)) = scene.send(usual()).await else {
        panic!("no refusal")
    };
    scene.clock.advance(Duration::from_secs(119));
    let Err(Error::InteractionRequired(repeated)) = scene.send(usual()).await else {
        panic!("it was sent")
    };
    assert_eq!((first, scene.sent()), (repeated, 1));
    // What could fare better is asked.
    scene.goes_out(usual().claims(r#"{"c":1}"#)).await;
    scene.goes_out(refresh(UID, "rt", "User.Read")).await;
    scene
        .goes_out(refresh(UID, "of-a-new-sign-in", "User.Read Mail.Read"))
        .await;
    assert!(matches!(
        scene.send(usual()).await,
        Err(Error::InteractionRequired(_))
    ));
    scene.clock.advance(Duration::from_secs(1));
    scene.goes_out(usual()).await;
}

#[tokio::test]
async fn a_sign_in_of_the_account_ends_the_memory_and_is_not_held_back_by_it() {
    let scene = Scene::new();
    let other = "22222222-2222-2222-2222-222222222222";
    let others = || refresh(other, "rt", "User.Read Mail.Read");
    for request in [usual(), others()] {
        scene.http.push(400, CONSENT);
        scene.send(request).await.unwrap_err();
    }
    // A user who is at the door is never told what was said before.
    let polled = async |status, reply: &str| {
        let endpoint = scene.endpoint("client", TENANT);
        let device = r#"{"device_code":"d","user_code":"u","verification_uri":"https://login.example","expires_in":60}"#;
        scene.http.push(200, device);
        scene.http.push(status, reply);
        let request = device_code::request(ScopeSet::parse("User.Read Mail.Read"));
        let authorization = endpoint.authorize_device(request, id(), LIMIT).await.unwrap();
        endpoint.await_device(&authorization, id(), LIMIT).await
    };
    for _ in 0..2 {
        let sent = scene.sent();
        let refused = polled(400, r#"{"error":"interaction_required"}"#).await;
        assert!(matches!(refused, Err(Error::InteractionRequired(_))));
        assert_eq!(scene.sent(), sent + 2);
    }
    assert!(matches!(
        scene.send(usual()).await,
        Err(Error::InteractionRequired(_))
    ));
    let client_info = "eyJ1aWQiOiIxMTExMTExMS0xMTExLTExMTEtMTExMS0xMTExMTExMTExMTEiLCJ1dGlkIjoiNzJmOTg4YmYtODZmMS00MWFmLTkxYWItMmQ3Y2QwMTFkYjQ3In0";
    let granted = format!(r#"{{"access_token":"a","expires_in":3600,"client_info":"{client_info}"}}"#);
    polled(200, &granted).await.unwrap();
    scene.goes_out(usual()).await;
    assert!(matches!(
        scene.send(others()).await,
        Err(Error::InteractionRequired(_))
    ));
}

#[tokio::test]
async fn polls_for_a_device_code_wait_as_they_are_told_and_no_longer() {
    let scene = Scene::new();
    let endpoint = scene.endpoint("client", TENANT);
    let device = r#"{"device_code":"d","user_code":"u","verification_uri":"https://login.example","expires_in":600,"interval":1}"#;
    scene.http.push(200, device);
    let authorization = endpoint
        .authorize_device(device_code::request(ScopeSet::parse("a")), id(), LIMIT)
        .await
        .unwrap();
    for error in ["authorization_pending", "slow_down", "authorization_pending"] {
        scene.http.push(400, &format!(r#"{{"error":"{error}"}}"#));
    }
    scene.http.push_with(429, &[("retry-after", "100")], "");
    scene.http.push(503, "");
    scene.http.push(400, r#"{"error":"expired_token"}"#);
    let began = scene.clock.monotonic();
    endpoint
        .await_device(&authorization, id(), LIMIT)
        .await
        .unwrap_err();
    let waited = (scene.clock.monotonic() - began).as_secs();
    // 1, 1 and, after `slow_down`, 6 and 6 seconds; then 100 as asked; then twice that for the failure.
    assert_eq!(waited, 1 + 1 + 6 + 6 + 100 + 200);
    assert_eq!(scene.sent(), 7);

    // An interval shorter than the back-off: the poll is put off, and nothing is lost.
    let scene = Scene::new();
    let endpoint = scene.endpoint("client", TENANT);
    scene.http.push(200, device);
    let authorization = endpoint
        .authorize_device(device_code::request(ScopeSet::parse("a")), id(), LIMIT)
        .await
        .unwrap();
    scene.http.push(503, "");
    scene.http.push(400, r#"{"error":"access_denied"}"#);
    let began = scene.clock.monotonic();
    endpoint
        .await_device(&authorization, id(), LIMIT)
        .await
        .unwrap_err();
    assert!(scene.clock.monotonic() - began >= Duration::from_secs(1 + 5));
    assert_eq!(scene.sent(), 3);
}

#[tokio::test]
async fn asking_for_device_codes_is_held_back_like_anything_else() {
    let scene = Scene::new();
    let endpoint = scene.endpoint("client", TENANT);
    scene.http.push_with(503, &[("retry-after", "30")], "");
    let ask = || endpoint.authorize_device(device_code::request(ScopeSet::parse("a")), id(), LIMIT);
    assert!(matches!(
        ask().await,
        Err(Error::Reply(ReplyError::Unavailable { .. }))
    ));
    assert!(matches!(ask().await, Err(Error::Throttled(_))));
    assert_eq!(scene.sent(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_abandoned_at_its_limit_counts_as_unanswered() {
    let clock = crate::virtual_clock::VirtualClock::new();
    for (limit, abandoned_after, held_back) in [(2, 2, true), (10, 2, false)] {
        let http = Arc::new(ScriptedClient::slow(Duration::from_secs(60)).reply(200, GRANTED));
        let transport = Arc::new(Transport::new(http.clone(), Arc::new(clock), Arc::new(OsRandom)));
        let authority = authority(TENANT);
        let metadata = Arc::new(Metadata::by_convention(&authority).unwrap());
        let client = ClientIdentity::public("client").unwrap();
        let endpoint = TokenEndpoint::new(transport, authority, metadata, client);
        let send = endpoint.send(usual(), id(), Duration::from_secs(limit));
        let abandoned = Duration::from_secs(abandoned_after);
        let ended = cache_core::time::with_deadline(&clock, abandoned, send).await;
        assert!(ended.is_none());
        assert_eq!(
            matches!(endpoint.check(&usual()), Err(Error::Throttled(_))),
            held_back
        );
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_hundred_tasks_that_waited_for_the_end_of_a_pause_one_finds_out_for_all() {
    let clock = crate::virtual_clock::VirtualClock::new();
    let http = Arc::new(ScriptedClient::slow(Duration::from_millis(200)));
    let transport = Arc::new(Transport::new(http.clone(), Arc::new(clock), Arc::new(OsRandom)));
    let authority = authority(TENANT);
    let metadata = Arc::new(Metadata::by_convention(&authority).unwrap());
    let client = ClientIdentity::public("client").unwrap();
    let endpoint = TokenEndpoint::new(transport, authority, metadata, client);
    http.push_with(429, &[("retry-after", "60")], "");
    assert!(endpoint.send(usual(), id(), LIMIT).await.is_err());
    let storm = || {
        let tasks = (0..100).map(|_| {
            let endpoint = endpoint.clone();
            tokio::spawn(async move { endpoint.send(usual(), id(), LIMIT).await })
        });
        futures_util::future::join_all(tasks)
    };
    // The authority has not recovered: it hears of that from one request, and then waits anew.
    clock.sleep(Duration::from_secs(60)).await;
    http.push_with(429, &[("retry-after", "60")], "");
    let mut held_back = 0;
    for ended in storm().await {
        if let Err(Error::Throttled(throttled)) = ended.unwrap() {
            held_back += 1;
            assert!(throttled.retry_after() <= Duration::from_secs(1));
        }
    }
    assert_eq!((held_back, http.sent().len()), (99, 2));
    // One that is given up lets another try, and an answer lets all through.
    clock.sleep(Duration::from_secs(60)).await;
    let given_up = endpoint.send(usual(), id(), LIMIT);
    let ended = cache_core::time::with_deadline(&clock, Duration::from_millis(10), given_up).await;
    assert!(ended.is_none());
    http.push(200, GRANTED);
    endpoint.send(usual(), id(), LIMIT).await.unwrap();
    (0..100).for_each(|_| http.push(200, GRANTED));
    assert!(storm().await.into_iter().all(|ended| ended.unwrap().is_ok()));
    assert_eq!(http.sent().len(), 104);
}
