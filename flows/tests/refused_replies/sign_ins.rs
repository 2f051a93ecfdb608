//! Replies to a sign-in: what is refused leaves the store untouched, byte for byte.

use cache_testkit::authority::{Alteration, Endpoint, Script};
use flows::error::{IdTokenError, IssuerKeysErrorKind, ReplyError};
use flows::http::HttpErrorKind;
use flows::{Error, IdTokenVerification};
use serde_json::{Value, json};

use crate::scene::Scene;

/// The ID token's claim set to a value that cannot be right.
pub(crate) fn claim(name: &str, value: Value) -> Script {
    Script::alter([Alteration::IdTokenClaim(name.to_owned(), value)])
}

pub(crate) fn field(name: &str, value: Value) -> Script {
    Script::alter([Alteration::Set(name.to_owned(), value)])
}

/// A name of the error's variant, down to the reason.
pub(crate) fn variant(error: &Error) -> String {
    match error {
        Error::IdToken(error) => format!("IdToken::{error:?}"),
        Error::Reply(error) => format!("Reply::{error:?}"),
        Error::Http(error) => format!("Http::{:?}", error.kind()),
        Error::IssuerKeys(error) => format!("IssuerKeys::{:?}", error.kind()),
        other => format!("{other:?}"),
    }
}

pub(crate) fn id_token(error: IdTokenError) -> String {
    variant(&error.into())
}

pub(crate) fn reply(error: ReplyError) -> String {
    variant(&error.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_lies_is_refused_by_name_and_nothing_of_it_is_stored() {
    let scene = Scene::new(IdTokenVerification::Always).await;
    scene.sign_in().await.unwrap();
    let account = scene.account().await;
    let before = scene.records().await;
    assert!(!before.is_empty());
    for (script, expected) in [
        (
            Script::alter([Alteration::wrong_issuer()]),
            id_token(IdTokenError::Issuer),
        ),
        (claim("nonce", json!("stale")), id_token(IdTokenError::Nonce)),
        (claim("nonce", Value::Null), id_token(IdTokenError::Nonce)),
        (
            claim("aud", json!("another-client")),
            id_token(IdTokenError::Audience),
        ),
        (
            claim("azp", json!("another-client")),
            id_token(IdTokenError::AuthorizedParty),
        ),
        (claim("exp", json!(1_000)), id_token(IdTokenError::Expired)),
        (
            claim("iat", json!(9_999_999_999_u64)),
            id_token(IdTokenError::FromTheFuture),
        ),
        (claim("sub", Value::Null), id_token(IdTokenError::Missing("sub"))),
        (
            claim("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")),
            id_token(IdTokenError::AccessTokenHash),
        ),
        (
            Script::alter([Alteration::IdTokenSignature]),
            id_token(IdTokenError::Signature),
        ),
        (
            field("id_token", json!("garbage")),
            id_token(IdTokenError::Unreadable),
        ),
        (
            Script::alter([Alteration::omit("id_token")]),
            reply(ReplyError::Missing("id_token")),
        ),
        (
            field("token_type", json!("mac")),
            reply(ReplyError::TokenType("mac".into())),
        ),
        (field("client_info", json!("!")), reply(ReplyError::ClientInfo)),
        (
            Script::redirect("https://evil.example/token"),
            reply(ReplyError::Redirected(307)),
        ),
        (
            Script::endless_body(),
            format!("Http::{:?}", HttpErrorKind::OutcomeUnknown),
        ),
    ] {
        let shown = format!("{script:?}");
        scene.authority.script(script);
        let error = scene.sign_in().await.expect_err(&shown);
        assert_eq!(variant(&error), expected, "{shown}");
        assert_eq!(scene.records().await, before, "{shown}");
    }
    for garbage in ["", "<html>", "[]", "\"x\"", "{\"access_token\":"] {
        let (parts, back) = scene.visit().await;
        scene.wire.replace_reply(200, garbage);
        let error = scene
            .client
            .acquire_token_by_authorization_code(&parts, &back)
            .await
            .expect_err(garbage);
        assert_eq!(variant(&error), reply(ReplyError::Unreadable(200)), "{garbage}");
        assert_eq!(scene.records().await, before, "{garbage}");
    }
    assert_eq!(scene.authority.scripts_left(), 0);
    scene.silent(&account, "User.Read").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_issuers_keys_no_code_is_redeemed() {
    let scene = Scene::new(IdTokenVerification::Always).await;
    let (parts, back) = scene.visit().await;
    scene.authority.script(Script::status(500).on(Endpoint::Keys));
    let error = scene
        .client
        .acquire_token_by_authorization_code(&parts, &back)
        .await
        .unwrap_err();
    let Error::IssuerKeys(error) = error else {
        panic!("{error:?}")
    };
    assert_eq!(error.kind(), IssuerKeysErrorKind::Status(500));
    let asked = scene.authority.requests();
    assert!(asked.iter().all(|request| request.endpoint != Endpoint::Token));
}
