//! Keys that change, keys that cannot be had, and who asks for them how often.

use std::sync::Arc;
use std::time::Duration;

use flows::Error;
use flows::error::{IdTokenError, IssuerKeysErrorKind};

use crate::issuer::{Answer, Bench, Key};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn is_unknown(result: Result<flows::IdTokenClaims, Error>) -> bool {
    matches!(result, Err(Error::IdToken(IdTokenError::UnknownKey)))
}

fn unavailable(result: Result<flows::IdTokenClaims, Error>) -> IssuerKeysErrorKind {
    match result {
        Err(Error::IssuerKeys(error)) => error.kind(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it() {
    let (old, new) = (Key::rsa("old"), Key::rsa("new"));
    let bench = Bench::oidc(vec![old.jwk.clone()]).await;
    bench.verify(&old.sign(&bench.claims())).await.unwrap();
    bench.answer(Answer::Keys(vec![new.jwk.clone()]));
    bench.verify(&new.sign(&bench.claims())).await.unwrap();
    assert_eq!(bench.fetches(), 2);
    assert!(
        is_unknown(bench.verify(&old.sign(&bench.claims())).await),
        "withdrawn"
    );
    assert_eq!(bench.fetches(), 2);
}

#[tokio::test]
async fn made_up_names_reach_the_issuer_once_in_five_minutes_whoever_shows_them() {
    let (key, stranger) = (Key::rsa("k"), Key::rsa("made-up"));
    let bench = Arc::new(Bench::oidc(vec![key.jwk.clone()]).await);
    bench.verify(&key.sign(&bench.claims())).await.unwrap();
    let storm = |count: usize| {
        let tasks: Vec<_> = (0..count)
            .map(|index| {
                let mut header = stranger.header();
                header.kid = Some(format!("made-up-{index}"));
                let token = stranger.sign_as(&header, &bench.claims());
                let bench = Arc::clone(&bench);
                tokio::spawn(async move { is_unknown(bench.verify(&token).await) })
            })
            .collect();
        async move {
            for task in tasks {
                assert!(task.await.unwrap());
            }
        }
    };
    storm(20).await;
    assert_eq!(bench.fetches(), 2, "the first, and one for the storm");
    bench.clock.advance(5 * MINUTE - Duration::from_secs(1));
    storm(5).await;
    assert_eq!(bench.fetches(), 2);
    bench.clock.advance(Duration::from_secs(1));
    storm(5).await;
    assert_eq!(bench.fetches(), 3);
    bench.verify(&key.sign(&bench.claims())).await.unwrap();
}

#[tokio::test]
async fn keys_are_kept_for_a_day_and_for_another_if_they_cannot_be_had() {
    let key = Key::rsa("k");
    let bench = Bench::oidc(vec![key.jwk.clone()]).await;
    let good = async || bench.verify(&key.sign(&bench.claims())).await;
    good().await.unwrap();
    bench.clock.advance(DAY - MINUTE);
    good().await.unwrap();
    assert_eq!(bench.fetches(), 1);
    bench.answer(Answer::Nothing);
    bench.clock.advance(2 * MINUTE);
    good().await.unwrap();
    good().await.unwrap();
    assert_eq!(bench.fetches(), 2, "one attempt, then a pause");
    bench.clock.advance(DAY);
    assert_eq!(unavailable(good().await), IssuerKeysErrorKind::Unreachable);
    bench.clock.advance(MINUTE);
    bench.answer(Answer::Keys(vec![key.jwk.clone()]));
    good().await.unwrap();
}

#[tokio::test]
async fn a_set_that_cannot_be_had_is_an_error_that_says_why_and_asks_again_after_a_pause() {
    let key = Key::rsa("k");
    for (answer, expected) in [
        (Answer::Nothing, IssuerKeysErrorKind::Unreachable),
        (
            Answer::Reply(500, String::new()),
            IssuerKeysErrorKind::Status(500),
        ),
        (Answer::Reply(404, "{}".into()), IssuerKeysErrorKind::Status(404)),
        (Answer::Reply(302, String::new()), IssuerKeysErrorKind::Redirected),
        (
            Answer::Reply(200, "<html>".into()),
            IssuerKeysErrorKind::Unreadable,
        ),
        (
            Answer::Reply(200, r#"{"keys":{}}"#.into()),
            IssuerKeysErrorKind::Unreadable,
        ),
    ] {
        let bench = Bench::oidc(Vec::new()).await;
        bench.answer(answer);
        let token = key.sign(&bench.claims());
        assert_eq!(unavailable(bench.verify(&token).await), expected);
        bench.answer(Answer::Keys(vec![key.jwk.clone()]));
        assert_eq!(
            unavailable(bench.verify(&token).await),
            IssuerKeysErrorKind::JustFailed
        );
        assert_eq!(bench.fetches(), 1);
        bench.clock.advance(Duration::from_secs(5));
        bench.verify(&token).await.unwrap();
    }
}

#[tokio::test]
async fn an_issuer_that_publishes_no_keys_is_not_believed() {
    use flows::authority::{Authority, Metadata};
    use flows::{IdTokenExpectations, IdTokenVerifier, Transport};

    let key = Key::rsa("k");
    let tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47";
    let bench = Bench::entra(vec![key.jwk.clone()], tenant);
    let authority = Authority::entra("https://login.microsoftonline.com/common").unwrap();
    let mut metadata = Metadata::by_convention(&authority).unwrap();
    metadata.jwks_uri = None;
    let clock = Arc::new(bench.clock.clone());
    let transport = Transport::new(
        bench.server.clone(),
        clock,
        Arc::new(cache_core::random::OsRandom),
    );
    let verifier = IdTokenVerifier::new(Arc::new(transport), authority, Arc::new(metadata), "client");
    let token = key.sign(&bench.claims());
    let result = verifier
        .verify(&token, &IdTokenExpectations::without_nonce(), MINUTE)
        .await;
    assert_eq!(unavailable(result), IssuerKeysErrorKind::NotOffered);
}
