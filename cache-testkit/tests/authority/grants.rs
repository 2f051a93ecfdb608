use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cache_testkit::authority::{
    ALICE, CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Client, Config, Endpoint, FakeAuthority, Grant,
    HOME_TENANT, Lifetimes, PASSWORD, PUBLIC_CLIENT,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::json;

use crate::client::{Answer, TestClient, send, text};
use crate::verify::verified;

const DEFAULT_SCOPE: &str = "https://graph.microsoft.com/.default";
const GRAPH: &str = "00000003-0000-0000-c000-000000000000";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn app_form<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut form = vec![("grant_type", "client_credentials"), ("scope", DEFAULT_SCOPE)];
    form.extend(more);
    form
}

async fn password(client: &TestClient, scope: &str, more: &[(&str, &str)]) -> Answer {
    let mut form = vec![
        ("client_id", PUBLIC_CLIENT),
        ("grant_type", "password"),
        ("username", ALICE),
        ("password", PASSWORD),
        ("scope", scope),
    ];
    form.extend(more);
    client.token(HOME_TENANT, &form).await
}

#[tokio::test]
async fn client_credentials_by_form_and_by_basic_authentication() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let form = app_form(&[
        ("client_id", CONFIDENTIAL_CLIENT),
        ("client_secret", CONFIDENTIAL_SECRET),
    ]);
    let body = client.token(HOME_TENANT, &form).await.granted();
    for absent in ["scope", "refresh_token", "id_token", "client_info"] {
        assert_eq!(body.get(absent), None, "{absent}");
    }
    let claims = verified(&client, &text(&body, "access_token"), GRAPH).await;
    assert_eq!(claims["azp"], CONFIDENTIAL_CLIENT);
    assert_eq!(claims["idtyp"], "app");

    let basic = STANDARD.encode(format!("{CONFIDENTIAL_CLIENT}:{CONFIDENTIAL_SECRET}"));
    let request = client.request(HOME_TENANT, "token", &app_form(&[]));
    let answer = send(request.header("authorization", format!("Basic {basic}")))
        .await
        .unwrap();
    assert!(authority.is_access_token_active(&answer.field("access_token")));
    assert!(authority.families().is_empty());
}

#[tokio::test]
async fn clients_that_do_not_prove_themselves_are_refused() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let refused =
        async |tenant: &str, more: &[(&str, &str)]| client.token(tenant, &app_form(more)).await.refused();
    let id = ("client_id", CONFIDENTIAL_CLIENT);
    let secret = ("client_secret", CONFIDENTIAL_SECRET);
    let invalid_client = |code| ("invalid_client".to_owned(), code);

    assert_eq!(refused(HOME_TENANT, &[id]).await, invalid_client(7_000_218));
    assert_eq!(
        refused(HOME_TENANT, &[id, ("client_secret", "wrong")]).await,
        invalid_client(7_000_215)
    );
    let public = [("client_id", PUBLIC_CLIENT), secret];
    assert_eq!(refused(HOME_TENANT, &public).await, invalid_client(700_025));
    assert_eq!(refused("common", &[id, secret]).await.1, 9_001_023);
    assert_eq!(
        refused(HOME_TENANT, &[("client_id", "nobody"), secret]).await.1,
        700_016
    );

    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "User.Read"),
        id,
        secret,
    ];
    assert_eq!(
        client.token(HOME_TENANT, &form).await.refused(),
        ("invalid_scope".to_owned(), 1_002_012)
    );
    let unsupported = client
        .token(HOME_TENANT, &[("grant_type", "magic"), id, secret])
        .await;
    assert_eq!(unsupported.refused().0, "unsupported_grant_type");
    assert_eq!(
        client.token(HOME_TENANT, &[id, secret]).await.refused().1,
        900_144
    );
}

#[tokio::test]
async fn secrets_are_read_from_a_posted_form_only() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let query = format!(
        "client_id={CONFIDENTIAL_CLIENT}&client_secret={CONFIDENTIAL_SECRET}&grant_type=client_credentials"
    );
    let path = format!("/{HOME_TENANT}/oauth2/v2.0/token?{query}");
    assert_eq!(client.get(&path).await.refused().1, 900_561);
    let posted = client.post_page(&path, format!("scope={DEFAULT_SCOPE}")).await;
    assert_eq!(posted.refused().1, 900_144);
}

