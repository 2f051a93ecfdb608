//! `token`: an access token, silently.

use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::schema::Account;
use cache_core::secret::SecretBytes;
use flows::AuthenticationResult;
use flows::client::cached_app_token;
use serde_json::{Value, json};

use super::managed_identity::acquire;
use super::on_behalf_of;
use crate::account_choice::choose;
use crate::answer::{Answer, Output, say};
use crate::arguments::TokenArguments;
use crate::demanded_claims::Demand;
use crate::failure::{Failure, one_line};
use crate::patience::patiently;
use crate::session::{Missing, Session, Stdin};

/// Nobody wonders before that.
const PATIENCE: Duration = Duration::from_secs(3);

/// The token, with a word where somebody else's refresh is waited for.
pub(crate) async fn run(session: &Session, arguments: TokenArguments) -> Result<Answer, Failure> {
    let word = || {
        let most = session.time_limits().acquire.as_secs();
        if !session.is_open() {
            say("waiting for the store to open, and for its key: a keychain may ask somebody, or hang");
            return;
        }
        say(&format!(
            "waiting for the authority, or for another process whose refresh of this account is under way or lost its \
             reply; at most {most} seconds"
        ));
    };
    patiently(session, PATIENCE, word, acquire_token(session, arguments)).await
}

/// A user's token, or, where no account is named, the application's own: of an application with a secret always, of
/// one without if it is cached and nobody is signed in. With `--managed-identity`, the token of the place that the program
/// runs in.
async fn acquire_token(session: &Session, arguments: TokenArguments) -> Result<Answer, Failure> {
    let demand = arguments.demanded.read()?;
    let force = arguments.force_refresh || demand == Demand::AnotherToken;
    let claims = demand.claims();
    if arguments.on_behalf_of.is_given() {
        let result = on_behalf_of::token(session, &arguments.on_behalf_of, force, claims).await?;
        return Ok(answer(&result));
    }
    let scopes = session.scopes()?;
    if arguments.managed_identity || arguments.identity.is_given() {
        let is_forced = force || !claims.is_empty();
        let result = acquire(session, arguments.identity.into(), is_forced).await?;
        return Ok(answer(&result));
    }
    let wanted = session.account()?;
    let result = if session.service_principal()?.is_some() {
        // From the cache without the credential, which only a request needs.
        let cache = session.cache(Missing::Create, Stdin::Free).await?;
        if !force
            && claims.is_empty()
            && let Some(result) = own_token(session, cache, &scopes).await?
        {
            return Ok(answer(&result));
        }
        of_application(session, scopes, force, claims).await?
    } else if !session.is_confidential() {
        let client = session.public_client(Missing::Create).await?;
        let listing = client.accounts().await?;
        if wanted.is_none()
            && listing.accounts.is_empty()
            && !force
            && claims.is_empty()
            && let Some(result) = own_token(session, client.cache(), &scopes).await?
        {
            return Ok(answer(&result));
        }
        let account = choose(listing, wanted)?;
        client
            .acquire_token_silent(scopes)
            .account(&account)
            .force_refresh(force)
            .claims(claims)
            .await?
    } else if wanted.is_some() {
        let client = session.confidential_client(Missing::Create).await?;
        let account = choose(client.accounts().await?, wanted)?;
        client
            .acquire_token_silent(scopes)
            .account(&account)
            .force_refresh(force)
            .claims(claims)
            .await?
    } else {
        of_application(session, scopes, force, claims).await?
    };
    Ok(answer(&result))
}

/// The application's own token, by its credential where it is not cached.
async fn of_application(
    session: &Session,
    scopes: Vec<String>,
    force: bool,
    claims: &str,
) -> Result<AuthenticationResult, Failure> {
    let client = session.confidential_client(Missing::Create).await?;
    let request = client.acquire_token_for_client(scopes);
    Ok(request.force_refresh(force).claims(claims).await?)
}

/// The application's own token, if it is cached. That takes no secret: the cache's key guards it.
async fn own_token(
    session: &Session,
    cache: &TokenCache,
    scopes: &[String],
) -> Result<Option<AuthenticationResult>, Failure> {
    let authority = session.authority()?;
    Ok(cached_app_token(cache, &authority, session.client_id()?, scopes).await?)
}

fn answer(result: &AuthenticationResult) -> Answer {
    warn_of_declined(result);
    let object = json!({
        "access_token": result.access_token().expose(),
        "token_type": result.token_type().as_str(),
        "expires_on": result.expires_on().0,
        "scopes": result.scopes().words().collect::<Vec<_>>(),
        "declined_scopes": result.declined_scopes().words().collect::<Vec<_>>(),
        "tenant": result.tenant(),
        "account": result.account().map(account_object),
        "correlation_id": result.correlation_id().map(|id| id.to_string()),
        "metadata": metadata_object(result),
    });
    let token = SecretBytes::new(result.access_token().expose().as_bytes().to_vec());
    Answer::new(object, "").with_output(Output::Line(token))
}

/// Says which scopes the token lacks: a resource would only answer that access is denied.
pub(crate) fn warn_of_declined(result: &AuthenticationResult) {
    if !result.declined_scopes().is_empty() {
        say(&format!(
            "warning: the authority did not grant {}; the token is for {}. A new sign-in with --scope may grant it.",
            one_line(result.declined_scopes().as_str()),
            one_line(result.scopes().as_str()),
        ));
    }
}

/// An account, for scripts.
pub(crate) fn account_object(account: &Account) -> Value {
    json!({
        "home_account_id": account.home_account_id,
        "username": account.username,
        "name": account.name,
        "environment": account.environment,
        "realm": account.realm,
        "local_account_id": account.local_account_id,
        "issuer": account.issuer,
    })
}

/// Where a token came from and how long it took, for scripts.
pub(crate) fn metadata_object(result: &AuthenticationResult) -> Value {
    let metadata = result.metadata();
    let microseconds = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    json!({
        "source": metadata.source.to_string(),
        "refresh_reason": metadata.refresh_reason.map(|reason| reason.to_string()),
        "served_during_outage": metadata.served_during_outage,
        "refresh_on": metadata.refresh_on.map(|moment| moment.0),
        "microseconds_in_cache": microseconds(metadata.time_in_cache),
        "microseconds_in_store": microseconds(metadata.time_in_store),
        "microseconds_in_http": microseconds(metadata.time_in_http),
    })
}
