//! `login`: the sign-ins.

use flows::AuthenticationResult;
use flows::managed_identity::ManagedIdentityId;
use serde_json::json;

use super::managed_identity::acquire;
use super::token::{account_object, metadata_object};
use crate::answer::{Answer, say};
use crate::failure::{Failure, one_line};
use crate::session::{Missing, Session};

const SILENTLY: &str = "`tokenkeep token` now gives access tokens, silently.";

/// Signs a user in with a code that is entered on another device (RFC 8628).
pub(crate) async fn device_code(session: &Session) -> Result<Answer, Failure> {
    let scopes = session.scopes()?;
    let client = session.public_client(Missing::Create).await?;
    let result = client
        .acquire_token_by_device_code(scopes)
        .on_prompt(|prompt| say(&one_line(&prompt.message())))
        .await?;
    Ok(user_signed_in(&result))
}

/// Says which user is signed in.
pub(super) fn user_signed_in(result: &AuthenticationResult) -> Answer {
    let who = match &result.account {
        Some(account) => format!("Signed in as {}", one_line(&account.username)),
        None => "Signed in".to_owned(),
    };
    signed_in(result, &format!("{who}. {SILENTLY}"))
}

/// Obtains a token for the application itself (RFC 6749 section 4.4).
pub(crate) async fn client_credentials(session: &Session) -> Result<Answer, Failure> {
    let scopes = session.scopes()?;
    let client = session.confidential_client(Missing::Create).await?;
    // Always asked: a token of another day says nothing about the secret that was just given.
    let result = client
        .acquire_token_for_client(scopes)
        .force_refresh(true)
        .await?;
    Ok(signed_in(
        &result,
        &format!("Signed in as the application. {SILENTLY}"),
    ))
}

/// Obtains a token of a managed identity.
pub(crate) async fn managed_identity(
    session: &Session,
    identity: ManagedIdentityId,
) -> Result<Answer, Failure> {
    // Always asked: a token of another day does not show that the machine still has the identity.
    let result = acquire(session, identity, true).await?;
    Ok(signed_in(
        &result,
        &format!("Signed in as the managed identity. {SILENTLY}"),
    ))
}

/// Says who is signed in, and what to do next. The token stays in the cache, where `token` finds it.
pub(super) fn signed_in(result: &AuthenticationResult, text: &str) -> Answer {
    let object = json!({
        "account": result.account.as_ref().map(account_object),
        "tenant": result.tenant,
        "scopes": result.scopes.words().collect::<Vec<_>>(),
        "expires_on": result.expires_on.0,
        "metadata": metadata_object(result),
    });
    Answer::new(object, text)
}
