use cache_core::schema::AuthorityKind as Kind;
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P521_SHA512};

use super::super::testing::{certificate, elliptic_key, private_key, rsa_key};
use super::*;

/// A test's certificate with its key, made by `openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -days 36500`,
/// `openssl rsa -traditional`, `openssl x509 -fingerprint`, and the same for P-256.
const RSA: &str = include_str!("test_rsa.pem");
const RSA_PKCS1: &str = include_str!("test_rsa_pkcs1.pem");
const RSA_SHA1: &str = "vLzLk9E3C6Xn2M4FiVuvqFPn3lA";
const RSA_SHA256: &str = "U-gQ_LObszuKBf_vWr3Yapp3ag64LdkeQOPhvy_X22c";
const EC: &str = include_str!("test_ec.pem");
const EC_SEC1: &str = include_str!("test_ec_sec1.pem");

#[test]
fn keys_are_read_in_every_usual_form() {
    for (certificate, key) in [(RSA, RSA), (RSA, RSA_PKCS1), (EC, EC), (EC, EC_SEC1)] {
        ClientCertificate::from_pem(certificate, &Secret::new(key)).unwrap();
    }
}

#[test]
fn thumbprints_are_those_of_openssl() {
    let certificate = ClientCertificate::from_pem(RSA, &Secret::new(RSA)).unwrap();
    let member = |kind| certificate.header(kind).remove(0);
    assert_eq!(member(Kind::Adfs), ("x5t", RSA_SHA1.into()));
    assert_eq!(member(Kind::Entra), ("x5t#S256", RSA_SHA256.into()));
}

#[test]
fn what_cannot_be_used_is_refused_without_being_repeated() {
    let (key, other) = (rsa_key(), rsa_key());
    let own = certificate(&key);
    let canary = "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----";
    for (certificates, private, expected) in [
        (own.as_str(), "", "no PEM section"),
        (&own, "canary", "no PEM section"),
        (&own, canary, "damaged"),
        (
            &own,
            &canary.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
            "encrypted",
        ),
        (
            &own,
            &canary.replace("PRIVATE KEY", "OPENSSH PRIVATE KEY"),
            "damaged",
        ),
        (&own, "-----BEGIN PRIVATE KEY-----canary", "cut off"),
        (
            &own,
            "-----BEGIN PRIVATE KEY-----\n*canary*\n-----END PRIVATE KEY-----",
            "base64",
        ),
        (
            &own,
            &elliptic_key(&PKCS_ECDSA_P521_SHA512).serialize_pem(),
            "P-384",
        ),
        (
            &own,
            &other.serialize_pem(),
            "not the certificate of the private key",
        ),
        ("", &key.serialize_pem(), "no PEM section"),
        ("-----BEGIN CERTIFICATE-----", &key.serialize_pem(), "cut off"),
    ] {
        let refused = ClientCertificate::from_pem(certificates, &Secret::new(private)).unwrap_err();
        let shown = format!("{refused} {refused:?}");
        assert!(shown.contains(expected), "{shown}");
        assert!(!shown.contains("canary") && !shown.contains("Y2Fu"), "{shown}");
    }
}

#[test]
fn an_authority_that_cannot_accept_it_is_found_out_before_anything_is_sent() {
    let elliptic = elliptic_key(&PKCS_ECDSA_P256_SHA256);
    let of =
        |key: &rcgen::KeyPair| ClientCertificate::from_pem(&certificate(key), &private_key(key)).unwrap();
    let bare = ClientCertificate::from_private_key(&private_key(&rsa_key())).unwrap();
    for kind in [Kind::Entra, Kind::B2c, Kind::Ciam, Kind::Adfs] {
        assert!(of(&rsa_key()).check(kind).is_ok());
        assert!(of(&elliptic).check(kind).is_err(), "{kind:?}");
        assert!(bare.check(kind).is_err(), "{kind:?}");
    }
    assert!(of(&elliptic).check(Kind::Oidc).is_ok());
    assert!(bare.check(Kind::Oidc).is_ok());
    assert!(
        bare.clone()
            .send_certificate_chain(true)
            .check(Kind::Oidc)
            .is_err()
    );
    assert!(bare.send_thumbprint(true).check(Kind::Oidc).is_err());
}

#[test]
fn nothing_of_a_key_is_shown() {
    let key = rsa_key();
    let certificate = ClientCertificate::from_pem(&certificate(&key), &private_key(&key)).unwrap();
    let shown = format!("{certificate:?}");
    assert!(shown.contains("Rsa([redacted])"), "{shown}");
    assert!(shown.len() < 200, "{shown}");
}
