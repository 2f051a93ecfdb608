//! The clients against the fake Entra authority, over HTTPS.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::schema::ScopeSet;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::secret::Secret;
use cache_core::store::{MemoryStore, Store};
use cache_core::time::{Clock, SystemClock};
use cache_testkit::authority::{
    ALICE, BOB, CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Config, FAMILY_CLIENTS, FakeAuthority,
    GUEST_TENANT, Grant, HOME_TENANT, Lifetimes, PUBLIC_CLIENT, Rotation, Script, ScriptedError,
};
use cache_testkit::clock::ManualClock;
use flows::authority::Authority;
use flows::client::{ClientCredential, ConfidentialClient, PublicClient};
use flows::http::{HttpClient, HttpRequest, ReqwestClient};
use flows::request::authorization_code::AuthorizationRequest;
use flows::{Error, RefreshReason, TokenSource};

const HOUR: Duration = Duration::from_secs(3600);

struct Scene {
    authority: FakeAuthority,
    store: Arc<dyn Store>,
    clock: ManualClock,
    http: Arc<dyn HttpClient>,
}

impl Scene {
    async fn new(config: Config) -> Self {
        let authority = FakeAuthority::start(config.auto_approve_devices(0, ALICE))
            .await
            .unwrap();
        let http = ReqwestClient::builder()
            .ca_certificates(authority.ca_pem().unwrap())
            .no_proxy()
            .build()
            .unwrap();
        // The authority's clock is the real one, and what it says must fit.
        let clock = ManualClock::at(SystemClock.now());
        let store = MemoryStore::with(Arc::new(clock.clone()), Arc::new(cache_core::random::OsRandom));
        Self {
            authority,
            store: Arc::new(store),
            clock,
            http: Arc::new(http),
        }
    }

    async fn cache(&self) -> TokenCache {
        TokenCache::builder(Arc::clone(&self.store))
            .clock(Arc::new(self.clock.clone()))
            .open_sealed(
                Namespace::default(),
                Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32]))),
            )
            .await
            .unwrap()
    }

    async fn public(&self, tenant: &str, client: &str) -> PublicClient {
        let authority = Authority::detect(&self.authority.authority_url(tenant)).unwrap();
        PublicClient::builder(client, authority, self.cache().await)
            .http(Arc::clone(&self.http))
            .build()
            .unwrap()
    }

    async fn confidential(&self) -> ConfidentialClient {
        let authority = Authority::detect(&self.authority.authority_url(HOME_TENANT)).unwrap();
        let secret = ClientCredential::secret(Secret::new(CONFIDENTIAL_SECRET));
        ConfidentialClient::builder(CONFIDENTIAL_CLIENT, authority, secret, self.cache().await)
            .http(Arc::clone(&self.http))
            .build()
            .unwrap()
    }

    /// Moves both clocks. The manual clock alone would make the authority's tokens look as if they came from the past.
    fn advance(&self, duration: Duration) {
        self.clock.advance(duration);
        self.authority.advance(duration);
    }

    fn refreshes(&self) -> u64 {
        self.authority.grant_count(Grant::RefreshToken).requests
    }
}

/// Lets the manual clock run, ten times as fast as the real one, while it is held: polls and pauses need it.
struct Ticking(tokio::task::JoinHandle<()>);

