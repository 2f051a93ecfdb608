//! What each kind of authority is sent, verified by another implementation of JWS.

use cache_core::schema::AuthorityKind as Kind;
use jsonwebtoken::{DecodingKey, Validation};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};

use super::super::testing::{NOW, certificate, elliptic_key, private_key, rsa_key, transport};
use super::*;
use crate::authority::Authority;

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const ISSUER: &str = "https://id.example";

fn authority(kind: Kind) -> Authority {
    let url = match kind {
        Kind::Entra => format!("https://login.microsoftonline.com/{TENANT}"),
        Kind::B2c => "https://contoso.b2clogin.com/contoso.onmicrosoft.com/b2c_1_x".to_owned(),
        Kind::Ciam => "https://contoso.ciamlogin.com".to_owned(),
        Kind::Adfs => "https://fs.contoso.com/adfs".to_owned(),
        Kind::Oidc => ISSUER.to_owned(),
    };
    Authority::detect(&url).unwrap()
}

fn metadata(kind: Kind, offered: Option<&[&str]>) -> Metadata {
    let convention = Metadata::by_convention(&authority(Kind::Entra)).unwrap();
    Metadata {
        issuer: match kind {
            Kind::Oidc => IssuerRule::Exact(ISSUER.to_owned()),
            _ => convention.issuer,
        },
        token_endpoint_auth_signing_algorithms: offered
            .map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
        ..convention
    }
}

fn signed(certificate: &ClientCertificate, kind: Kind, offered: Option<&[&str]>) -> Result<Secret, Error> {
    let request = Authentication {
        authority: &authority(kind),
        metadata: &metadata(kind, offered),
        transport: &transport(),
        time_limit: Duration::from_secs(10),
    };
    sign(certificate, "the client", &request)
}

/// Header and claims of an assertion whose signature holds.
fn verified(assertion: &Secret, key: &KeyPair) -> (Value, Value) {
    let header = jsonwebtoken::decode_header(assertion.expose()).unwrap();
    let pem = key.public_key_pem();
    let key = match key.algorithm() == &rcgen::PKCS_RSA_SHA256 {
        true => DecodingKey::from_rsa_pem(pem.as_bytes()),
        false => DecodingKey::from_ec_pem(pem.as_bytes()),
    };
    let mut validation = Validation::new(header.alg);
    (validation.validate_exp, validation.validate_aud) = (false, false);
    let claims = jsonwebtoken::decode::<Value>(assertion.expose(), &key.unwrap(), &validation)
        .unwrap()
        .claims;
    let (encoded, _) = assertion.expose().split_once('.').unwrap();
    (
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).unwrap()).unwrap(),
        claims,
    )
}

#[test]
fn each_kind_of_authority_gets_its_own_algorithm_thumbprint_and_audience() {
    let key = rsa_key();
    let certificate = ClientCertificate::from_pem(&certificate(&key), &private_key(&key)).unwrap();
    let endpoint = format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token");
    for (kind, algorithm, thumbprint, audience) in [
        (Kind::Entra, "PS256", Some("x5t#S256"), endpoint.as_str()),
        (Kind::B2c, "PS256", Some("x5t#S256"), &endpoint),
        (Kind::Ciam, "PS256", Some("x5t#S256"), &endpoint),
        (Kind::Adfs, "RS256", Some("x5t"), &endpoint),
        (Kind::Oidc, "RS256", None, ISSUER),
    ] {
        let (header, claims) = verified(&signed(&certificate, kind, None).unwrap(), &key);
        let mut members: Vec<_> = header.as_object().unwrap().keys().map(String::as_str).collect();
        members.retain(|name| !["alg", "typ"].contains(name));
        assert_eq!(members, Vec::from_iter(thumbprint), "{kind:?}");
        assert_eq!(
            (&header["alg"], &header["typ"]),
            (&algorithm.into(), &"JWT".into()),
            "{kind:?}"
        );
        let jti = claims["jti"].as_str().unwrap();
        let expected = json!({
            "iss": "the client", "sub": "the client", "aud": audience, "jti": jti,
            "iat": NOW, "nbf": NOW, "exp": NOW + 300,
        });
        assert_eq!(claims, expected, "{kind:?}");
        let again = verified(&signed(&certificate, kind, None).unwrap(), &key).1;
        assert_ne!(again["jti"], jti, "each attempt has its own");
        assert_eq!(jti.len(), 22, "128 bits");
    }
}

#[test]
fn an_issuer_that_knows_only_its_token_endpoint_gets_that_as_the_audience() {
    let key = rsa_key();
    let certificate = ClientCertificate::from_private_key(&private_key(&key)).unwrap();
    let audience = |certificate: &ClientCertificate| {
        let assertion = signed(certificate, Kind::Oidc, None).unwrap();
        verified(&assertion, &key).1["aud"].clone()
    };
    assert_eq!(audience(&certificate), ISSUER);
    let certificate = certificate.for_token_endpoint(true);
    let endpoint = format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token");
    assert_eq!(audience(&certificate), endpoint);
}

#[test]
fn an_issuer_gets_an_algorithm_that_it_offers_and_the_key_can_do() {
    let rsa = rsa_key();
    let (p256, p384) = (
        elliptic_key(&PKCS_ECDSA_P256_SHA256),
        elliptic_key(&PKCS_ECDSA_P384_SHA384),
    );
    for (key, offered, expected) in [
        (&rsa, None, Some("RS256")),
        (&rsa, Some(&["HS256", "RS256", "PS256"][..]), Some("PS256")),
        (&rsa, Some(&["RS256"][..]), Some("RS256")),
        (&rsa, Some(&["ES256", "none"][..]), None),
        (&p256, None, Some("ES256")),
        (&p256, Some(&["RS256", "ES256"][..]), Some("ES256")),
        (&p256, Some(&["ES384"][..]), None),
        (&p384, None, Some("ES384")),
        (&p384, Some(&[][..]), None),
    ] {
        let certificate = ClientCertificate::from_private_key(&private_key(key))
            .unwrap()
            .key_id("k");
        match (signed(&certificate, Kind::Oidc, offered), expected) {
            (Ok(assertion), Some(expected)) => {
                let (header, _) = verified(&assertion, key);
                assert_eq!(header, json!({ "alg": expected, "typ": "JWT", "kid": "k" }));
            }
            (Err(Error::Configuration(_)), None) => {}
            (other, _) => panic!("{offered:?}: {other:?}"),
        }
    }
}

#[test]
fn a_chain_and_a_thumbprint_are_sent_where_they_are_asked_for() {
    let key = elliptic_key(&PKCS_ECDSA_P256_SHA256);
    let own = certificate(&key);
    let issuer = certificate(&rsa_key());
    // A bundle in the wrong order: the client's own comes first in the header all the same.
    let certificate = ClientCertificate::from_pem(&format!("{issuer}{own}"), &private_key(&key))
        .unwrap()
        .send_certificate_chain(true)
        .send_thumbprint(true);
    let (header, _) = verified(&signed(&certificate, Kind::Oidc, None).unwrap(), &key);
    let body = |pem: &str| {
        pem.lines()
            .filter(|line| !line.starts_with("--"))
            .collect::<String>()
    };
    assert_eq!(header["x5c"], json!([body(&own), body(&issuer)]));
    assert!(header["x5t#S256"].is_string());
}