#[tokio::test]
async fn a_signed_assertion_proves_the_client_if_a_registered_key_verifies_it() {
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let app =
        Client::confidential(CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET).assertion_key(&pair.public_key_pem());
    let authority = FakeAuthority::start(Config::default().client(app)).await.unwrap();
    let client = TestClient::new(&authority);
    let other = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let audience = format!("{}/oauth2/v2.0/token", authority.authority_url(HOME_TENANT));
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();

    let assertion = |key: &KeyPair, algorithm: Algorithm, audience: &str, expires_at: u64| {
        let key = EncodingKey::from_rsa_pem(key.serialize_pem().as_bytes()).unwrap();
        let claims = json!({
            "iss": CONFIDENTIAL_CLIENT, "sub": CONFIDENTIAL_CLIENT, "aud": audience,
            "iat": now, "nbf": now, "exp": expires_at, "jti": "1",
        });
        jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).unwrap()
    };
    let ask = async |assertion: String| {
        let form = app_form(&[
            ("client_id", CONFIDENTIAL_CLIENT),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", &assertion),
        ]);
        client.token(HOME_TENANT, &form).await
    };

    for algorithm in [Algorithm::RS256, Algorithm::PS256] {
        ask(assertion(&pair, algorithm, &audience, now + 600))
            .await
            .granted();
    }
    let refused = [
        assertion(&other, Algorithm::PS256, &audience, now + 600),
        assertion(&pair, Algorithm::PS256, "https://elsewhere.test", now + 600),
        assertion(&pair, Algorithm::PS256, &audience, now - 1),
        "nonsense".to_owned(),
    ];
    for assertion in refused {
        assert_eq!(
            ask(assertion).await.refused(),
            ("invalid_client".to_owned(), 700_027)
        );
    }
}

#[tokio::test]
async fn the_password_grant_checks_user_and_password() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let body = password(&client, "User.Read openid profile", &[("client_info", "1")])
        .await
        .granted();
    assert_eq!(
        verified(&client, &text(&body, "access_token"), GRAPH).await["scp"],
        "User.Read"
    );
    // A public client gets a refresh token unasked.
    assert!(body["refresh_token"].is_string());
    assert!(body["client_info"].is_string());
    let form = |username, password| {
        [
            ("client_id", PUBLIC_CLIENT),
            ("grant_type", "password"),
            ("username", username),
            ("password", password),
            ("scope", "User.Read"),
        ]
    };
    assert_eq!(
        client.token(HOME_TENANT, &form(ALICE, "wrong")).await.refused().1,
        50_126
    );
    assert_eq!(
        client
            .token(HOME_TENANT, &form("carol", PASSWORD))
            .await
            .refused()
            .1,
        50_034
    );
}

#[tokio::test]
async fn on_behalf_of_takes_only_a_live_access_token_for_this_client() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let exchange = async |assertion: &str| {
        let form = [
            ("client_id", CONFIDENTIAL_CLIENT),
            ("client_secret", CONFIDENTIAL_SECRET),
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("requested_token_use", "on_behalf_of"),
            ("assertion", assertion),
            ("scope", "Mail.Read openid offline_access"),
            ("client_info", "1"),
        ];
        client.token(HOME_TENANT, &form).await
    };
    let scope = format!("api://{CONFIDENTIAL_CLIENT}/access openid");
    let signed_in = password(&client, &scope, &[]).await.granted();
    let for_service = text(&signed_in, "access_token");
    let body = exchange(&for_service).await.granted();
    let claims = verified(&client, &text(&body, "access_token"), GRAPH).await;
    assert_eq!(
        (&claims["preferred_username"], &claims["scp"]),
        (&json!(ALICE), &json!("Mail.Read"))
    );
    assert!(body["refresh_token"].is_string());

    let for_graph = password(&client, "User.Read", &[]).await.field("access_token");
    for refused in [for_graph.as_str(), &text(&signed_in, "id_token"), "nonsense"] {
        assert_eq!(
            exchange(refused).await.refused(),
            ("invalid_grant".to_owned(), 50_013)
        );
    }
    authority.advance(Duration::from_secs(3_600));
    assert_eq!(exchange(&for_service).await.refused().1, 50_013);
}

