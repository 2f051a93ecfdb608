use serde_json::{Value, json};

use super::*;
use crate::authority::TenantPolicy;

const NOW: i64 = 1_700_000_000;

fn jwt(header: &Value, claims: &Value, signature: &str) -> Secret {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    Secret::new(format!("{}.{}.{signature}", encode(header), encode(claims)))
}

fn good() -> Value {
    json!({
        "iss": "https://id.example", "sub": "s", "aud": "client", "nonce": "n",
        "exp": NOW + 60, "iat": NOW - 5,
    })
}

fn check_token(token: &Secret) -> Result<IdTokenClaims, IdTokenError> {
    IdTokenRules {
        issuer: &IssuerRule::of("https://id.example", TenantPolicy::Any),
        client_id: "client",
        nonce: Some(&Secret::new("n")),
        max_age: None,
        access_token: None,
        code: None,
        now: UnixSeconds(NOW),
    }
    .check(token)
}

fn check(changes: &Value) -> Result<(), IdTokenError> {
    let mut claims = good();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    check_token(&jwt(&json!({"alg": "RS256"}), &claims, "sig")).map(|_| ())
}

#[test]
fn each_broken_claim_has_its_own_error() {
    for (changes, expected) in [
        (json!({}), Ok(())),
        (json!({"iss": "https://id.example/"}), Err(IdTokenError::Issuer)),
        (json!({"iss": null}), Err(IdTokenError::Missing("iss"))),
        (json!({"iss": 7}), Err(IdTokenError::Missing("iss"))),
        (json!({"sub": null}), Err(IdTokenError::Missing("sub"))),
        (json!({"sub": ""}), Err(IdTokenError::Missing("sub"))),
        (json!({"aud": null}), Err(IdTokenError::Missing("aud"))),
        (json!({"aud": "other"}), Err(IdTokenError::Audience)),
        (json!({"aud": ["client"]}), Ok(())),
        (json!({"aud": []}), Err(IdTokenError::Audience)),
        (
            json!({"aud": ["client", "other"]}),
            Err(IdTokenError::AuthorizedParty),
        ),
        (json!({"aud": ["client", "other"], "azp": "client"}), Ok(())),
        (json!({"azp": "other"}), Err(IdTokenError::AuthorizedParty)),
        (json!({"exp": NOW - 299}), Ok(())),
        (json!({"exp": NOW - 300}), Err(IdTokenError::Expired)),
        (json!({"exp": -1}), Err(IdTokenError::Expired)),
        (json!({"exp": null}), Err(IdTokenError::Missing("exp"))),
        (json!({"exp": "soon"}), Err(IdTokenError::Missing("exp"))),
        (json!({"exp": (NOW + 60).to_string()}), Ok(())),
        (json!({"iat": NOW + 300}), Ok(())),
        (json!({"iat": NOW + 301}), Err(IdTokenError::FromTheFuture)),
        (json!({"iat": null}), Err(IdTokenError::Missing("iat"))),
        (json!({"nonce": "m"}), Err(IdTokenError::Nonce)),
        (json!({"nonce": null}), Err(IdTokenError::Nonce)),
        (json!({"nonce": ""}), Err(IdTokenError::Nonce)),
    ] {
        assert_eq!(check(&changes), expected, "{changes}");
    }
}

#[test]
fn only_asymmetric_algorithms_are_accepted() {
    for algorithm in ["RS256", "PS512", "ES256", "EdDSA"] {
        assert!(check_token(&jwt(&json!({"alg": algorithm}), &good(), "sig")).is_ok());
    }
    for algorithm in ["HS256", "NONE", "None", "rs256", "RS1", "A128KW"] {
        let refused = check_token(&jwt(&json!({"alg": algorithm}), &good(), "sig"));
        assert_eq!(refused.unwrap_err(), IdTokenError::Algorithm, "{algorithm}");
    }
    for signature in ["", "sig"] {
        let refused = check_token(&jwt(&json!({"alg": "none"}), &good(), signature));
        assert_eq!(refused.unwrap_err(), IdTokenError::Algorithm);
    }
    assert_eq!(
        check_token(&jwt(&json!({}), &good(), "sig")).unwrap_err(),
        IdTokenError::Missing("alg")
    );
}

#[test]
fn what_is_no_jwt_is_unreadable() {
    let unsigned = jwt(&json!({"alg": "RS256"}), &good(), "");
    for token in [
        "",
        ".",
        "..",
        "a.b.c",
        "e30.e30",
        "e30.e30.s.s",
        "e30.e30.s.s.s",
        "!.e30.s",
        unsigned.expose(),
    ] {
        assert_eq!(
            check_token(&Secret::new(token)).unwrap_err(),
            IdTokenError::Unreadable,
            "{token}"
        );
    }
}

#[test]
fn the_user_name_falls_back_but_never_identifies() {
    let name = |claims: Value| {
        let token = jwt(&json!({"alg": "RS256"}), &claims, "s");
        IdTokenClaims::decode(&token)
            .unwrap()
            .username()
            .map(str::to_owned)
    };
    assert_eq!(
        name(json!({"preferred_username": "a", "email": "b"})).as_deref(),
        Some("a")
    );
    assert_eq!(name(json!({"upn": "u"})).as_deref(), Some("u"));
    assert_eq!(name(json!({"emails": ["e", "f"]})).as_deref(), Some("e"));
    assert_eq!(name(json!({"sub": "s"})), None);
}

#[test]
fn debug_shows_no_claim() {
    let token = jwt(&json!({"alg": "RS256"}), &json!({"name": "canary"}), "s");
    assert!(!format!("{:?}", IdTokenClaims::decode(&token).unwrap()).contains("canary"));
}
