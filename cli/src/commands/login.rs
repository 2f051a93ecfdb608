//! `login`: the sign-ins.

use std::sync::Arc;

use cache_core::cache::TokenCache;
use cache_core::schema::Account;
use flows::AuthenticationResult;
use flows::managed_identity::ManagedIdentityId;
use serde_json::json;

use super::managed_identity::acquire;
use super::token::{account_object, metadata_object, warn_of_declined};
use crate::answer::{Answer, say};
use crate::browser_arguments::BrowserArguments;
use crate::failure::{Failure, one_line};
use crate::session::{Missing, Session};
use crate::shown_browser::ShownBrowser;

const SILENTLY: &str = "`tokenkeep token` now gives access tokens, silently.";

/// Signs a user in with a code that is entered on another device (RFC 8628).
pub(crate) async fn device_code(session: &Session) -> Result<Answer, Failure> {
    let scopes = session.scopes()?;
    let client = session.public_client(Missing::Create).await?;
    session.require_place(client.cache()).await?;
    let result = client
        .acquire_token_by_device_code(scopes)
        .on_prompt(|prompt| say(&one_line(&prompt.message())))
        .await?;
    Ok(user_signed_in(client.cache(), session, &result).await)
}

/// Signs a user in in the browser of this machine (RFC 8252).
pub(crate) async fn browser(session: &Session, arguments: BrowserArguments) -> Result<Answer, Failure> {
    let scopes = session.scopes()?;
    let client = session.public_client(Missing::Create).await?;
    session.require_place(client.cache()).await?;
    let BrowserArguments {
        login_hint,
        domain_hint,
        prompt,
        session_first,
        no_browser,
        redirect_uri,
        timeout,
    } = arguments;
    let browser = ShownBrowser::default();
    let mut acquire = client
        .acquire_token_interactive(scopes)
        .session_first(session_first)
        .time_limit(timeout);
    if let Some(hint) = login_hint {
        acquire = acquire.login_hint(hint);
    }
    if let Some(hint) = domain_hint {
        acquire = acquire.domain_hint(hint);
    }
    if let Some(prompt) = prompt {
        acquire = acquire.prompt(prompt.into());
    }
    if let Some(uri) = redirect_uri {
        acquire = acquire.redirect_uri(uri);
    }
    if no_browser {
        acquire =
            acquire.on_url(|url| say(&format!("To sign in, open this address on this machine:\n{url}")));
    } else {
        acquire = acquire.browser(Arc::new(browser.clone()));
    }
    let result = browser.show_later(session, acquire.into_future()).await?;
    Ok(user_signed_in(client.cache(), session, &result).await)
}

/// Says which user is signed in, and warns where that ends with the access token.
pub(super) async fn user_signed_in(
    cache: &TokenCache,
    session: &Session,
    result: &AuthenticationResult,
) -> Answer {
    if !is_renewable(cache, session, result).await {
        say(
            "warning: the authority gave no refresh token, so the user must sign in again when the access token expires; \
             some issuers give one only for `login browser --prompt consent` or --scope offline_access",
        );
    }
    let who = match result.account() {
        Some(account) => format!("Signed in as {}", name(account)),
        None => "Signed in".to_owned(),
    };
    signed_in(result, &format!("{who}. {SILENTLY}"))
}

/// Whether the cache can renew the token without the user. In doubt it can: the sign-in is done, and `token` will tell.
async fn is_renewable(cache: &TokenCache, session: &Session, result: &AuthenticationResult) -> bool {
    let (Ok(listing), Ok(client_id), Some(account)) =
        (cache.accounts().await, session.client_id(), result.account())
    else {
        return true;
    };
    let row = listing.accounts.into_iter().find(|known| {
        known.account.home_account_id == account.home_account_id
            && known.account.environment == account.environment
            && known.account.issuer == account.issuer
    });
    row.is_none_or(|row| row.has_family_token || row.silent_clients.iter().any(|silent| silent == client_id))
}

/// What to call an account: not every issuer says the user name.
pub(super) fn name(account: &Account) -> String {
    match one_line(&account.username).as_str() {
        "" => format!("{} (no user name)", one_line(&account.home_account_id)),
        username => username.to_owned(),
    }
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
    warn_of_declined(result);
    let object = json!({
        "account": result.account().map(account_object),
        "tenant": result.tenant(),
        "scopes": result.scopes().words().collect::<Vec<_>>(),
        "declined_scopes": result.declined_scopes().words().collect::<Vec<_>>(),
        "expires_on": result.expires_on().0,
        "metadata": metadata_object(result),
    });
    Answer::new(object, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_without_a_user_name_is_called_by_its_id() {
        let account = |username: &str| Account {
            home_account_id: "u.t".to_owned(),
            environment: "issuer.example".to_owned(),
            realm: String::new(),
            local_account_id: "u".to_owned(),
            username: username.to_owned(),
            authority_type: "Generic".to_owned(),
            name: None,
            issuer: None,
            tenant_profiles: Vec::new(),
            foreign: None,
        };
        assert_eq!(name(&account("")), "u.t (no user name)");
        assert_eq!(name(&account("ada@example.test")), "ada@example.test");
    }
}
