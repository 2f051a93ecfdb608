use cache_testkit::authority::{Config, FakeAuthority, HOME_TENANT};
use serde_json::json;

use crate::client::TestClient;

#[tokio::test]
async fn the_configuration_of_a_tenant_names_its_own_endpoints() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let base = authority.authority_url(HOME_TENANT);
    for path in [
        "v2.0/.well-known/openid-configuration",
        ".well-known/openid-configuration",
    ] {
        let found = client.get(&format!("/{HOME_TENANT}/{path}")).await.granted();
        assert_eq!(found["issuer"], format!("{base}/v2.0"));
        assert_eq!(found["token_endpoint"], format!("{base}/oauth2/v2.0/token"));
        assert_eq!(
            found["device_authorization_endpoint"],
            format!("{base}/oauth2/v2.0/devicecode")
        );
        assert_eq!(
            found["authorization_endpoint"],
            format!("{base}/oauth2/v2.0/authorize")
        );
    }
}

#[tokio::test]
async fn the_issuer_of_common_is_a_template() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    for tenant in ["common", "organizations"] {
        let found = client
            .get(&format!("/{tenant}/v2.0/.well-known/openid-configuration"))
            .await
            .granted();
        assert_eq!(
            found["issuer"],
            format!("{}/{{tenantid}}/v2.0", authority.base_url())
        );
    }
    let unknown = client
        .get("/99999999-0000-4000-8000-000000000009/v2.0/.well-known/openid-configuration")
        .await;
    assert_eq!(unknown.refused(), ("invalid_request".to_owned(), 90_002));
}

#[tokio::test]
async fn instance_discovery_knows_its_own_host_and_no_stranger() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let ask = |endpoint: String| {
        format!("/common/discovery/instance?api-version=1.1&authorization_endpoint={endpoint}")
    };
    let known = client
        .get(&ask(format!(
            "{}/{HOME_TENANT}/oauth2/v2.0/authorize",
            authority.base_url()
        )))
        .await;
    let known = known.granted();
    let host = authority.base_url().strip_prefix("https://").unwrap();
    assert_eq!(known["metadata"][0]["aliases"], json!([host, "127.0.0.1"]));
    assert_eq!(
        known["tenant_discovery_endpoint"],
        format!(
            "{}/v2.0/.well-known/openid-configuration",
            authority.authority_url(HOME_TENANT)
        )
    );
    let stranger = client
        .get(&ask("https://evil.test/common/oauth2/v2.0/authorize".to_owned()))
        .await;
    assert_eq!(stranger.refused(), ("invalid_instance".to_owned(), 50_049));
}

#[tokio::test]
async fn plain_http_is_there_for_generic_clients() {
    let authority = FakeAuthority::start(Config::plain_http()).await.unwrap();
    assert!(authority.base_url().starts_with("http://127.0.0.1:"));
    assert_eq!(authority.ca_pem(), None);
    let client = TestClient::new(&authority);
    assert_eq!(
        client.get("/common/discovery/v2.0/keys").await.granted()["keys"][0]["kty"],
        "RSA"
    );
}

#[tokio::test]
async fn a_shut_down_or_dropped_authority_no_longer_listens() {
    for shut_down in [true, false] {
        let authority = FakeAuthority::start(Config::plain_http()).await.unwrap();
        let address = authority.base_url().strip_prefix("http://").unwrap().to_owned();
        let client = TestClient::new(&authority);
        client.get("/common/discovery/v2.0/keys").await.granted();
        if shut_down {
            authority.shutdown().await
        } else {
            drop(authority)
        }
        // An aborted task is dropped at its next turn.
        tokio::task::yield_now().await;
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }
}
