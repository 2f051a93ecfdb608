//! What goes wrong is told, typed and without a secret; and secrets go nowhere else.

use cache_testkit::managed_identity::{Failure, Platform, SECRET};
use flows::Error;
use flows::managed_identity::{ManagedIdentityEnvironment, ManagedIdentityId};

use crate::scene::{SYSTEM, Scene, VAULT, shown};

#[tokio::test]
async fn a_wrong_secret_is_refused_in_each_platforms_words() {
    for (platform, variable, code, correlation_id) in [
        (
            Platform::AppService,
            "IDENTITY_HEADER",
            "http_401",
            Some("correlation-1"),
        ),
        (Platform::AzureMl, "MSI_SECRET", "http_401", Some("correlation-1")),
        (
            Platform::ServiceFabric,
            "IDENTITY_HEADER",
            "invalid_request",
            Some("correlation-1"),
        ),
    ] {
        let scene = Scene::new(platform).await;
        let environment = scene.environment_with(variable, "canary-other-secret");
        let builder = scene.builder(SYSTEM).await.environment(environment);
        let client = builder.build().unwrap();
        let error = client
            .acquire_token_for_managed_identity(VAULT)
            .await
            .unwrap_err();
        assert!(!shown(&error).contains("canary"), "{}", shown(&error));
        let Error::Authority(error) = error else {
            panic!("{error:?}")
        };
        assert_eq!(error.code(), code);
        assert_eq!(error.refusal().correlation_id.as_deref(), correlation_id);
        assert!(error.to_string().contains("header"), "{error}");
        assert_eq!(scene.endpoint.requests().len(), 1);
    }
}

#[tokio::test]
async fn an_unknown_identity_and_an_unknown_resource_are_refused() {
    let scene = Scene::new(Platform::Imds).await;
    let stranger = ManagedIdentityId::UserAssignedClientId("nobody".into());
    let client = scene.client(stranger).await;
    let error = client
        .acquire_token_for_managed_identity(VAULT)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("Identity not found"), "{error}");
    let client = scene.client(SYSTEM).await;
    let error = client
        .acquire_token_for_managed_identity("nothing")
        .await
        .unwrap_err();
    let Error::Authority(error) = error else {
        panic!("{error:?}")
    };
    assert_eq!(error.code(), "invalid_resource");
}

#[tokio::test]
async fn what_makes_no_sense_is_not_sent() {
    let scene = Scene::new(Platform::Imds).await;
    let client = scene.client(SYSTEM).await;
    for resource in ["", "https://a https://b", "/.default"] {
        let error = client
            .acquire_token_for_managed_identity(resource)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Configuration(_)), "{error:?}");
    }
    for id in ["", "a b"] {
        let id = ManagedIdentityId::UserAssignedClientId(id.into());
        assert!(scene.refusal(id).await.contains("ID of the managed identity"));
    }
    assert!(scene.endpoint.requests().is_empty());
}

#[tokio::test]
async fn another_certificate_than_service_fabrics_gets_no_secret() {
    let scene = Scene::new(Platform::ServiceFabric).await;
    let other = Scene::new(Platform::ServiceFabric).await;
    let thumbprint = other.endpoint.variable("IDENTITY_SERVER_THUMBPRINT").unwrap();
    let environment = scene.environment_with("IDENTITY_SERVER_THUMBPRINT", &thumbprint);
    let client = scene
        .builder(SYSTEM)
        .await
        .environment(environment)
        .build()
        .unwrap();
    let error = client
        .acquire_token_for_managed_identity(VAULT)
        .await
        .unwrap_err();
    assert!(
        shown(&error).contains("ApplicationVerificationFailure"),
        "{}",
        shown(&error)
    );
    assert!(!shown(&error).contains(SECRET));
    assert!(scene.endpoint.requests().is_empty(), "no request was sent");
}

#[tokio::test]
async fn service_fabric_without_a_certificate_to_check_is_refused() {
    let scene = Scene::new(Platform::ServiceFabric).await;
    for (name, value, part) in [
        ("IDENTITY_SERVER_THUMBPRINT", "1234", "40 hexadecimal digits"),
        ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/token", "no https URL"),
    ] {
        let environment = scene.environment_with(name, value);
        let error = scene
            .builder(SYSTEM)
            .await
            .environment(environment)
            .build()
            .unwrap_err();
        assert!(
            matches!(&error, Error::Configuration(_)) && error.to_string().contains(part),
            "{error}"
        );
    }
}

#[tokio::test]
async fn secrets_go_to_https_loopback_and_link_local_addresses_alone() {
    let scene = Scene::new(Platform::Imds).await;
    let built = async |name: &'static str, url: &'static str| {
        let environment = ManagedIdentityEnvironment::of(|asked| match asked {
            "IDENTITY_HEADER" if name == "IDENTITY_ENDPOINT" => Some("canary".to_owned()),
            _ => (asked == name).then(|| url.to_owned()),
        });
        scene.builder(SYSTEM).await.environment(environment).build()
    };
    for name in [
        "IDENTITY_ENDPOINT",
        "MSI_ENDPOINT",
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    ] {
        for good in [
            "http://169.254.169.254",
            "http://169.254.129.2:8081",
            "http://127.0.0.1:41741",
            "https://identity.test",
        ] {
            assert!(built(name, good).await.is_ok(), "{name} {good}");
        }
        for bad in [
            "http://identity.test",
            "http://169.255.169.254",
            "http://10.0.0.1:8081",
            "http://[fe80::1]",
            "http://169.254.169.254.identity.test",
            "http://user@169.254.169.254",
            "http://user:password@127.0.0.1",
            "ftp://127.0.0.1",
            "not a URL",
        ] {
            let error = built(name, bad).await.unwrap_err();
            let names_it = error.to_string().contains(name) && !shown(&error).contains("canary");
            assert!(
                matches!(error, Error::Configuration(_)) && names_it,
                "{name} {bad}: {error}"
            );
        }
    }
}

#[tokio::test]
async fn a_reply_that_is_no_token_is_an_error() {
    let scene = Scene::new(Platform::AppService).await;
    let client = scene.client(SYSTEM).await;
    for (body, part) in [
        ("<html>", "no JSON object"),
        (r#"{"access_token":"canary"}"#, "no `expires_on`"),
        (r#"{"expires_in":"1"}"#, "no `access_token`"),
        (
            r#"{"access_token":"canary","expires_in":3600,"token_type":"pop"}"#,
            "token type",
        ),
    ] {
        scene.endpoint.fail_next(Failure::Body(body));
        let error = client
            .acquire_token_for_managed_identity(VAULT)
            .await
            .unwrap_err();
        let shown = shown(&error);
        assert!(shown.contains(part) && !shown.contains("canary"), "{shown}");
    }
}
