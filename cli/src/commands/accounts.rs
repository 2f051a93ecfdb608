//! `accounts`: who is signed in.

use cache_core::cache::CachedAccount;
use serde_json::{Value, json};

use super::token::account_object;
use crate::account_choice::first_unreadable;
use crate::answer::{Answer, say};
use crate::failure::{Failure, one_line};
use crate::session::{Missing, Session, Stdin};

/// All accounts of the cache, or those of `--authority` where it is given, whichever client signed them in.
/// It asks nobody.
pub(crate) async fn run(session: &Session) -> Result<Answer, Failure> {
    let cache = session.cache(Missing::Create, Stdin::Free).await?;
    let mut listing = cache.accounts().await?;
    if let Ok(authority) = session.authority() {
        let identity = authority.identity();
        listing
            .accounts
            .retain(|account| account.partition.authority() == Some(&identity));
    }
    listing.accounts.sort_by(|a, b| sorting(a).cmp(&sorting(b)));
    let objects: Vec<_> = listing.accounts.iter().map(object).collect();
    let lines: Vec<_> = listing.accounts.iter().map(line).collect();
    if let Some(failure) = first_unreadable(listing.unreadable) {
        lines.iter().for_each(|line| say(line));
        return Err(failure.found("accounts", objects.into()));
    }
    let text = if lines.is_empty() {
        "nobody is signed in".to_owned()
    } else {
        lines.join("\n")
    };
    Ok(Answer::new(json!({ "accounts": objects }), text))
}

fn sorting(account: &CachedAccount) -> (&str, &str, &str) {
    let row = &account.account;
    (&row.username, &row.environment, &row.home_account_id)
}

fn object(account: &CachedAccount) -> Value {
    let mut object = account_object(&account.account);
    object["clients"] = account.clients.clone().into();
    object["silent_clients"] = account.silent_clients.clone().into();
    object
}

fn line(account: &CachedAccount) -> String {
    let row = &account.account;
    let name = if row.username.is_empty() {
        "(no user name)"
    } else {
        &row.username
    };
    let state = match account.silent_clients.as_slice() {
        [] => "must sign in again".to_owned(),
        clients => format!("signed in for {}", clients.join(", ")),
    };
    let line = format!("{name}  {}  {}  {state}", row.environment, row.home_account_id);
    one_line(&line)
}
