//! Answers that are not believed, and answers that say no.

use cache_testkit::authority::{ALICE, Alteration, BOB, Config, Grant, Script};
use flows::Error;
use flows::error::{AuthorizationResponseError, IdTokenError, ReplyError};
use flows::request::authorization_code::Prompt;
use serde_json::json;
use url::Url;

use crate::scene::{Entra, parameter, redirect_uri, sign_in, with_parameter};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_declines_is_an_error_with_advice() {
    let entra = Entra::new(Config::default()).await;
    entra.authority.set_signed_in_user(None);
    let (result, page) = sign_in(
        |show| {
            entra
                .client
                .acquire_token_interactive(["User.Read"])
                .on_url(show)
                .into_future()
        },
        async |url: Url| entra.agent.follow_url(url).await,
    )
    .await;
    assert!(
        matches!(&result, Err(Error::Authority(error)) if error.code() == "access_denied"),
        "{result:?}"
    );
    for text in [
        "You are not signed in",
        "<code>access_denied</code>",
        "declined",
        "AADSTS65004",
    ] {
        assert!(page.body.contains(text), "{text} in {}", page.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_of_an_error_cannot_become_a_page() {
    let entra = Entra::new(Config::default()).await;
    let (result, page) = sign_in(
        |show| {
            entra
                .client
                .acquire_token_interactive(["User.Read"])
                .on_url(show)
                .into_future()
        },
        async |url: Url| {
            let back = Url::parse(&redirect_uri(&url)).unwrap();
            let back = with_parameter(back.as_str(), "state", &parameter(&url, "state"));
            let back = with_parameter(&back, "error", "<script>alert(1)</script>");
            let back = with_parameter(&back, "error_description", "\"><img src=x onerror=alert(1)>");
            entra.agent.get(&back).await
        },
    )
    .await;
    assert!(matches!(result, Err(Error::Authority(_))));
    // The one script is the page's own.
    assert!(
        page.body.matches("<script").count() == 1
            && !page.body.contains("alert(1)</script")
            && !page.body.contains("<img"),
        "{}",
        page.body
    );
    assert!(page.body.contains("&lt;script&gt;"));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_are_refused_and_waiting_goes_on() {
    let entra = Entra::new(Config::default()).await;
    let (result, page) = sign_in(
        |show| {
            entra
                .client
                .acquire_token_interactive(["User.Read"])
                .on_url(show)
                .into_future()
        },
        async |url: Url| {
            let base = Url::parse(&redirect_uri(&url)).unwrap();
            let back = entra.agent.authorize(&url).await;
            assert_eq!(
                entra
                    .agent
                    .get(base.join("favicon.ico").unwrap().as_str())
                    .await
                    .status,
                404
            );
            assert_eq!(entra.agent.get_as(&back, "evil.test").await.status, 403);
            assert_eq!(entra.agent.post(&back, &[]).await.status, 405);
            let state = parameter(&url, "state");
            for forged in [
                base.to_string(),
                with_parameter(&back, "state", "forged"),
                with_parameter(&back, "state", ""),
                with_parameter(&back, "state", &state[1..]),
                with_parameter(base.as_str(), "error", "access_denied"),
                format!("{back}&state={state}"),
                format!("{back}&code=another"),
            ] {
                let refused = entra.agent.get(&forged).await;
                assert_eq!(refused.status, 400, "{forged}");
                assert!(
                    refused.body.contains("still waiting") && !refused.body.contains(&state),
                    "{forged}"
                );
            }
            entra.agent.get(&back).await
        },
    )
    .await;
    assert_eq!(result.unwrap().account().unwrap().username, ALICE);
    assert!(page.body.contains("You are signed in"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_with_another_nonce_leaves_the_cache_as_it_is() {
    let entra = Entra::new(Config::default()).await;
    entra.sign_in(BOB).await;
    for nonce in [json!("stale"), json!(null)] {
        let altered = Alteration::IdTokenClaim("nonce".to_owned(), nonce);
        entra
            .authority
            .script(Script::alter([altered]).grant(Grant::AuthorizationCode));
        let (result, page) = sign_in(
            |show| {
                entra
                    .client
                    .acquire_token_interactive(["User.Read"])
                    .on_url(show)
                    .into_future()
            },
            async |url: Url| entra.agent.follow_url(url).await,
        )
        .await;
        assert!(
            matches!(result, Err(Error::IdToken(IdTokenError::Nonce))),
            "{result:?}"
        );
        assert!(
            page.body.contains("You are not signed in"),
            "the page tells the truth"
        );
        assert_eq!(entra.usernames().await, [BOB]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_than_the_expected_one_is_refused_and_nothing_kept() {
    let entra = Entra::new(Config::default()).await;
    let alice = entra.sign_in(ALICE).await;
    let before = entra
        .client
        .acquire_token_silent(["User.Read"])
        .account(&alice)
        .await
        .unwrap();
    let (result, page) = sign_in(
        |show| {
            let acquire = entra
                .client
                .acquire_token_interactive(["User.Read"])
                .account(&alice);
            // What a user does who chooses another account on the authority's page.
            acquire.login_hint(BOB).on_url(show).into_future()
        },
        async |url: Url| entra.agent.follow_url(url).await,
    )
    .await;
    assert!(
        matches!(result, Err(Error::Reply(ReplyError::AnotherAccount))),
        "{result:?}"
    );
    assert!(page.body.contains("another_account"), "{}", page.body);
    assert_eq!(entra.usernames().await, [ALICE]);
    let after = entra
        .client
        .acquire_token_silent(["User.Read"])
        .account(&alice)
        .await
        .unwrap();
    assert_eq!(before.access_token(), after.access_token());

    let (result, hint) = sign_in(
        |show| {
            let acquire = entra
                .client
                .acquire_token_interactive(["User.Read"])
                .account(&alice);
            acquire.prompt(Prompt::Login).on_url(show).into_future()
        },
        async |url: Url| {
            entra.agent.follow(url.as_str()).await;
            parameter(&url, "login_hint")
        },
    )
    .await;
    assert_eq!(
        (&*result.unwrap().account().unwrap().username, &*hint),
        (ALICE, ALICE)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_issuer_is_refused() {
    let entra = Entra::new(Config::default().response_iss(true)).await;
    for (issuer, refused) in [
        ("https://evil.test/v2.0", AuthorizationResponseError::Issuer),
        ("", AuthorizationResponseError::Issuer),
    ] {
        let (result, page) = sign_in(
            |show| {
                entra
                    .client
                    .acquire_token_interactive(["User.Read"])
                    .on_url(show)
                    .into_future()
            },
            async |url: Url| {
                let back = entra.agent.authorize(&url).await;
                assert!(back.contains("iss="));
                entra.agent.get(&with_parameter(&back, "iss", issuer)).await
            },
        )
        .await;
        assert!(
            matches!(&result, Err(Error::AuthorizationResponse(error)) if *error == refused),
            "{result:?}"
        );
        assert!(page.body.contains("You are not signed in"));
    }
    let (result, _) = sign_in(
        |show| {
            entra
                .client
                .acquire_token_interactive(["User.Read"])
                .on_url(show)
                .into_future()
        },
        async |url: Url| {
            let back = Url::parse(&entra.agent.authorize(&url).await).unwrap();
            let without: Vec<_> = back
                .query_pairs()
                .into_owned()
                .filter(|(name, _)| name != "iss")
                .collect();
            let mut bare = back.clone();
            bare.query_pairs_mut().clear().extend_pairs(without);
            entra.agent.get(bare.as_str()).await
        },
    )
    .await;
    let refused = AuthorizationResponseError::Issuer;
    assert!(
        matches!(&result, Err(Error::AuthorizationResponse(error)) if *error == refused),
        "{result:?}"
    );
    assert!(entra.usernames().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_somebody_else_obtained_is_worthless() {
    let entra = Entra::new(Config::default()).await;
    let (result, page) = sign_in(
        |show| {
            entra
                .client
                .acquire_token_interactive(["User.Read"])
                .on_url(show)
                .into_future()
        },
        async |url: Url| {
            // The attacker signs in as bob, with a challenge of his own, and puts his code into alice's answer.
            let his = with_parameter(url.as_str(), "login_hint", BOB);
            let his = with_parameter(
                &his,
                "code_challenge",
                "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            );
            let his = Url::parse(&entra.agent.authorize(&Url::parse(&his).unwrap()).await).unwrap();
            let hers = entra.agent.authorize(&url).await;
            entra
                .agent
                .get(&with_parameter(&hers, "code", &parameter(&his, "code")))
                .await
        },
    )
    .await;
    assert!(
        matches!(&result, Err(Error::InteractionRequired(error)) if error.refusal().unwrap().code() == "invalid_grant"),
        "{result:?}"
    );
    assert!(page.body.contains("invalid_grant"));
    assert!(entra.usernames().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_neither_code_nor_error_ends_the_sign_in() {
    let entra = Entra::new(Config::default()).await;
    let (result, _) = sign_in(
        |show| {
            entra
                .client
                .acquire_token_interactive(["User.Read"])
                .on_url(show)
                .into_future()
        },
        async |url: Url| {
            let back = with_parameter(&redirect_uri(&url), "state", &parameter(&url, "state"));
            entra.agent.get(&back).await
        },
    )
    .await;
    assert!(matches!(
        result,
        Err(Error::AuthorizationResponse(AuthorizationResponseError::NoCode))
    ));
}
