//! Signatures of ID tokens: good ones of every kind, and every way to forge one.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::secret::Secret;
use flows::error::IdTokenError;
use flows::{Error, IdTokenClaims, IdTokenExpectations};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::issuer::{Bench, Key};

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

fn refused(result: Result<IdTokenClaims, Error>) -> IdTokenError {
    match result {
        Err(Error::IdToken(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn good_signatures_of_every_kind_of_key_are_accepted() {
    let mut keys = vec![Key::rsa("r"), Key::p256("e"), Key::p384("f"), Key::ed25519("g")];
    let set = keys.iter().map(|key| key.jwk.clone()).collect();
    let bench = Bench::oidc(set).await;
    for algorithm in [Algorithm::RS384, Algorithm::PS256, Algorithm::PS512] {
        let mut header = keys[0].header();
        header.alg = algorithm;
        bench
            .verify(&keys[0].sign_as(&header, &bench.claims()))
            .await
            .unwrap();
    }
    for key in keys.drain(..) {
        let claims = bench.verify(&key.sign(&bench.claims())).await.unwrap();
        assert_eq!(claims.subject(), Some("s"), "{:?}", key.algorithm);
    }
    assert_eq!(bench.fetches(), 1, "the keys are remembered");
}

#[tokio::test]
async fn a_signature_that_is_not_the_issuers_is_refused() {
    let (key, other) = (Key::rsa("k"), Key::rsa("k"));
    let bench = Bench::oidc(vec![key.jwk.clone()]).await;
    assert_eq!(
        refused(bench.verify(&other.sign(&bench.claims())).await),
        IdTokenError::Signature
    );
    // Signed by the issuer, then changed.
    let good = key.sign(&bench.claims());
    let mut forged = bench.claims();
    forged["sub"] = "somebody else".into();
    let parts: Vec<_> = good.expose().split('.').collect();
    let forged = format!(
        "{}.{}.{}",
        parts[0],
        URL_SAFE_NO_PAD.encode(forged.to_string()),
        parts[2]
    );
    let damaged = format!("{}.{}.{}", parts[0], parts[1], "A".repeat(342));
    let not_base64 = format!("{}.{}.!", parts[0], parts[1]);
    for token in [forged, damaged, not_base64] {
        assert_eq!(
            refused(bench.verify(&Secret::new(token)).await),
            IdTokenError::Signature
        );
    }
    assert_eq!(
        bench.fetches(),
        1,
        "a forgery under a known name makes nobody ask again"
    );
}

#[tokio::test]
async fn an_unsigned_token_and_one_signed_with_the_public_key_as_a_secret_are_refused() {
    let key = Key::rsa("k");
    let bench = Bench::oidc(vec![key.jwk.clone()]).await;
    let header = json!({"alg": "none", "kid": "k"});
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = format!("{}.{}.", encode(&header), encode(&bench.claims()));
    assert_eq!(
        refused(bench.verify(&Secret::new(unsigned)).await),
        IdTokenError::Algorithm
    );
    let modulus = key.jwk["n"].as_str().unwrap();
    for secret in [
        modulus.as_bytes().to_vec(),
        URL_SAFE_NO_PAD.decode(modulus).unwrap(),
    ] {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("k".into());
        let token =
            jsonwebtoken::encode(&header, &bench.claims(), &EncodingKey::from_secret(&secret)).unwrap();
        assert_eq!(
            refused(bench.verify(&Secret::new(token)).await),
            IdTokenError::Algorithm
        );
    }
    assert_eq!(bench.fetches(), 0);
}

#[tokio::test]
async fn a_key_that_the_token_brings_along_counts_for_nothing() {
    let (key, evil) = (Key::rsa("k"), Key::rsa("evil"));
    let bench = Bench::oidc(vec![key.jwk.clone()]).await;
    let mut header = evil.header();
    header.jwk = Some(serde_json::from_value(evil.jwk.clone()).unwrap());
    header.jku = Some("https://evil.example/keys".into());
    header.x5u = Some("https://evil.example/certificate".into());
    let token = evil.sign_as(&header, &bench.claims());
    assert_eq!(refused(bench.verify(&token).await), IdTokenError::UnknownKey);
    for injected in ["../../evil", "k' OR '1'='1", "/dev/null", ""] {
        header.kid = Some(injected.into());
        let token = evil.sign_as(&header, &bench.claims());
        let error = refused(bench.verify(&token).await);
        assert!(
            matches!(error, IdTokenError::UnknownKey | IdTokenError::Signature),
            "{injected}: {error:?}"
        );
    }
    assert_eq!(
        bench.fetches(),
        2,
        "once for the keys, once because one was missing"
    );
}

#[tokio::test]
async fn a_key_is_used_only_for_what_it_is_meant_for() {
    let (rsa, p256, p384) = (Key::rsa("r"), Key::p256("e"), Key::p384("f"));
    let short = json!({"kty": "RSA", "kid": "r", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode([0xc1; 128])});
    let secret = json!({"kty": "oct", "kid": "r", "k": "c2VjcmV0"});
    for unusable in [
        rsa.with("use", "enc".into()),
        rsa.with("key_ops", json!(["encrypt"])),
        rsa.with("alg", "RSA-OAEP".into()),
        rsa.with("alg", "PS256".into()),
        rsa.with("n", Value::Null),
        p256.with("kid", "r".into()),
        short,
        secret,
    ] {
        let bench = Bench::oidc(vec![unusable.clone()]).await;
        assert_eq!(
            refused(bench.verify(&rsa.sign(&bench.claims())).await),
            IdTokenError::UnknownKey,
            "{unusable}"
        );
    }
    // The curve has to fit the algorithm, whatever the name says.
    let bench = Bench::oidc(vec![p384.with("kid", "e".into())]).await;
    assert_eq!(
        refused(bench.verify(&p256.sign(&bench.claims())).await),
        IdTokenError::UnknownKey
    );
    // A point that is not on the curve.
    let bench = Bench::oidc(vec![p256.with("x", URL_SAFE_NO_PAD.encode([7; 32]).into())]).await;
    assert_eq!(
        refused(bench.verify(&p256.sign(&bench.claims())).await),
        IdTokenError::Signature
    );
}

#[tokio::test]
async fn a_token_that_names_no_key_is_tried_with_those_of_its_kind() {
    let (first, second, ec) = (Key::rsa("1"), Key::rsa("2"), Key::p256("3"));
    let bench = Bench::oidc(vec![first.jwk.clone(), ec.jwk.clone(), second.jwk.clone()]).await;
    let mut header = second.header();
    header.kid = None;
    bench
        .verify(&second.sign_as(&header, &bench.claims()))
        .await
        .unwrap();
    let stranger = Key::rsa("4").sign_as(&header, &bench.claims());
    assert_eq!(refused(bench.verify(&stranger).await), IdTokenError::Signature);
    // A set whose only key has no name, as small issuers have it.
    let bench = Bench::oidc(vec![first.with("kid", Value::Null)]).await;
    bench.verify(&first.sign(&bench.claims())).await.unwrap();
}

#[tokio::test]
async fn a_name_that_two_keys_bear_means_the_one_that_fits() {
    let (rsa, ec, other) = (Key::rsa("same"), Key::p256("same"), Key::rsa("same"));
    let bench = Bench::oidc(vec![other.jwk.clone(), ec.jwk.clone(), rsa.jwk.clone()]).await;
    for key in [&rsa, &ec, &other] {
        bench.verify(&key.sign(&bench.claims())).await.unwrap();
    }
}

#[tokio::test]
async fn a_key_of_entra_signs_for_the_issuer_that_it_names() {
    let key = Key::rsa("k");
    let named = |issuer: &str| key.with("issuer", issuer.into());
    let template = "https://login.microsoftonline.com/{tenantid}/v2.0";
    for (issuer, tenant, expected) in [
        (template.to_owned(), TENANT, None),
        (template.to_owned(), CONSUMERS, None),
        (template.replace("{tenantid}", TENANT), TENANT, None),
        // The key of personal accounts must not sign for an organisation.
        (
            template.replace("{tenantid}", CONSUMERS),
            TENANT,
            Some(IdTokenError::KeyIssuer),
        ),
        (
            "https://evil.example/{tenantid}/v2.0".to_owned(),
            TENANT,
            Some(IdTokenError::KeyIssuer),
        ),
    ] {
        let bench = Bench::entra(vec![named(&issuer)], tenant);
        let result = bench.verify(&key.sign(&bench.claims())).await;
        match expected {
            None => assert!(result.is_ok(), "{issuer} {tenant}: {result:?}"),
            Some(error) => assert_eq!(refused(result), error, "{issuer}"),
        }
    }
}

#[tokio::test]
async fn what_came_with_the_token_has_to_belong_to_it() {
    let key = Key::rsa("k");
    let bench = Bench::oidc(vec![key.jwk.clone()]).await;
    let hash = |text: &str| URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..16]);
    let mut claims = bench.claims();
    claims["at_hash"] = hash("access").into();
    claims["c_hash"] = hash("code").into();
    claims["auth_time"] = (claims["iat"].as_i64().unwrap() - 1_000).into();
    let token = key.sign(&claims);
    let expected = || IdTokenExpectations::with_nonce(Secret::new("n"));
    let secret = |text: &str| Secret::new(text);
    for (expected, outcome) in [
        (
            expected().access_token(secret("access")).code(secret("code")),
            None,
        ),
        (
            expected().access_token(secret("other")),
            Some(IdTokenError::AccessTokenHash),
        ),
        (expected().code(secret("other")), Some(IdTokenError::CodeHash)),
        (expected().max_age(Duration::from_secs(1_000)), None),
        (
            expected().max_age(Duration::from_secs(100)),
            Some(IdTokenError::AuthenticationTime),
        ),
        (
            IdTokenExpectations::with_nonce(secret("stale")),
            Some(IdTokenError::Nonce),
        ),
        (IdTokenExpectations::without_nonce(), None),
    ] {
        let result = bench.expect(&token, &expected).await;
        match outcome {
            None => assert!(result.is_ok(), "{expected:?}: {result:?}"),
            Some(error) => assert_eq!(refused(result), error, "{expected:?}"),
        }
    }
    let silent = key.sign(&bench.claims());
    let asked = expected().max_age(Duration::from_secs(100));
    assert_eq!(
        refused(bench.expect(&silent, &asked).await),
        IdTokenError::Missing("auth_time")
    );
}
