use std::collections::HashMap;

use cache_core::random::OsRandom;

use super::*;

fn oidc() -> (Authority, Metadata) {
    let authority = Authority::detect("https://id.example").unwrap();
    let entra = Authority::detect("https://login.microsoftonline.com/common").unwrap();
    let metadata = Metadata {
        issuer: crate::authority::IssuerRule::Exact("https://id.example".into()),
        authorization_endpoint: Some(Url::parse("https://id.example/authorize?tenant=1").unwrap()),
        ..Metadata::by_convention(&entra).unwrap()
    };
    (authority, metadata)
}

fn begin() -> PendingAuthorization {
    let (authority, metadata) = oidc();
    AuthorizationRequest::new("client", "https://app.example/back", ScopeSet::parse("a b"))
        .prompt(Prompt::Login)
        .login_hint("ada & co")
        .begin(&authority, &metadata, &OsRandom)
        .unwrap()
}

#[test]
fn the_url_binds_state_nonce_and_challenge() {
    let pending = begin();
    let query: HashMap<_, _> = pending.url().query_pairs().into_owned().collect();
    let parts = &pending.parts;
    for (name, value) in [
        ("tenant", "1"),
        ("client_id", "client"),
        ("response_type", "code"),
        ("redirect_uri", "https://app.example/back"),
        ("scope", "a b openid profile offline_access"),
        ("code_challenge_method", "S256"),
        ("prompt", "login"),
        ("login_hint", "ada & co"),
        ("state", parts.state.expose()),
        ("nonce", parts.nonce.expose()),
        (
            "code_challenge",
            &URL_SAFE_NO_PAD.encode(parts.code_verifier.sha256()),
        ),
    ] {
        assert_eq!(query.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!pending.url().as_str().contains(parts.code_verifier.expose()));
    assert_ne!(parts.state, begin().parts.state);
    let shown = format!("{pending:?}");
    for secret in [&parts.state, &parts.nonce, &parts.code_verifier] {
        assert_eq!(secret.expose().len(), 43);
        assert!(!shown.contains(secret.expose()));
    }
}

#[test]
fn pkce_is_never_downgraded_and_bindings_are_never_overridden() {
    let (authority, metadata) = oidc();
    let request = || AuthorizationRequest::new("client", "https://app.example/back", ScopeSet::default());
    let plain = Metadata {
        code_challenge_methods: Some(vec!["plain".into()]),
        ..metadata.clone()
    };
    let refused = request().begin(&authority, &plain, &OsRandom);
    assert!(matches!(refused, Err(Error::Discovery(error)) if *error.kind() == DiscoveryErrorKind::NoS256));
    for name in RESERVED {
        let refused = request()
            .parameter(name, "x")
            .begin(&authority, &metadata, &OsRandom);
        assert!(matches!(refused, Err(Error::Configuration(_))), "{name}");
    }
    let none = Metadata {
        authorization_endpoint: None,
        ..metadata
    };
    assert!(matches!(
        request().begin(&authority, &none, &OsRandom),
        Err(Error::Discovery(_))
    ));
}

#[test]
fn only_the_response_of_this_sign_in_is_accepted() {
    let (authority, metadata) = oidc();
    let promised = Metadata {
        authorization_response_iss: true,
        ..metadata.clone()
    };
    let pending = begin();
    let state = pending.parts.state.expose();
    let accept = |metadata: &Metadata, response: &str| match pending.accept(
        &authority,
        metadata,
        &response.replace("STATE", state),
    ) {
        Ok(code) => Ok(code.secret().expose().to_owned()),
        Err(Error::AuthorizationResponse(error)) => Err(error),
        Err(other) => panic!("{other:?}"),
    };
    use AuthorizationResponseError::{Issuer, NoCode, Repeated, State};
    for response in [
        "https://app.example/back?code=a%2Bb&state=STATE",
        "/back?state=STATE&code=a%2Bb&session_state=x#_=_",
        "?code=a%2Bb&state=STATE",
        "code=a%2Bb&state=STATE",
        "code=a%2Bb&state=STATE&iss=https%3A%2F%2Fid.example",
        "code=a%2Bb&state=STATE&next=https://x.example/?y",
    ] {
        assert_eq!(accept(&metadata, response).as_deref(), Ok("a+b"), "{response}");
    }
    for (response, expected) in [
        ("", State),
        ("https://app.example/back", State),
        ("code=a", State),
        ("code=a&state=", State),
        ("code=a&state=STATEx", State),
        ("error=access_denied&state=forged", State),
        ("code=a&state=STATE&state=STATE", Repeated),
        ("code=a&code=b&state=STATE", Repeated),
        ("code=a&state=STATE&iss=https://evil.example", Issuer),
        ("code=a&state=STATE&iss=https://id.example/", Issuer),
        ("state=STATE", NoCode),
        ("code=&state=STATE", NoCode),
    ] {
        assert_eq!(accept(&metadata, response), Err(expected), "{response}");
    }
    assert_eq!(accept(&promised, "code=a&state=STATE"), Err(Issuer));
    assert_eq!(
        accept(&promised, "code=a&state=STATE&iss=https://id.example").as_deref(),
        Ok("a")
    );
}

#[test]
fn a_lost_state_matches_nothing() {
    let (authority, metadata) = oidc();
    let lost = PendingParts {
        state: Secret::default(),
        ..begin().into_parts()
    };
    for response in ["code=a&state=", "code=a"] {
        let refused = lost.accept(&authority, &metadata, response);
        assert!(matches!(
            refused,
            Err(Error::AuthorizationResponse(AuthorizationResponseError::State))
        ));
    }
}

#[test]
fn a_refusal_by_redirect_is_typed_and_clean() {
    let (authority, metadata) = oidc();
    let pending = begin();
    let answer = |error: &str| {
        let response = format!(
            "error={error}&error_description=a%1B%5B2Jb&state={}",
            pending.parts.state.expose()
        );
        pending.accept(&authority, &metadata, &response)
    };
    let Err(Error::Authority(denied)) = answer("access_denied") else {
        panic!()
    };
    assert_eq!(denied.to_string(), "the authority refused: access_denied: a [2Jb");
    assert!(matches!(
        answer("login_required"),
        Err(Error::InteractionRequired(_))
    ));
}

#[test]
fn redeeming_sends_the_verifier_and_entra_the_scopes() {
    let (authority, metadata) = oidc();
    let pending = begin();
    let response = format!("code=c&state={}", pending.parts.state.expose());
    let code = pending.accept(&authority, &metadata, &response).unwrap();
    let form = |authority: &Authority| {
        let bytes = pending.token_request(authority, &code).form.into_bytes();
        String::from_utf8(bytes.expose().to_vec()).unwrap()
    };
    let verifier = pending.parts.code_verifier.expose();
    let expected = format!(
        "grant_type=authorization_code&code=c&redirect_uri=https%3A%2F%2Fapp.example%2Fback&code_verifier={verifier}"
    );
    assert_eq!(form(&authority), expected);
    let entra = Authority::detect("https://login.microsoftonline.com/common").unwrap();
    assert_eq!(
        form(&entra),
        format!("{expected}&scope=a+b+openid+profile+offline_access")
    );
}
