//! Each platform is asked as its contract says, for every kind of identity that it knows.

use std::sync::Arc;
use std::time::Duration;

use cache_testkit::clock::ManualClock;
use cache_testkit::managed_identity::{
    CLIENT_ID, Expiry, ManagedIdentityEndpoint, OBJECT_ID, Platform, RESOURCE_ID,
};
use flows::TokenSource;
use flows::managed_identity::{ManagedIdentityId, ManagedIdentitySource};

use crate::scene::{SYSTEM, Scene, VAULT};

fn user_assigned() -> [ManagedIdentityId; 3] {
    [
        ManagedIdentityId::UserAssignedClientId(CLIENT_ID.into()),
        ManagedIdentityId::UserAssignedObjectId(OBJECT_ID.into()),
        ManagedIdentityId::UserAssignedResourceId(RESOURCE_ID.into()),
    ]
}

/// A token of `identity`, and that the second one comes from the cache.
async fn is_given(scene: &Scene, identity: ManagedIdentityId, source: ManagedIdentitySource) {
    let before = scene.endpoint.tokens();
    let expected = if identity == SYSTEM { "system" } else { "user" };
    let client = scene.client(identity).await;
    assert_eq!(client.source(), source);
    let result = client.acquire_token_for_managed_identity(VAULT).await.unwrap();
    let token = result.access_token().expose();
    assert!(
        token.starts_with("canary-token-") && token.ends_with(expected),
        "{token}"
    );
    assert_eq!(result.metadata().source, TokenSource::Authority);
    assert_eq!(result.expires_on().0, ManualClock::START.to_seconds().0 + 3600);
    assert_eq!(result.scopes().as_str(), VAULT);
    assert!(result.account().is_none() && result.id_token().is_none());
    let asked = scene.endpoint.requests().pop().unwrap();
    let correlation_id = result.correlation_id().unwrap().to_string();
    assert_eq!(
        asked.header("x-ms-client-request-id"),
        Some(correlation_id.as_str())
    );

    // The scope is the same as its resource.
    let again = client
        .acquire_token_for_managed_identity(format!("{VAULT}/.default"))
        .await
        .unwrap();
    assert_eq!(again.access_token().expose(), token);
    assert_eq!(again.metadata().source, TokenSource::Memory);
    assert_eq!(again.correlation_id(), None);
    assert_eq!(scene.endpoint.tokens(), before + 1);
}

#[tokio::test]
async fn imds_gives_every_kind_of_identity() {
    let scene = Scene::new(Platform::Imds).await;
    is_given(&scene, SYSTEM, ManagedIdentitySource::Imds).await;
    for identity in user_assigned() {
        is_given(&scene, identity, ManagedIdentitySource::Imds).await;
    }
}

#[tokio::test]
async fn app_service_gives_every_kind_of_identity() {
    let scene = Scene::new(Platform::AppService).await;
    is_given(&scene, SYSTEM, ManagedIdentitySource::AppService).await;
    for identity in user_assigned() {
        is_given(&scene, identity, ManagedIdentitySource::AppService).await;
    }
}

#[tokio::test]
async fn azure_ml_gives_its_own_identity_and_one_by_client_id() {
    let scene = Scene::new(Platform::AzureMl).await;
    is_given(&scene, SYSTEM, ManagedIdentitySource::AzureMl).await;
    let [by_client, by_object, by_resource] = user_assigned();
    is_given(&scene, by_client, ManagedIdentitySource::AzureMl).await;
    for identity in [by_object, by_resource] {
        assert!(scene.refusal(identity).await.contains("client ID only"));
    }
}

#[tokio::test]
async fn azure_ml_is_told_the_name_of_its_default_identity() {
    let scene = Scene::new(Platform::AzureMl).await;
    let client = scene
        .builder(SYSTEM)
        .await
        .environment(scene.environment_with("DEFAULT_IDENTITY_CLIENT_ID", CLIENT_ID))
        .build()
        .unwrap();
    client.acquire_token_for_managed_identity(VAULT).await.unwrap();
    assert_eq!(
        scene.endpoint.requests()[0].parameter("clientid"),
        Some(CLIENT_ID)
    );
}

#[tokio::test]
async fn cloud_shell_is_posted_the_resource_and_knows_one_identity() {
    let scene = Scene::new(Platform::CloudShell).await;
    is_given(&scene, SYSTEM, ManagedIdentitySource::CloudShell).await;
    for identity in user_assigned() {
        assert!(scene.refusal(identity).await.starts_with("Cloud Shell cannot"));
    }
}

#[tokio::test]
async fn service_fabric_is_known_by_its_thumbprint_and_knows_one_identity() {
    let scene = Scene::new(Platform::ServiceFabric).await;
    is_given(&scene, SYSTEM, ManagedIdentitySource::ServiceFabric).await;
    for identity in user_assigned() {
        assert!(scene.refusal(identity).await.starts_with("Service Fabric"));
    }
}

