//! `--account`: whose token is meant.
//!
//! A guess could hand a script another person's token, so anything but one clear match is an error.

use cache_core::cache::{AccountListing, CacheError, CachedAccount};
use cache_core::store::StoreKey;
use serde_json::{Value, json};

use crate::classify::of_unreadable;
use crate::exit::Exit;
use crate::failure::{Failure, one_line};

/// The account that `wanted` names, or the only one.
pub(crate) fn choose(listing: AccountListing, wanted: Option<&str>) -> Result<CachedAccount, Failure> {
    let unreadable = listing.unreadable;
    let mut matching: Vec<_> = listing.accounts;
    if let Some(wanted) = wanted {
        // The identifier decides alone: a user name is text that anybody's issuer may claim.
        let by_id = |account: &CachedAccount| account.account.home_account_id.eq_ignore_ascii_case(wanted);
        if matching.iter().any(by_id) {
            matching.retain(by_id);
        } else {
            matching.retain(|account| account.account.username.to_lowercase() == wanted.to_lowercase());
        }
        if matching.len() == 1 {
            return Ok(matching.remove(0));
        }
    }
    // The account that is meant may be in the record that cannot be read.
    if let Some(failure) = first_unreadable(unreadable) {
        return Err(failure);
    }
    match matching.len() {
        0 => Err(no_account(wanted)),
        1 => Ok(matching.remove(0)),
        _ => Err(ambiguous(&matching)),
    }
}

/// The failure of a listing with records that could not be read, if it has any.
pub(crate) fn first_unreadable(mut unreadable: Vec<(StoreKey, CacheError)>) -> Option<Failure> {
    if unreadable.is_empty() {
        return None;
    }
    let all: Vec<_> = unreadable
        .iter()
        .map(|(key, error)| unreadable_object(key, error))
        .collect();
    let (key, error) = unreadable.swap_remove(0);
    Some(
        Failure::from(error)
            .about_record(key.as_str())
            .found("unreadable", all.into()),
    )
}

/// A record that could not be read, for scripts.
pub(crate) fn unreadable_object(key: &StoreKey, error: &CacheError) -> Value {
    let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    json!({ "record": key.as_str(), "kind": of_unreadable(error), "message": one_line(&cause) })
}

/// The failure that means: sign in.
pub(crate) fn no_account(wanted: Option<&str>) -> Failure {
    let message = match wanted {
        Some(wanted) => format!(
            "the user must sign in: the account {} is not cached",
            one_line(wanted)
        ),
        None => "the user must sign in: no account is cached for this authority".to_owned(),
    };
    Failure::new("interaction_required", Exit::InteractionRequired, message)
        .next(
            "sign in with `tokenkeep login browser` or `tokenkeep login device-code`; `tokenkeep accounts` lists who is signed in; an application's own \
             token is asked for with its credential, such as --client-secret-env",
        )
}

fn ambiguous(matching: &[CachedAccount]) -> Failure {
    let ids: Vec<_> = matching
        .iter()
        .map(|account| one_line(&account.account.home_account_id))
        .collect();
    Failure::usage("several accounts match; say which with --account and a home account ID")
        .next(format!("choose one of {}", ids.join(", ")))
}
