//! Tokens on behalf of a user who presented a token to this application.

use flows::AuthenticationResult;

use super::login::{name, signed_in};
use crate::answer::Answer;
use crate::assertion::AssertionArguments;
use crate::failure::{Failure, one_line};
use crate::session::{Missing, Session};

/// Presents the assertion, and begins a session if one is named.
pub(crate) async fn login(session: &Session, arguments: &AssertionArguments) -> Result<Answer, Failure> {
    let scopes = session.scopes()?;
    let named = arguments.session(session.options.account.as_deref())?;
    let assertion = arguments.assertion()?.ok_or_else(no_assertion)?;
    let client = session.confidential_client(Missing::Create).await?;
    // Always asked: a token of another day says nothing about the assertion that was just given.
    let result = match &named {
        Some(id) => client.begin_long_running_session(id, &assertion, scopes).await,
        None => {
            client
                .acquire_token_on_behalf_of(&assertion, scopes)
                .force_refresh(true)
                .await
        }
    }
    .map_err(failed)?;
    let who = match result.account() {
        Some(account) => format!(
            "Signed in on behalf of {} ({})",
            name(account),
            one_line(&account.home_account_id)
        ),
        None => "Signed in".to_owned(),
    };
    let same = if named.is_some() { "--session" } else { "assertion" };
    let next = format!("`tokenkeep token` with the same {same} now gives access tokens, silently.");
    Ok(signed_in(&result, &format!("{who}. {next}")))
}

/// The token of the session or, where none is named, of the assertion.
pub(crate) async fn token(
    session: &Session,
    arguments: &AssertionArguments,
    force: bool,
    claims: &str,
) -> Result<AuthenticationResult, Failure> {
    let scopes = session.scopes()?;
    let named = arguments.session(session.options.account.as_deref())?;
    let client = session.confidential_client(Missing::Create).await?;
    if let Some(id) = &named {
        let silent = client.acquire_token_in_long_running_session(id, scopes);
        return silent.force_refresh(force).claims(claims).await.map_err(failed);
    }
    let assertion = arguments.assertion()?.ok_or_else(no_assertion)?;
    let result = client.acquire_token_on_behalf_of(&assertion, scopes);
    result.force_refresh(force).claims(claims).await.map_err(failed)
}

/// The user is not here to sign in: they do so at the application that calls this one.
fn failed(error: flows::Error) -> Failure {
    let asks_the_user = matches!(error, flows::Error::InteractionRequired(_));
    let failure = Failure::from(error);
    if asks_the_user {
        return failure.next(
            "let the user sign in to the application that presents the assertion, and run `tokenkeep login on-behalf-of` \
             with the new one",
        );
    }
    failure
}

fn no_assertion() -> Failure {
    Failure::usage("no assertion is given; name what holds it with --assertion-env or --assertion-file")
}
