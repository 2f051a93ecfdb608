//! `logout`: signs an account out.

use cache_core::cache::{CachedAccount, SignOutScope, TokenCache};
use cache_core::schema::{AuthorityIdentity, PartitionKey};
use serde_json::json;

use crate::account_choice::choose;
use crate::answer::Answer;
use crate::arguments::LogoutArguments;
use crate::failure::{Failure, one_line};
use crate::session::{Missing, Session, Stdin};

/// Removes the account's tokens of this client, or as much more as the options say.
///
/// Every other process notices: a refresh of theirs that is under way finds its row gone and keeps nothing.
pub(crate) async fn run(session: &Session, arguments: LogoutArguments) -> Result<Answer, Failure> {
    let identity = session.authority()?.identity();
    // Whoever removes everything needs no client.
    let client_id = if arguments.forget {
        ""
    } else {
        session.client_id()?
    };
    let cache = session.cache(Missing::Create, Stdin::Free).await?;
    let mut listing = cache.accounts().await?;
    listing.accounts.retain(|account| {
        let is_ours = account.has_family_token || account.clients.iter().any(|client| client == client_id);
        account.partition.authority() == Some(&identity) && (is_ours || arguments.forget)
    });
    let wanted = session.options.account.as_deref();
    if let Some(home_account_id) = wanted
        && !listing
            .accounts
            .iter()
            .any(|account| is_named(account, home_account_id))
        && !arguments.forget
        && sign_out_sessions(cache, identity, home_account_id, client_id).await?
    {
        let object = json!({ "home_account_id": home_account_id, "removed": true });
        let name = one_line(home_account_id);
        return Ok(Answer::new(object, format!("the sessions of {name} are ended")));
    }
    let account = choose(listing, wanted)?;
    let key = &account.partition;
    let removed = if arguments.forget {
        cache.forget_account(key).await?
    } else if arguments.family {
        cache.sign_out(key, client_id, SignOutScope::Family).await?
    } else {
        cache.sign_out(key, client_id, SignOutScope::Client).await?
    };
    let object = json!({ "home_account_id": account.account.home_account_id, "removed": removed });
    let name = one_line(&account.account.username);
    let text = if removed {
        format!("{name} is signed out")
    } else {
        format!("there was nothing of this client to remove for {name}")
    };
    Ok(Answer::new(object, text))
}

/// Whether the account bears the name, so that [`choose`] finds it.
fn is_named(account: &CachedAccount, name: &str) -> bool {
    let account = &account.account;
    account.home_account_id.eq_ignore_ascii_case(name)
        || account.username.to_lowercase() == name.to_lowercase()
}

/// Ends what was begun on behalf of a user who has no account here; `false` when there was nothing.
async fn sign_out_sessions(
    cache: &TokenCache,
    authority: AuthorityIdentity,
    home_account_id: &str,
    client_id: &str,
) -> Result<bool, Failure> {
    let key = PartitionKey::User {
        authority,
        home_account_id: home_account_id.to_owned(),
    };
    Ok(cache.sign_out(&key, client_id, SignOutScope::Client).await?)
}
