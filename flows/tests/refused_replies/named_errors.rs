//! Errors that no other test brings about, where a caller meets them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cache_core::cache::TokenCache;
use cache_core::random::{OsRandom, Random, RandomError};
use cache_core::schema::ScopeSet;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::secret::Secret;
use cache_core::store::MemoryStore;
use cache_testkit::authority::{CONFIDENTIAL_CLIENT, Grant, Script, ScriptedError};
use flows::authority::{Authority, Region};
use flows::challenge::BearerChallenge;
use flows::client::{ClientCredential, ConfidentialClient, PublicClient};
use flows::error::{AuthorizationResponseError, ChallengeError, DiscoveryErrorKind};
use flows::http::HttpClient;
use flows::request::ClientCertificate;
use flows::request::authorization_code::AuthorizationRequest;
use flows::{Error, IdTokenVerification, InteractionClassification};

use crate::scene::Scene;
use crate::support::ScriptedClient;

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_says_what_the_user_will_have_to_do() {
    let scene = Scene::new(IdTokenVerification::WhereNotOverTls).await;
    for (index, (error, suberror, expected)) in [
        (
            "invalid_grant",
            "basic_action",
            InteractionClassification::BasicAction,
        ),
        (
            "invalid_grant",
            "additional_action",
            InteractionClassification::AdditionalAction,
        ),
        (
            "invalid_grant",
            "message_only",
            InteractionClassification::MessageOnly,
        ),
        (
            "invalid_grant",
            "consent_required",
            InteractionClassification::ConsentRequired,
        ),
        (
            "invalid_grant",
            "user_password_expired",
            InteractionClassification::UserPasswordExpired,
        ),
        ("invalid_grant", "bad_token", InteractionClassification::SignIn),
        ("invalid_grant", "", InteractionClassification::SignIn),
        ("interaction_required", "", InteractionClassification::Other),
        (
            "interaction_required",
            "not invented yet",
            InteractionClassification::Other,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        scene.sign_in().await.unwrap();
        let account = scene.account().await;
        let refusal = ScriptedError::new(error, 50_000).suberror(suberror);
        scene
            .authority
            .script(Script::error(refusal).grant(Grant::RefreshToken));
        // A refusal is remembered for its own scopes.
        let refused = scene.silent(&account, &format!("Scope.{index}")).await;
        let Err(Error::InteractionRequired(required)) = refused else {
            panic!("{error} {suberror}: {refused:?}")
        };
        assert_eq!(required.classification(), expected, "{error} {suberror}");
        assert_eq!(required.refusal().unwrap().code(), error);
    }
    assert_eq!(scene.authority.scripts_left(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_says_a_thing_twice_is_refused_and_its_code_not_redeemed() {
    let scene = Scene::new(IdTokenVerification::WhereNotOverTls).await;
    let (pending, back) = scene.visit().await;
    for twice in ["state", "code", "error"] {
        let back = format!("{back}&{twice}=a&{twice}=b");
        let refused = scene
            .client
            .acquire_token_by_authorization_code(&pending, &back)
            .await;
        assert!(
            matches!(
                refused,
                Err(Error::AuthorizationResponse(AuthorizationResponseError::Repeated))
            ),
            "{twice}: {refused:?}"
        );
    }
    let spent = scene.authority.grant_count(Grant::AuthorizationCode).requests;
    assert_eq!(spent, 0);
}

#[test]
fn a_challenge_that_nobody_can_read_is_an_error_of_the_acquisition() {
    fn demanded(header: &str) -> Result<Option<String>, Error> {
        let challenge = BearerChallenge::find([header])?;
        Ok(challenge.and_then(|challenge| challenge.claims().map(str::to_owned)))
    }
    assert_eq!(demanded("Negotiate").unwrap(), None);
    let refused = demanded("Bearer error=\"insufficient_claims");
    assert!(
        matches!(refused, Err(Error::Challenge(ChallengeError::Malformed))),
        "{refused:?}"
    );
    let refused = demanded(r#"Bearer error="insufficient_claims", claims="no object""#);
    assert!(
        matches!(refused, Err(Error::Challenge(ChallengeError::Claims))),
        "{refused:?}"
    );
    let refused = demanded(&format!("Bearer realm=\"{}\"", "r".repeat(1 << 20)));
    assert!(
        matches!(refused, Err(Error::Challenge(ChallengeError::TooLong))),
        "{refused:?}"
    );
}

/// Runs dry when it is told to.
#[derive(Debug, Default)]
struct Dry(AtomicBool);

impl Random for Dry {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
        if self.0.load(Ordering::Relaxed) {
            return Err(RandomError::new("dry"));
        }
        OsRandom.fill(buffer)
    }
}

async fn opened(random: Arc<dyn Random>) -> TokenCache {
    let key = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
    TokenCache::builder(Arc::new(MemoryStore::new()))
        .random(random)
        .open_sealed(Namespace::default(), key)
        .await
        .unwrap()
}

#[tokio::test]
async fn without_random_bytes_no_sign_in_begins() {
    let random = Arc::new(Dry::default());
    let cache = opened(random.clone()).await;
    let http = Arc::new(ScriptedClient::default());
    let authority = Authority::detect("https://login.microsoftonline.com/organizations").unwrap();
    let secret = ClientCredential::secret(Secret::new("secret"));
    let (server, tool) = (
        ConfidentialClient::builder(CONFIDENTIAL_CLIENT, authority.clone(), secret, cache.clone()),
        PublicClient::builder(CONFIDENTIAL_CLIENT, authority, cache),
    );
    let shared: Arc<dyn HttpClient> = http.clone();
    let server = server.http(Arc::clone(&shared)).build().unwrap();
    let tool = tool.http(shared).build().unwrap();
    random.0.store(true, Ordering::Relaxed);
    let scopes = ScopeSet::parse("User.Read");
    let request = AuthorizationRequest::new(CONFIDENTIAL_CLIENT, "http://localhost/", scopes);
    let begun = server.begin_authorization(request).await.map(drop);
    assert!(matches!(begun, Err(Error::Random(_))), "{begun:?}");
    let device = tool.acquire_token_by_device_code(["User.Read"]).on_prompt(|_| {});
    let device = device.await.map(drop);
    assert!(matches!(device, Err(Error::Random(_))), "{device:?}");
    assert!(http.sent().is_empty());
}

#[tokio::test]
async fn an_issuer_that_offers_only_plain_pkce_is_refused() {
    let document = r#"{"issuer":"https://id.example","token_endpoint":"https://id.example/token",
        "authorization_endpoint":"https://id.example/authorize","code_challenge_methods_supported":["plain"]}"#;
    let secret = ClientCredential::secret(Secret::new("secret"));
    let authority = Authority::oidc("https://id.example").unwrap();
    let cache = opened(Arc::new(OsRandom)).await;
    let client = ConfidentialClient::builder("client", authority, secret, cache)
        .http(Arc::new(ScriptedClient::default().reply(200, document)))
        .build()
        .unwrap();
    let request = AuthorizationRequest::new("client", "http://localhost/", ScopeSet::parse("api:read"));
    let Err(Error::Discovery(error)) = client.begin_authorization(request).await.map(drop) else {
        panic!("it began")
    };
    assert_eq!(*error.kind(), DiscoveryErrorKind::NoS256);
}

#[tokio::test]
async fn a_client_that_makes_no_sense_is_not_built_and_the_error_says_what_to_change() {
    let entra = || Authority::entra("https://login.microsoftonline.com/contoso.com").unwrap();
    let issuer = || Authority::oidc("https://id.example").unwrap();
    let cache = opened(Arc::new(OsRandom)).await;
    let http: Arc<dyn HttpClient> = Arc::new(ScriptedClient::default());
    let server = |id: &str, authority, credential| {
        ConfidentialClient::builder(id, authority, credential, cache.clone()).http(Arc::clone(&http))
    };
    let secret = || ClientCredential::secret(Secret::new("canary"));
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let key = ClientCertificate::from_private_key(&Secret::new(key.serialize_pem())).unwrap();
    let region = Region::named("westus2").unwrap();
    for (builder, says) in [
        (server("", entra(), secret()), "client ID"),
        (
            server("id", entra(), ClientCredential::secret(Secret::default())),
            "secret is empty",
        ),
        (
            server("id", entra(), ClientCredential::certificate(key)),
            "use an RSA key",
        ),
        (
            server("id", issuer(), secret()).region(region),
            "remove the region",
        ),
        (
            server("id", entra(), secret()).telemetry("my\r\ntool", "1"),
            "visible ASCII",
        ),
    ] {
        let Err(Error::Configuration(error)) = builder.build() else {
            panic!("{says}: it was built")
        };
        let said = error.to_string();
        assert!(said.contains(says) && !said.contains("canary"), "{said}");
    }
}