#[tokio::test]
async fn a_saml_assertion_is_taken_in_base64url_and_by_its_own_grant_only() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let exchange = async |grant: &str, assertion: &str| {
        let form = [
            ("client_id", CONFIDENTIAL_CLIENT),
            ("client_secret", CONFIDENTIAL_SECRET),
            ("grant_type", grant),
            ("requested_token_use", "on_behalf_of"),
            ("assertion", assertion),
            ("scope", "Mail.Read openid"),
        ];
        client.token(HOME_TENANT, &form).await
    };
    let saml2 = "urn:ietf:params:oauth:grant-type:saml2-bearer";
    let hour = Duration::from_secs(3_600);
    let xml = authority
        .saml_assertion(ALICE, CONFIDENTIAL_CLIENT, hour)
        .unwrap();
    let encoded = URL_SAFE_NO_PAD.encode(&xml);
    let body = exchange(saml2, &encoded).await.granted();
    let claims = verified(&client, &text(&body, "access_token"), GRAPH).await;
    assert_eq!(claims["preferred_username"], ALICE);
    assert!(body.get("refresh_token").is_none(), "none was asked for");

    let jwt = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    let inner = xml
        .split("SignatureValue>")
        .nth(1)
        .unwrap()
        .strip_suffix("</")
        .unwrap();
    let other = authority.saml_assertion(ALICE, PUBLIC_CLIENT, hour).unwrap();
    for (grant, refused) in [
        (saml2, xml.as_str()),
        (
            saml2,
            &URL_SAFE_NO_PAD.encode(xml.replace("<Subject>", "").replace(inner, "a.b.c")),
        ),
        (saml2, &URL_SAFE_NO_PAD.encode(&other)),
        (jwt, inner),
    ] {
        assert_eq!(exchange(grant, refused).await.refused().1, 50_013);
    }
    assert!(
        authority
            .saml_assertion("carol", CONFIDENTIAL_CLIENT, hour)
            .is_err()
    );
    authority.advance(hour);
    assert_eq!(exchange(saml2, &encoded).await.refused().1, 50_013);
}

#[tokio::test]
async fn lifetimes_change_while_it_runs() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let lifetimes = Lifetimes::default()
        .access_token(Duration::from_secs(7_200))
        .refresh_in(Duration::from_secs(3_600))
        .extended(None);
    authority.set_lifetimes(lifetimes);
    let body = password(&client, "User.Read", &[]).await.granted();
    assert_eq!(
        (&body["expires_in"], &body["refresh_in"]),
        (&json!(7_200), &json!(3_600))
    );
    assert_eq!(body.get("ext_expires_in"), None);
    let access_token = text(&body, "access_token");
    authority.advance(Duration::from_secs(7_190));
    assert!(authority.is_access_token_active(&access_token));
    authority.advance(Duration::from_secs(20));
    assert!(!authority.is_access_token_active(&access_token));
}

#[tokio::test]
async fn a_claims_request_shows_in_the_token_and_in_the_record() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let client = TestClient::new(&authority);
    let claims = r#"{"access_token":{"xms_cc":{"values":["cp1"]},"acrs":{"essential":true,"value":"c1"}}}"#;
    let token = password(&client, "User.Read", &[("claims", claims)])
        .await
        .field("access_token");
    let reflected = verified(&client, &token, GRAPH).await;
    assert_eq!(
        (&reflected["xms_cc"], &reflected["acrs"]),
        (&json!(["cp1"]), &json!(["c1"]))
    );
    assert_eq!(
        password(&client, "User.Read", &[("claims", "{")])
            .await
            .refused()
            .0,
        "invalid_request"
    );

    let requests = authority.requests();
    let first = &requests[0];
    assert_eq!(
        (first.endpoint, first.grant),
        (Endpoint::Token, Some(Grant::Password))
    );
    assert_eq!(first.client_id.as_deref(), Some(PUBLIC_CLIENT));
    assert_eq!(first.scopes, ["User.Read"]);
    assert!(first.has_claims);
    assert!(first.header_names.iter().any(|name| name == "content-type"));
    assert!(!format!("{requests:?}").contains(PASSWORD));
    assert!(
        authority
            .request_form(0)
            .unwrap()
            .contains(&("password".to_owned(), PASSWORD.to_owned()))
    );
}
