//! A client that registered a certificate is held to every rule for its assertions.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cache_testkit::authority::{
    CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Client, Config, FakeAuthority, HOME_TENANT,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{Certificate, CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::client::TestClient;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

struct Party {
    key: KeyPair,
    certificate: Certificate,
}

impl Party {
    fn new() -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let certificate = CertificateParams::new(Vec::new())
            .unwrap()
            .self_signed(&key)
            .unwrap();
        Self { key, certificate }
    }

    fn header(&self) -> Header {
        let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(self.certificate.der()));
        Header {
            x5t_s256: Some(thumbprint),
            ..Header::new(Algorithm::PS256)
        }
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        let key = EncodingKey::from_rsa_pem(self.key.serialize_pem().as_bytes()).unwrap();
        jsonwebtoken::encode(header, claims, &key).unwrap()
    }
}

#[tokio::test]
async fn an_assertion_by_certificate_is_checked_in_full_and_used_once() {
    let (own, other) = (Party::new(), Party::new());
    let app = Client::confidential(CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET)
        .assertion_certificate(&own.certificate.pem(), &own.key.public_key_pem());
    let authority = FakeAuthority::start(Config::default().client(app)).await.unwrap();
    let client = TestClient::new(&authority);
    let audience = format!("{}/oauth2/v2.0/token", authority.authority_url(HOME_TENANT));
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let ask = async |assertion: &str| {
        let form = [
            ("grant_type", "client_credentials"),
            ("scope", "https://graph.microsoft.com/.default"),
            ("client_id", CONFIDENTIAL_CLIENT),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", assertion),
        ];
        client.token(HOME_TENANT, &form).await
    };
    let claims = |jti: &str| {
        json!({
            "iss": CONFIDENTIAL_CLIENT, "sub": CONFIDENTIAL_CLIENT, "aud": audience,
            "iat": now, "nbf": now, "exp": now + 300, "jti": jti,
        })
    };
    let with = |name: &str, value: Value| {
        let mut changed = claims("changed");
        changed[name] = value;
        own.sign(&own.header(), &changed)
    };

    let first = own.sign(&own.header(), &claims("1"));
    ask(&first).await.granted();
    let mut chain = own.header();
    chain.x5c = Some(vec![STANDARD.encode(own.certificate.der())]);
    ask(&own.sign(&chain, &claims("2"))).await.granted();

    let mut rs256 = own.header();
    rs256.alg = Algorithm::RS256;
    let mut wrong_chain = own.header();
    wrong_chain.x5c = Some(vec![STANDARD.encode(other.certificate.der())]);
    for (assertion, why) in [
        (first, "a replay"),
        (own.sign(&rs256, &claims("3")), "the wrong algorithm"),
        (
            own.sign(&Header::new(Algorithm::PS256), &claims("4")),
            "no thumbprint",
        ),
        (own.sign(&other.header(), &claims("5")), "another's thumbprint"),
        (other.sign(&own.header(), &claims("6")), "another's key"),
        (own.sign(&wrong_chain, &claims("7")), "another's chain"),
        (with("exp", (now + 700).into()), "a long life"),
        (with("aud", "https://elsewhere.test".into()), "another audience"),
        (with("iss", "somebody".into()), "another issuer"),
        (with("sub", "somebody".into()), "another subject"),
        (with("jti", Value::Null), "no jti"),
    ] {
        let refused = ask(&assertion).await.refused();
        assert_eq!(refused, ("invalid_client".to_owned(), 700_027), "{why}");
    }
}
