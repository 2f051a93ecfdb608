use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::secret::SecretBytes;
use cache_core::time::UnixSeconds;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::authority::IssuerRule;
use crate::http::HttpResponse;
use crate::id_token::IdTokenError;

const SENT: i64 = 1_700_000_000;
const HOME: &str = "11111111-1111-1111-1111-111111111111";
const GUEST: &str = "22222222-2222-2222-2222-222222222222";
const OID: &str = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa";

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn jwt(claims: &Value) -> String {
    format!("{}.{}.c2ln", encode(&json!({"alg": "RS256"})), encode(claims))
}

fn claims(extra: &Value) -> Value {
    let mut claims = json!({"sub": "s", "aud": "client", "exp": SENT + 60, "iat": SENT});
    for (name, value) in extra.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn entra_claims(tenant: &str, extra: &Value) -> Value {
    let mut claims = claims(&json!({
        "iss": format!("https://login.microsoftonline.com/{tenant}/v2.0"),
        "tid": tenant, "oid": OID, "preferred_username": "ada@contoso.com", "name": "Ada",
    }));
    for (name, value) in extra.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn client_info(uid: &str) -> String {
    encode(&json!({"uid": uid, "utid": HOME}))
}

fn entra() -> (Authority, Metadata) {
    let authority = Authority::detect("https://login.microsoftonline.com/common").unwrap();
    let metadata = Metadata::by_convention(&authority).unwrap();
    (authority, metadata)
}

fn oidc() -> (Authority, Metadata) {
    let metadata = Metadata {
        issuer: IssuerRule::Exact("https://id.example".into()),
        ..entra().1
    };
    (Authority::detect("https://id.example").unwrap(), metadata)
}

fn read(authority: &(Authority, Metadata), subject: &Subject, body: &Value) -> Result<TokenResponse, Error> {
    read_as(TokenType::Bearer, authority, subject, body)
}

fn read_as(
    token_type: TokenType,
    authority: &(Authority, Metadata),
    subject: &Subject,
    body: &Value,
) -> Result<TokenResponse, Error> {
    let context = ReplyContext {
        authority: &authority.0,
        metadata: &authority.1,
        client_id: "client",
        scopes: &ScopeSet::parse("asked"),
        context: &TokenContext::default(),
        subject,
        max_age: None,
        token_type,
        sent_at: UnixMillis(SENT * 1_000 + 900),
        now: UnixMillis(SENT * 1_000 + 5_000),
    };
    let response = HttpResponse {
        status: 200,
        headers: Vec::new(),
        body: SecretBytes::new(body.to_string().into_bytes()),
    };
    token_response(&context, &response.into())
}

const NEW: Subject = Subject::NewUser { nonce: None };

fn signed_in(authority: &(Authority, Metadata), body: &Value) -> Subject {
    let response = read(authority, &NEW, body).unwrap();
    Subject::KnownUser(Box::new(KnownUser {
        id_token: response
            .id_token
            .as_ref()
            .map(|token| IdTokenClaims::decode(token).unwrap()),
        account: response.account.unwrap(),
    }))
}

#[test]
fn a_bound_token_is_what_was_asked_for_or_nothing() {
    let bound = TokenType::Bound {
        scheme: "DPoP".into(),
        key_id: "thumbprint".into(),
    };
    let typed = |asked: &TokenType, name: Value| {
        let body = json!({"access_token": "a", "token_type": name});
        read_as(asked.clone(), &oidc(), &Subject::Application, &body)
    };
    for name in ["DPoP", "dpop"] {
        assert_eq!(typed(&bound, json!(name)).unwrap().token_type, bound);
        assert!(
            typed(&TokenType::Bearer, json!(name)).is_err(),
            "it was not asked for"
        );
    }
    for name in [json!("Bearer"), json!("bearer"), json!(null), json!("pop")] {
        let refused = typed(&bound, name).unwrap_err();
        assert!(
            matches!(refused, Error::Reply(ReplyError::TokenType(_))),
            "{refused:?}"
        );
    }
}

#[test]
fn lifetimes_count_from_sending_and_never_overflow() {
    let lifetime = |expires_in: Value| {
        let body = json!({"access_token": "a", "expires_in": expires_in});
        read(&oidc(), &Subject::Application, &body).unwrap().expires_on.0 - SENT
    };
    for (value, seconds) in [
        (json!(60), 60),
        (json!("60"), 60),
        (json!(60.9), 60),
        (json!("60.9"), 60),
        (json!(-60), 0),
        (json!(u64::MAX), 3_155_760_000),
        (json!(1e300), 3_155_760_000),
        (json!(null), 3_600),
        (json!("never"), 3_600),
        (json!([60]), 3_600),
    ] {
        assert_eq!(lifetime(value.clone()), seconds, "{value}");
    }
}

#[test]
fn every_part_of_an_entra_reply_is_kept() {
    let response = read(
        &entra(),
        &NEW,
        &json!({
            "token_type": "bEaReR", "access_token": "at", "refresh_token": "rt", "foci": 1,
            "expires_in": "3600", "ext_expires_in": 7200, "refresh_in": "1800",
            "refresh_token_expires_in": 86400, "scope": "User.Read Mail.Read",
            "id_token": jwt(&entra_claims(HOME, &json!({}))), "client_info": client_info(OID),
        }),
    )
    .unwrap();
    assert_eq!(response.requested_at, UnixSeconds(SENT));
    assert_eq!(response.expires_on, UnixSeconds(SENT + 3_600));
    assert_eq!(response.extended_expires_on, Some(UnixSeconds(SENT + 7_200)));
    assert_eq!(response.refresh_on, Some(UnixSeconds(SENT + 1_800)));
    assert_eq!(
        response.refresh_token_expires_on,
        Some(UnixSeconds(SENT + 86_400))
    );
    assert_eq!(response.family_id.as_deref(), Some("1"));
    assert_eq!(response.scopes.as_str(), "User.Read Mail.Read");
    assert_eq!(response.token_type, TokenType::Bearer);
    let account = response.account.unwrap();
    assert_eq!(account.home_account_id, format!("{OID}.{HOME}"));
    assert_eq!((&*account.realm, &*account.local_account_id), (HOME, OID));
    assert_eq!(
        (&*account.username, account.name.as_deref()),
        ("ada@contoso.com", Some("Ada"))
    );
    assert_eq!((&*account.authority_type, account.issuer), ("MSSTS", None));
    assert!(account.tenant_profiles[0].is_home_tenant);
}

#[test]
fn a_guest_has_the_tenant_of_the_token_and_the_account_of_home() {
    let body = json!({
        "access_token": "at", "client_info": client_info("home-oid"),
        "id_token": jwt(&entra_claims(GUEST, &json!({}))),
    });
    let response = read(&entra(), &NEW, &body).unwrap();
    assert_eq!(response.realm, GUEST);
    let account = response.account.unwrap();
    assert_eq!(account.home_account_id, format!("home-oid.{HOME}"));
    assert_eq!((&*account.realm, &*account.local_account_id), (GUEST, OID));
    assert!(!account.tenant_profiles[0].is_home_tenant);
}

#[test]
fn a_generic_issuer_names_accounts_by_subject_and_client_info_is_ignored() {
    let body = json!({
        "access_token": "at", "client_info": client_info("victim"), "foci": "1",
        "id_token": jwt(&claims(&json!({"iss": "https://id.example", "oid": "victim", "tid": HOME}))),
    });
    let response = read(&oidc(), &NEW, &body).unwrap();
    assert_eq!((&*response.realm, response.scopes.as_str()), ("", "asked"));
    let account = response.account.unwrap();
    assert_eq!(
        (&*account.home_account_id, &*account.local_account_id),
        ("s", "s")
    );
    assert_eq!(account.issuer.as_deref(), Some("https://id.example"));
    assert!(account.tenant_profiles.is_empty());
}

#[test]
fn the_names_of_an_account_steer_no_terminal() {
    let names = json!({"preferred_username": "ada\u{1b}[2J\u{202e}", "name": "A\u{9b}31m\r\nda"});
    let body = json!({
        "access_token": "at", "client_info": client_info(OID), "id_token": jwt(&entra_claims(HOME, &names)),
    });
    let account = read(&entra(), &NEW, &body).unwrap().account.unwrap();
    let profile = &account.tenant_profiles[0];
    assert_eq!(
        (&*account.username, account.name.as_deref()),
        ("ada [2J", Some("A 31m  da"))
    );
    assert_eq!(
        (profile.username.as_deref(), profile.name.as_deref()),
        (Some("ada [2J"), Some("A 31m  da"))
    );
}

#[test]
fn an_application_gets_no_user() {
    let body = json!({"access_token": "at", "refresh_token": "rt", "id_token": "junk", "client_info": "junk", "foci": "1"});
    let response = read(&oidc(), &Subject::Application, &body).unwrap();
    assert!(response.account.is_none() && response.refresh_token.is_none() && response.id_token.is_none());
    assert!(response.family_id.is_none());
}

#[test]
fn what_is_missing_or_unasked_is_an_error() {
    let error = |subject: &Subject, body: Value| read(&oidc(), subject, &body).unwrap_err();
    let reply = |subject: &Subject, body: Value| match error(subject, body) {
        Error::Reply(error) => error,
        other => panic!("{other:?}"),
    };
    let app = Subject::Application;
    assert_eq!(reply(&app, json!({})), ReplyError::Missing("access_token"));
    assert_eq!(
        reply(&app, json!({"access_token": ""})),
        ReplyError::Missing("access_token")
    );
    assert_eq!(
        reply(&app, json!({"access_token": ["a"]})),
        ReplyError::Missing("access_token")
    );
    assert_eq!(
        reply(&app, json!({"access_token": "a", "token_type": "DPoP"})),
        ReplyError::TokenType("DPoP".into())
    );
    assert_eq!(reply(&NEW, json!({"access_token": "a"})), ReplyError::NoAccount);
    let with_nonce = Subject::NewUser {
        nonce: Some(Secret::new("n")),
    };
    assert_eq!(
        reply(&with_nonce, json!({"access_token": "a"})),
        ReplyError::Missing("id_token")
    );
    let id_token = jwt(&claims(&json!({"iss": "https://id.example", "nonce": "stale"})));
    let stale = error(&with_nonce, json!({"access_token": "a", "id_token": id_token}));
    assert!(matches!(stale, Error::IdToken(IdTokenError::Nonce)));
    let forged = jwt(&claims(&json!({"iss": "https://evil.example"})));
    let refused = error(&NEW, json!({"access_token": "a", "id_token": forged}));
    assert!(matches!(refused, Error::IdToken(IdTokenError::Issuer)));
    let broken = read(&entra(), &NEW, &json!({"access_token": "a", "client_info": "%"})).unwrap_err();
    assert!(matches!(broken, Error::Reply(ReplyError::ClientInfo)));
}

#[test]
fn a_sign_in_for_openid_alone_needs_no_access_token() {
    let id_token = jwt(&claims(&json!({"iss": "https://id.example"})));
    let response = read(&oidc(), &NEW, &json!({"id_token": id_token})).unwrap();
    assert!(response.access_token.is_none() && response.account.is_some());
}

#[test]
fn a_refresh_for_another_user_is_refused() {
    let id = |extra: &Value| jwt(&claims(extra));
    let known = signed_in(
        &oidc(),
        &json!({"access_token": "a", "id_token": id(&json!({"iss": "https://id.example", "name": "Ada"}))}),
    );
    let same = id(&json!({"iss": "https://id.example"}));
    let kept = read(&oidc(), &known, &json!({"access_token": "b", "id_token": same}))
        .unwrap()
        .account
        .unwrap();
    assert_eq!((&*kept.home_account_id, kept.name.as_deref()), ("s", Some("Ada")));
    assert!(
        read(&oidc(), &known, &json!({"access_token": "b"})).is_ok(),
        "an ID token is optional on refresh"
    );
    let other = id(&json!({"iss": "https://id.example", "sub": "mallory"}));
    let refused = read(&oidc(), &known, &json!({"access_token": "b", "id_token": other})).unwrap_err();
    assert!(matches!(refused, Error::IdToken(IdTokenError::AnotherUser)));
}

#[test]
fn client_info_and_the_id_token_must_be_of_one_user_at_home() {
    let body = |uid: &str, tenant: &str, extra: &Value| {
        json!({
            "access_token": "a", "client_info": client_info(uid),
            "id_token": jwt(&entra_claims(tenant, extra)),
        })
    };
    let mixed = read(&entra(), &NEW, &body("mallory", HOME, &json!({}))).unwrap_err();
    assert!(
        matches!(mixed, Error::Reply(ReplyError::MixedAccounts)),
        "{mixed:?}"
    );
    assert!(read(&entra(), &NEW, &body(&OID.to_uppercase(), HOME, &json!({}))).is_ok());
    // A guest's `oid` is another one than at home, and an ID token need not have one.
    assert!(read(&entra(), &NEW, &body("home-oid", GUEST, &json!({}))).is_ok());
    assert!(read(&entra(), &NEW, &body("home-oid", HOME, &json!({"oid": null}))).is_ok());
}

#[test]
fn an_entra_refresh_must_bring_the_same_account() {
    let body = |info: &str, tenant: &str, extra: &Value| {
        json!({
            "access_token": "a", "client_info": client_info(info),
            "id_token": jwt(&entra_claims(tenant, extra)),
        })
    };
    let known = signed_in(&entra(), &body(OID, HOME, &json!({})));
    assert!(read(&entra(), &known, &body(OID, HOME, &json!({}))).is_ok());
    let guest = read(
        &entra(),
        &known,
        &body(OID, GUEST, &json!({"oid": "other", "sub": "other"})),
    )
    .unwrap();
    assert_eq!(guest.realm, GUEST);
    assert_eq!(guest.account.unwrap().home_account_id, format!("{OID}.{HOME}"));
    let refused = read(&entra(), &known, &body("mallory", HOME, &json!({}))).unwrap_err();
    assert!(matches!(refused, Error::Reply(ReplyError::AnotherAccount)));
    for extra in [json!({"sub": "mallory"}), json!({"oid": "mallory"})] {
        let refused = read(&entra(), &known, &body(OID, HOME, &extra)).unwrap_err();
        assert!(
            matches!(refused, Error::IdToken(IdTokenError::AnotherUser)),
            "{extra}"
        );
    }
    let mut unvouched = body(OID, GUEST, &json!({}));
    unvouched.as_object_mut().unwrap().remove("client_info");
    let refused = read(&entra(), &known, &unvouched).unwrap_err();
    assert!(matches!(refused, Error::IdToken(IdTokenError::AnotherUser)));
    let silent = read(&entra(), &known, &json!({"access_token": "b"})).unwrap();
    assert_eq!(silent.realm, HOME, "common is no tenant");
}

#[test]
fn debug_of_a_reply_shows_no_token() {
    let body = json!({"access_token": "canary", "scope": "s"});
    let response = read(&oidc(), &Subject::Application, &body).unwrap();
    assert!(!format!("{response:?}").contains("canary"));
}

proptest! {
    /// Whatever an authority sends ends in an answer or a typed error, and no error repeats it.
    #[test]
    fn no_reply_panics_or_leaks(status in 100_u16..700, body in ".{0,200}", id_token in "[a-zA-Z0-9_.=-]{0,80}") {
        let authority = entra();
        let context = ReplyContext {
            authority: &authority.0,
            metadata: &authority.1,
            client_id: "client",
            scopes: &ScopeSet::default(),
            context: &TokenContext::default(),
            subject: &NEW,
            max_age: None,
            token_type: TokenType::Bearer,
            sent_at: UnixMillis(i64::MAX),
            now: UnixMillis(i64::MAX),
        };
        let structured = json!({
            "access_token": "canary", "id_token": id_token, "client_info": id_token, "expires_in": body,
        });
        for body in [body, structured.to_string()] {
            let response = HttpResponse { status, headers: Vec::new(), body: SecretBytes::new(body.into_bytes()) };
            let error = token_response(&context, &response.into()).unwrap_err();
            let shown = format!("{error} {error:?}");
            prop_assert!(!shown.contains("canary"));
        }
    }
}