#[tokio::test]
async fn service_fabric_is_told_which_token_was_rejected() {
    let scene = Scene::new(Platform::ServiceFabric).await;
    let client = scene.client(SYSTEM).await;
    let first = client.acquire_token_for_managed_identity(VAULT).await.unwrap();
    let second = client
        .acquire_token_for_managed_identity(VAULT)
        .instead_of(first.access_token())
        .await
        .unwrap();
    assert_ne!(first.access_token(), second.access_token());
    let hash: String = first
        .access_token()
        .sha256()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let asked = scene.endpoint.requests();
    assert_eq!(asked[0].parameter("token_sha256_to_refresh"), None);
    assert_eq!(asked[1].parameter("token_sha256_to_refresh"), Some(hash.as_str()));
}

#[tokio::test]
async fn azure_arc_is_shown_its_key_and_knows_one_identity() {
    let scene = Scene::arc().await;
    is_given(&scene, SYSTEM, ManagedIdentitySource::AzureArc).await;
    for identity in user_assigned() {
        assert!(scene.refusal(identity).await.starts_with("Azure Arc cannot"));
    }
}

#[tokio::test]
async fn azure_arc_is_found_by_its_program_too() {
    let scene = Scene::arc().await;
    let none = flows::managed_identity::ManagedIdentityEnvironment::of(|_| None);
    let builder = scene
        .builder(SYSTEM)
        .await
        .environment(none.clone().arc_agent(true));
    assert_eq!(builder.build().unwrap().source(), ManagedIdentitySource::AzureArc);
    let builder = scene.builder(SYSTEM).await.environment(none);
    assert_eq!(builder.build().unwrap().source(), ManagedIdentitySource::Imds);
}

#[tokio::test]
async fn every_form_of_expiry_is_understood() {
    let scene = Scene::new(Platform::AppService).await;
    let client = scene.client(SYSTEM).await;
    let start = ManualClock::START.to_seconds().0;
    for expiry in [
        Expiry::InAndOn,
        Expiry::OnNumber,
        Expiry::OnDigits,
        Expiry::In,
        Expiry::OnText("01/01/2026 01:00:00 +00:00"),
        Expiry::OnText("1/1/2026 1:00:00 AM +00:00"),
        Expiry::OnText("2026-01-01T01:00:00.0000000+00:00"),
    ] {
        scene.endpoint.set_expiry(expiry);
        let result = client
            .acquire_token_for_managed_identity(VAULT)
            .force_refresh(true)
            .await
            .unwrap();
        assert_eq!(result.expires_on().0, start + 3600, "{expiry:?}");
        assert_eq!(result.metadata().refresh_on, None);
    }
}

#[tokio::test]
async fn a_token_with_a_long_life_is_due_when_half_of_it_is_over() {
    let scene = Scene::new(Platform::Imds).await;
    scene.endpoint.set_lifetime(Duration::from_secs(24 * 3600));
    let client = scene.client(SYSTEM).await;
    let result = client.acquire_token_for_managed_identity(VAULT).await.unwrap();
    let due = ManualClock::START.to_seconds().0 + 12 * 3600;
    assert_eq!(result.metadata().refresh_on.map(|moment| moment.0), Some(due));
}

#[tokio::test]
async fn the_endpoint_is_strict() {
    // Else the tests above would show nothing: each of these is a request that is almost right.
    let clock = Arc::new(ManualClock::new());
    let endpoint = ManagedIdentityEndpoint::start(Platform::Imds, clock)
        .await
        .unwrap();
    let origin = endpoint.variable("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap();
    let good = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net";
    let http = flows::http::ReqwestClient::new().unwrap();
    let status = async |path: &str, headers: &[(&'static str, &str)]| {
        let url = format!("{origin}{path}").parse().unwrap();
        let mut request = flows::http::HttpRequest::get(url, Duration::from_secs(10));
        for (name, value) in headers {
            request = request.header(name, cache_core::secret::Secret::new(*value));
        }
        flows::http::HttpClient::send(&http, request)
            .await
            .unwrap()
            .status
    };
    let metadata = [("metadata", "true")];
    assert_eq!(status(good, &metadata).await, 200);
    assert_eq!(status(good, &[]).await, 400);
    assert_eq!(status(good, &[("metadata", "True")]).await, 400);
    assert_eq!(
        status(good, &[("metadata", "true"), ("x-forwarded-for", "10.0.0.1")]).await,
        400
    );
    for (wrong, code) in [
        (good.replace("2018-02-01", "2019-08-01"), 400),
        (good.replace("resource=", "scope="), 400),
        (good.replace("oauth2/token", "oauth2"), 404),
        (format!("{good}&mi_res_id={RESOURCE_ID}"), 400),
        (format!("{good}&client_id={OBJECT_ID}"), 400),
        (format!("{good}&resource=https://vault.azure.net"), 400),
    ] {
        assert_eq!(status(&wrong, &metadata).await, code, "{wrong}");
    }
}
