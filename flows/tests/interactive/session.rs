//! What the browser's session at the authority is good for.

use cache_testkit::authority::{ALICE, BOB, Config, Endpoint};
use cache_testkit::oidc_provider::CLI_CLIENT_ID;
use flows::Error;
use flows::request::authorization_code::{Prompt, ResponseMode};
use url::Url;

use crate::scene::{Entra, Oidc, parameter, redirect_uri, sign_in};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_enough_where_there_is_one() {
    let entra = Entra::new(Config::default()).await;
    let alice = entra.sign_in(ALICE).await;
    let (result, page) = sign_in(
        |show| {
            entra
                .client
                .acquire_token_by_browser_session(["Mail.Read"])
                .account(&alice)
                .on_url(show)
                .into_future()
        },
        async |url: Url| entra.agent.follow_url(url).await,
    )
    .await;
    assert!(result.unwrap().scopes().contains("Mail.Read"));
    assert!(page.body.contains("You are signed in"));
    assert_eq!(entra.sent(Endpoint::Authorize, "prompt"), ["", "none"]);
    assert_eq!(entra.sent(Endpoint::Authorize, "login_hint"), [ALICE, ALICE]);
    // Entra documents the login hint alone.
    assert_eq!(entra.sent(Endpoint::Authorize, "id_token_hint"), ["", ""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_is_told_by_the_id_token_whose_session_is_meant() {
    let oidc = Oidc::new(CLI_CLIENT_ID).await;
    let (result, _) = sign_in(
        |show| {
            let acquire = oidc.client.acquire_token_interactive(["api:read"]);
            acquire.on_url(show).into_future()
        },
        async |url: Url| {
            assert_eq!(parameter(&url, "id_token_hint"), "");
            let back = oidc.provider.authorize(url.as_str()).await.unwrap();
            oidc.agent.get(&back).await
        },
    )
    .await;
    let id_token = result.unwrap().id_token().unwrap().to_secret();
    let alice = oidc.client.accounts().await.unwrap().accounts.remove(0);
    for (chosen, expected) in [(None, id_token.expose()), (Some("another"), "another")] {
        let (result, url) = sign_in(
            |show| {
                let acquire = oidc
                    .client
                    .acquire_token_by_browser_session(["api:read"])
                    .account(&alice);
                let acquire = match chosen {
                    Some(hint) => acquire.parameter("id_token_hint", hint),
                    None => acquire,
                };
                acquire.on_url(show).into_future()
            },
            async |url: Url| {
                oidc.agent.follow(url.as_str()).await;
                url
            },
        )
        .await;
        assert_eq!(parameter(&url, "id_token_hint"), expected);
        assert_eq!(parameter(&url, "prompt"), "none");
        // The provider reads it: one that is no ID token is refused as such, and this browser has no session.
        let code = match &result {
            Err(Error::InteractionRequired(required)) => required.refusal().unwrap().code(),
            Err(Error::Authority(refusal)) => refusal.code(),
            other => panic!("{other:?}"),
        };
        let wanted = match chosen {
            None => "login_required",
            Some(_) => "invalid_request",
        };
        assert_eq!(code, wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_session_the_user_has_to_take_part() {
    let entra = Entra::new(Config::default()).await;
    entra.authority.set_signed_in_user(None);
    let (result, page) = sign_in(
        |show| {
            entra
                .client
                .acquire_token_by_browser_session(["User.Read"])
                .login_hint(ALICE)
                .on_url(show)
                .into_future()
        },
        async |url: Url| entra.agent.follow_url(url).await,
    )
    .await;
    let Err(Error::InteractionRequired(required)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(required.refusal().unwrap().code(), "login_required");
    assert!(page.body.contains("login_required") && page.body.contains("Return to the application"));

    let oidc = Oidc::new(CLI_CLIENT_ID).await;
    let (result, _) = sign_in(
        |show| {
            oidc.client
                .acquire_token_by_browser_session(["api:read"])
                .on_url(show)
                .into_future()
        },
        async |url: Url| oidc.agent.follow_url(url).await,
    )
    .await;
    assert!(matches!(result, Err(Error::InteractionRequired(_))), "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn session_first_asks_nothing_where_the_session_is_enough() {
    let entra = Entra::new(Config::default()).await;
    let (result, _) = sign_in(
        |show| {
            let acquire = entra.client.acquire_token_interactive(["User.Read"]);
            acquire
                .prompt(Prompt::Consent)
                .session_first(true)
                .on_url(show)
                .into_future()
        },
        async |url: Url| entra.agent.follow_url(url).await,
    )
    .await;
    assert_eq!(result.unwrap().account().unwrap().username, ALICE);
    assert_eq!(entra.sent(Endpoint::Authorize, "prompt"), ["none"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn session_first_goes_on_to_the_prompt_in_the_same_page() {
    let entra = Entra::new(Config::default()).await;
    entra.authority.set_signed_in_user(None);
    let (result, page) = sign_in(
        |show| {
            let acquire = entra
                .client
                .acquire_token_interactive(["User.Read"])
                .login_hint(BOB);
            acquire
                .prompt(Prompt::SelectAccount)
                .session_first(true)
                .on_url(show)
                .into_future()
        },
        async |url: Url| {
            let first = entra.agent.authorize(&url).await;
            let on = entra.agent.get(&first).await;
            assert_eq!(on.status, 303);
            // The first answer is used up: its state is no longer waited for.
            assert_eq!(entra.agent.get(&first).await.status, 400);
            entra.agent.follow(&on.location.unwrap()).await
        },
    )
    .await;
    assert_eq!(result.unwrap().account().unwrap().username, BOB);
    assert!(page.body.contains("You are signed in"));
    assert_eq!(
        entra.sent(Endpoint::Authorize, "prompt"),
        ["none", "select_account"]
    );
    for name in ["state", "nonce", "code_challenge"] {
        let sent = entra.sent(Endpoint::Authorize, name);
        assert_ne!(sent[0], sent[1], "{name} is fresh");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn session_first_goes_on_after_a_form_too_and_no_further_than_once() {
    let entra = Entra::new(Config::default()).await;
    entra.authority.set_signed_in_user(None);
    let (result, page) = sign_in(
        |show| {
            let acquire = entra
                .client
                .acquire_token_interactive(["User.Read"])
                .session_first(true);
            acquire
                .response_mode(ResponseMode::FormPost)
                .on_url(show)
                .into_future()
        },
        async |url: Url| {
            let form = entra.agent.get(url.as_str()).await.hidden_fields();
            let on = entra.agent.post(&redirect_uri(&url), &form).await;
            assert_eq!(on.status, 303, "which makes a GET of it");
            let form = entra.agent.get(&on.location.unwrap()).await.hidden_fields();
            entra.agent.post(&redirect_uri(&url), &form).await
        },
    )
    .await;
    assert!(
        matches!(&result, Err(Error::Authority(error)) if error.code() == "access_denied"),
        "{result:?}"
    );
    assert!(page.body.contains("access_denied"));
}
