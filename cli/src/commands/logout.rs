//! `logout`: signs an account out.

use cache_core::cache::CachedAccount;
use flows::client::{Revocation, SignedOut};
use serde_json::json;

use crate::account_choice::choose;
use crate::answer::{Answer, say};
use crate::arguments::LogoutArguments;
use crate::failure::{Failure, one_line};
use crate::session::{Missing, Session, Stdin};

/// Removes the account's tokens of this client, or as much more as the options say, and has the authority revoke them.
///
/// Every other process notices: a refresh of theirs that is under way finds its row gone and keeps nothing.
pub(crate) async fn run(session: &Session, mut arguments: LogoutArguments) -> Result<Answer, Failure> {
    if session.service_principal()?.is_some() {
        return Err(Failure::usage(
            "a service principal is signed in to the Azure CLI, which keeps its credential in a file of its own",
        )
        .next("`az logout` removes both; --account and --client-id name a user instead"));
    }
    // The CLI is of a family: what is left to the family would still sign its user in. `az logout` does the same.
    arguments.family |= session.azure_cli()?.is_some() && !arguments.forget;
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
    let wanted = session.account()?;
    if let Some(home_account_id) = wanted
        && session.is_confidential()
        && !arguments.forget
        && !listing
            .accounts
            .iter()
            .any(|account| is_named(account, home_account_id))
    {
        // Nobody who signed in here; perhaps somebody on whose behalf sessions were begun.
        let client = session.confidential_client(Missing::Create).await?;
        let removal = client.remove_account_by_home_id(home_account_id);
        let signed_out = removal.revoke(!arguments.no_revoke).await?;
        if signed_out.found {
            let object = json!({
                "home_account_id": home_account_id,
                "removed": true,
                "revocation": told(&signed_out.revocation),
            });
            let name = one_line(home_account_id);
            return Ok(Answer::new(object, format!("the sessions of {name} are ended")));
        }
    }
    let account = choose(listing, wanted)?;
    let (removed, revocation) = if arguments.forget {
        // The tokens of other applications are theirs to revoke.
        (cache.forget_account(&account.partition).await?, "not_asked")
    } else {
        let SignedOut {
            found, revocation, ..
        } = sign_out(session, &account, arguments).await?;
        (found, told(&revocation))
    };
    let object = json!({
        "home_account_id": account.account.home_account_id,
        "removed": removed,
        "revocation": revocation,
    });
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

async fn sign_out(
    session: &Session,
    account: &CachedAccount,
    arguments: LogoutArguments,
) -> Result<SignedOut, Failure> {
    let (public, confidential);
    let removal = if session.is_confidential() {
        confidential = session.confidential_client(Missing::Create).await?;
        confidential.remove_account(account)
    } else {
        public = session.public_client(Missing::Create).await?;
        public.remove_account(account)
    };
    let removal = removal.revoke(!arguments.no_revoke);
    Ok(if arguments.family {
        removal.family().await?
    } else {
        removal.await?
    })
}

/// Names what became of the tokens at the authority; a failure is no failure of the sign-out, but worth a warning.
fn told(revocation: &Revocation) -> &'static str {
    match revocation {
        Revocation::NotOffered => "not_offered",
        Revocation::NotAsked => "not_asked",
        Revocation::Nothing => "nothing",
        Revocation::Revoked => "revoked",
        Revocation::Failed(error) => {
            say(&format!(
                "warning: signed out here, but the authority did not revoke the refresh token: {}",
                one_line(&error.to_string())
            ));
            "failed"
        }
        _ => "unknown",
    }
}
