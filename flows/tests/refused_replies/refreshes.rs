//! Replies to a refresh: what is refused serves nobody, and the tokens that are still valid go on serving.

use std::error::Error as _;

use cache_testkit::authority::{Alteration, BOB, Config, Endpoint, Grant, Script};
use flows::error::{IdTokenError, ReplyError};
use flows::http::HttpErrorKind;
use flows::{Error, IdTokenVerification, TokenSource};
use serde_json::json;

use crate::scene::Scene;
use crate::sign_ins::{claim, field, id_token, reply, variant};

/// What the flow said beneath what the cache says: that the outcome is unknown.
fn cause(error: &Error) -> String {
    assert!(
        matches!(error, Error::Cache(error) if error.is_outcome_unknown()),
        "{error:?}"
    );
    let mut source = error.source();
    while let Some(current) = source {
        if let Some(cause) = current.downcast_ref::<Error>() {
            return variant(cause);
        }
        source = current.source();
    }
    panic!("no cause: {error:?}")
}

/// The refresh token was sent, so the cache notes that its fate is unknown: the record changes by that note alone. Every row
/// that serves anybody stays, byte for byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_lies_is_refused_by_name_and_every_row_stays() {
    let another_account = || Script::alter([Alteration::ClientInfoOf(BOB.to_owned())]);
    let stranger = "99999999-9999-9999-9999-999999999999";
    for (script, expected) in [
        (another_account(), reply(ReplyError::AnotherAccount)),
        (
            claim("sub", json!("another")),
            id_token(IdTokenError::AnotherUser),
        ),
        (claim("oid", json!(stranger)), id_token(IdTokenError::AnotherUser)),
        (
            Script::alter([Alteration::wrong_issuer()]),
            id_token(IdTokenError::Issuer),
        ),
        (claim("tid", json!(stranger)), id_token(IdTokenError::Issuer)),
        (
            claim("aud", json!("another-client")),
            id_token(IdTokenError::Audience),
        ),
        (claim("exp", json!(1_000)), id_token(IdTokenError::Expired)),
        (
            Script::alter([Alteration::IdTokenSignature]),
            id_token(IdTokenError::Signature),
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
        let scene = Scene::new(IdTokenVerification::Always).await;
        let signed_in = scene.sign_in().await.unwrap();
        let account = scene.account().await;
        let before = scene.rows().await;
        scene.authority.script(script);
        let error = scene.silent(&account, "Mail.Read").await.expect_err(&shown);
        assert_eq!(cause(&error), expected, "{shown}");
        assert_eq!(scene.rows().await, before, "{shown}");
        let valid = scene.silent(&account, "User.Read").await.unwrap();
        assert_eq!(valid.metadata().source, TokenSource::Memory);
        assert_eq!(valid.access_token(), signed_in.access_token());
        assert_eq!(
            scene.authority.grant_count(Grant::RefreshToken).requests,
            1,
            "{shown}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_place_of_a_refresh_is_refused_and_every_row_stays() {
    for garbage in ["", "<html>", "[]", "{}"] {
        let scene = Scene::new(IdTokenVerification::WhereNotOverTls).await;
        scene.sign_in().await.unwrap();
        let account = scene.account().await;
        let before = scene.rows().await;
        scene.wire.replace_reply(200, garbage);
        let error = scene.silent(&account, "Mail.Read").await.expect_err(garbage);
        let expected = match garbage {
            "{}" => reply(ReplyError::Missing("access_token")),
            _ => reply(ReplyError::Unreadable(200)),
        };
        assert_eq!(cause(&error), expected, "{garbage}");
        assert_eq!(scene.rows().await, before, "{garbage}");
        scene.silent(&account, "User.Read").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_not_spent_where_the_reply_could_not_be_checked() {
    let scene = Scene::new(IdTokenVerification::Always).await;
    scene.sign_in().await.unwrap();
    let account = scene.account().await;
    let second = scene
        .again(|client| client.verify_id_tokens(IdTokenVerification::Always))
        .await;
    let before = second.records().await;
    scene.authority.script(Script::status(503).on(Endpoint::Keys));
    let error = second.silent(&account, "Mail.Read").await.unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Cache(cache_core::cache::CacheError::Unreachable(_))
        ),
        "{error:?}"
    );
    assert_eq!(second.records().await, before, "not even a note");
    assert_eq!(scene.authority.grant_count(Grant::RefreshToken).requests, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_plain_http_every_signature_is_checked_and_rolled_keys_are_found() {
    let scene = Scene::with(Config::plain_http(), IdTokenVerification::WhereNotOverTls).await;
    scene.sign_in().await.unwrap();
    let account = scene.account().await;
    let key_requests = || {
        let requests = scene.authority.requests();
        requests
            .iter()
            .filter(|request| request.endpoint == Endpoint::Keys)
            .count()
    };
    assert_eq!(key_requests(), 1);
    scene.authority.roll_signing_key().unwrap();
    scene.silent(&account, "Mail.Read").await.unwrap();
    assert_eq!(key_requests(), 2, "the new key was fetched");
    scene
        .authority
        .script(Script::alter([Alteration::IdTokenSignature]));
    let error = scene.silent(&account, "Files.Read").await.unwrap_err();
    assert_eq!(cause(&error), id_token(IdTokenError::Signature));
    assert_eq!(key_requests(), 2);
}