impl Ticking {
    fn start(clock: &ManualClock) -> Self {
        let clock = clock.clone();
        Self(tokio::spawn(async move {
            loop {
                clock.wait_for_sleepers(1).await;
                clock.advance(Duration::from_millis(10));
                SystemClock.sleep(Duration::from_millis(1)).await;
            }
        }))
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn sign_in(scene: &Scene, client: &PublicClient, scopes: &str) -> flows::AuthenticationResult {
    let _ticking = Ticking::start(&scene.clock);
    client
        .acquire_token_by_device_code([scopes])
        .on_prompt(|_| {})
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_then_silence_then_refresh_then_sign_out() {
    let scene = Scene::new(Config::default()).await;
    let client = scene.public("organizations", PUBLIC_CLIENT).await;
    let signed_in = sign_in(&scene, &client, "User.Read").await;
    assert_eq!(signed_in.tenant(), HOME_TENANT);
    assert_eq!(signed_in.metadata().source, TokenSource::Authority);
    assert_eq!(signed_in.account().unwrap().username, ALICE);

    // A second process: nothing but the store in common.
    let second = scene.public("organizations", PUBLIC_CLIENT).await;
    let account = second.accounts().await.unwrap().accounts.remove(0);
    let silent = second
        .acquire_token_silent(["user.read"])
        .account(&account)
        .await
        .unwrap();
    assert_eq!(silent.metadata().source, TokenSource::Store);
    assert_eq!(silent.access_token(), signed_in.access_token());
    assert_eq!(scene.refreshes(), 0);

    scene.advance(2 * HOUR);
    let refreshed = client
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    assert_eq!(refreshed.metadata().refresh_reason, Some(RefreshReason::Expired));
    assert!(refreshed.correlation_id().is_some());
    assert_ne!(refreshed.access_token(), signed_in.access_token());
    assert_eq!(scene.refreshes(), 1);

    assert!(second.remove_account(&account).await.unwrap().found);
    // The other process's memory hears of it through the store's watch, in a moment.
    let mut answer = client.acquire_token_silent(["User.Read"]).account(&account).await;
    for _ in 0..1000 {
        if answer.is_err() {
            break;
        }
        tokio::task::yield_now().await;
        answer = client.acquire_token_silent(["User.Read"]).account(&account).await;
    }
    assert!(matches!(answer, Err(Error::InteractionRequired(_))), "{answer:?}");
    assert!(client.accounts().await.unwrap().accounts.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_gets_the_token_of_the_guest_tenant_and_stays_one_account() {
    let scene = Scene::new(Config::default()).await;
    let home = scene.public(HOME_TENANT, PUBLIC_CLIENT).await;
    sign_in(&scene, &home, "User.Read").await;
    let account = home.accounts().await.unwrap().accounts.remove(0);
    let guest = scene.public(GUEST_TENANT, PUBLIC_CLIENT).await;
    let result = guest
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    assert_eq!(result.tenant(), GUEST_TENANT);
    assert_ne!(result.unique_id(), Some(&*account.account.local_account_id));
    let accounts = guest.accounts().await.unwrap().accounts;
    assert_eq!(accounts.len(), 1);
    assert_eq!(accounts[0].account.tenant_profiles.len(), 2);
    assert_eq!(accounts[0].account.realm, HOME_TENANT);
    let again = home
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    assert_eq!(again.tenant(), HOME_TENANT);
    assert_eq!(scene.refreshes(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_one_family_member_serves_another() {
    let scene = Scene::new(Config::default()).await;
    let first = scene.public(HOME_TENANT, FAMILY_CLIENTS[0]).await;
    sign_in(&scene, &first, "User.Read").await;
    let second = scene.public(HOME_TENANT, FAMILY_CLIENTS[1]).await;
    let account = second.accounts().await.unwrap().accounts.remove(0);
    let result = second
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    assert_eq!(result.metadata().source, TokenSource::Authority);
    // A client outside the family asks once, is told, and never sends the family's token again.
    let outsider = scene.public(HOME_TENANT, PUBLIC_CLIENT).await;
    for _ in 0..2 {
        let error = outsider
            .acquire_token_silent(["User.Read"])
            .account(&account)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::InteractionRequired(_)), "{error:?}");
    }
    assert_eq!(scene.refreshes(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_itself_is_served_from_the_cache() {
    let scene = Scene::new(Config::default()).await;
    let client = scene.confidential().await;
    let scopes = ["https://graph.microsoft.com/.default"];
    let first = client.acquire_token_for_client(scopes).await.unwrap();
    assert!(first.account().is_none());
    let second = client.acquire_token_for_client(scopes).await.unwrap();
    assert_eq!(
        (second.metadata().source, second.access_token()),
        (TokenSource::Memory, first.access_token())
    );
    let other = scene
        .confidential()
        .await
        .acquire_token_for_client(scopes)
        .await
        .unwrap();
    assert_eq!(other.metadata().source, TokenSource::Store);
    assert_eq!(scene.authority.grant_count(Grant::ClientCredentials).requests, 1);
    let wrong = client
        .acquire_token_for_client(scopes)
        .force_refresh(true)
        .await
        .unwrap();
    assert_eq!(wrong.metadata().refresh_reason, Some(RefreshReason::ForceRefresh));
    assert!(wrong.correlation_id().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_sign_in_is_redeemed_once_and_bound_to_its_beginning() {
    let scene = Scene::new(Config::default()).await;
    let client = scene.confidential().await;
    let redirect_uri = "http://localhost/callback";
    let request = || {
        AuthorizationRequest::new(CONFIDENTIAL_CLIENT, redirect_uri, ScopeSet::parse("User.Read"))
            .login_hint(BOB)
    };
    let pending = client.begin_authorization(request()).await.unwrap();
    let reply = scene
        .http
        .send(HttpRequest::get(pending.url().clone(), HOUR))
        .await
        .unwrap();
    let back = reply.header("location").unwrap().to_owned();
    let parts = pending.into_parts();
    let other = client.begin_authorization(request()).await.unwrap().into_parts();
    let error = client
        .acquire_token_by_authorization_code(&other, &back)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::AuthorizationResponse(_)), "{error:?}");
    let result = client
        .acquire_token_by_authorization_code(&parts, &back)
        .await
        .unwrap();
    assert_eq!(result.account().unwrap().username, BOB);
    let account = client.accounts().await.unwrap().accounts.remove(0);
    let silent = client
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    assert_eq!(silent.metadata().source, TokenSource::Memory);
    let error = client
        .acquire_token_by_authorization_code(&parts, &back)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Authority(_) | Error::InteractionRequired(_)),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_apart_and_remembered_where_they_would_repeat() {
    let scene = Scene::new(Config::default()).await;
    let client = scene.public(HOME_TENANT, PUBLIC_CLIENT).await;
    sign_in(&scene, &client, "User.Read").await;
    let account = client.accounts().await.unwrap().accounts.remove(0);
    let consent = ScriptedError::new("invalid_grant", 65001).suberror("consent_required");
    scene.authority.script(Script::error(consent));
    for _ in 0..2 {
        let error = client
            .acquire_token_silent(["Mail.Send"])
            .account(&account)
            .await
            .unwrap_err();
        let Error::InteractionRequired(required) = error else {
            panic!("{error:?}")
        };
        assert_eq!(
            required.classification(),
            flows::InteractionClassification::ConsentRequired
        );
    }
    assert_eq!(scene.refreshes(), 1, "the second answer comes from the cache");
    client
        .acquire_token_silent(["Mail.Read"])
        .account(&account)
        .await
        .unwrap();
    scene.authority.revoke_user(ALICE).unwrap();
    let error = client
        .acquire_token_silent(["Files.Read"])
        .account(&account)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InteractionRequired(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_with_strict_rotation_costs_a_sign_in_but_never_the_family() {
    let scene = Scene::new(Config::default().rotation(Rotation::Strict)).await;
    let authority = Authority::detect(&scene.authority.authority_url(HOME_TENANT)).unwrap();
    let client = PublicClient::builder(PUBLIC_CLIENT, authority, scene.cache().await)
        .http(Arc::clone(&scene.http))
        .unknown_outcome(cache_core::cache::UnknownOutcomePolicy::AskUser)
        .build()
        .unwrap();
    sign_in(&scene, &client, "User.Read").await;
    let account = client.accounts().await.unwrap().accounts.remove(0);
    scene.authority.script(Script::lost_reply());
    let error = client
        .acquire_token_silent(["Mail.Read"])
        .account(&account)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Cache(error) if error.is_outcome_unknown()),
        "{error:?}"
    );
    let valid = client
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .await
        .unwrap();
    assert_ne!(
        valid.metadata().source,
        TokenSource::Authority,
        "valid tokens are still served"
    );
    let error = client
        .acquire_token_silent(["Mail.Read"])
        .account(&account)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InteractionRequired(_)), "{error:?}");
    assert_eq!((scene.refreshes(), scene.authority.families_revoked()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_two_seconds_is_adopted_by_those_who_waited_for_it() {
    let lifetimes = Lifetimes::default().access_token(Duration::from_secs(2));
    let scene = Scene::new(Config::default().rotation(Rotation::Strict).lifetimes(lifetimes)).await;
    let client = scene.public(HOME_TENANT, PUBLIC_CLIENT).await;
    sign_in(&scene, &client, "User.Read").await;
    let account = client.accounts().await.unwrap().accounts.remove(0);
    for _ in 0..3 {
        scene.advance(Duration::from_secs(3));
        let before = scene.refreshes();
        let _ticking = Ticking::start(&scene.clock);
        let clients = [client.clone(), scene.public(HOME_TENANT, PUBLIC_CLIENT).await];
        let callers: Vec<_> = (0..8)
            .map(|index| {
                let (client, account) = (clients[index % 2].clone(), account.clone());
                tokio::spawn(async move {
                    client
                        .acquire_token_silent(["User.Read"])
                        .account(&account)
                        .await
                        .map(|result| result.correlation_id())
                })
            })
            .collect();
        let mut named = 0;
        for caller in callers {
            named += usize::from(caller.await.unwrap().unwrap().is_some());
        }
        assert_eq!(scene.refreshes(), before + 1);
        assert_eq!(named, 1, "only the caller whose request was sent has its ID");
    }
    assert_eq!(scene.authority.families_revoked(), 0);
}
