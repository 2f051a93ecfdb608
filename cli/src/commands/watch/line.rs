//! An event as a line for people and as an object for scripts.

use cache_core::cache::{AccountName, CacheChange, CacheEvent};
use cache_core::seal::RecordKind;
use cache_core::time::{UnixMillis, UnixSeconds};
use serde_json::{Value, json};

use crate::account_choice::unreadable_object;
use crate::classify::of_unreadable;
use crate::failure::{Failure, one_line};
use crate::moment::shown;

/// One line. What others have written into the cache neither breaks it nor steers a terminal.
pub(super) fn text(event: &CacheEvent) -> String {
    let what = one_line(&described(event));
    format!("{}  {what}", shown(event.at))
}

fn described(event: &CacheEvent) -> String {
    use CacheChange as C;
    let record = event.record.as_ref().map_or("?", |key| key.as_str());
    match &event.change {
        C::SignedIn {
            account,
            client_id,
            again,
        } => {
            let again = if *again { " again" } else { "" };
            format!("signed in{again}: {} to {client_id}", named(account))
        }
        C::SignedOut { account, clients } => {
            format!("signed out: {} of {}", named(account), clients.join(", "))
        }
        C::RefreshStarted {
            account, client_id, ..
        } => {
            format!("refresh started: {} for {client_id}", known(account.as_ref()))
        }
        C::Refreshed {
            account,
            client_id,
            scopes,
            expires_on,
        } => format!(
            "refreshed: {} for {client_id}, {}",
            known(account.as_ref()),
            token(*scopes, *expires_on)
        ),
        C::RefreshNotSent { account, client_id } => {
            format!("refresh not sent: {} for {client_id}", known(account.as_ref()))
        }
        C::RefreshRefused {
            account,
            client_id,
            error,
            suberror,
            ..
        } => {
            let suberror = suberror.as_ref().map(|suberror| format!(" ({suberror})"));
            format!(
                "refresh refused: {} for {client_id}, {error}{}; the user must sign in",
                known(account.as_ref()),
                suberror.unwrap_or_default()
            )
        }
        C::OutcomeUnknown { account, client_id } => format!(
            "refresh without a known outcome: {} for {client_id}",
            known(account.as_ref())
        ),
        C::AppTokenStored {
            client_id,
            authority,
            tenant,
            scopes,
            expires_on,
        } => {
            let place = if tenant.is_empty() { authority.id() } else { tenant };
            format!(
                "application token: {client_id} at {place}, {}",
                token(*scopes, *expires_on)
            )
        }
        C::SessionBegun { account, client_id } => {
            format!("session begun: {} by {client_id}", known(account.as_ref()))
        }
        C::SessionTokenStored {
            account,
            client_id,
            scopes,
            expires_on,
        } => format!(
            "session token: {} by {client_id}, {}",
            known(account.as_ref()),
            token(*scopes, *expires_on)
        ),
        C::SessionEnded { account, client_id } => {
            format!("session ended: {} by {client_id}", known(account.as_ref()))
        }
        C::ProofKeysStored => format!("proof keys stored: {record}"),
        C::ProofKeysRemoved => format!("proof keys removed: {record}"),
        C::KeyRingChanged => "key ring changed".to_owned(),
        C::Quarantined => format!("moved aside: {record}"),
        C::Resealed { .. } => format!("sealed under another key: {record}"),
        C::RolledBack { .. } => format!("went back in time and counts as missing: {record}"),
        C::Committed { .. } => format!("written: {record}"),
        C::Removed { .. } => format!("removed: {record}"),
        C::Unreadable { error, .. } => format!("cannot be opened ({}): {record}", of_unreadable(error)),
        C::StoreFailed { .. } => "the store is out of reach".to_owned(),
        C::StoreBack => "the store answers again".to_owned(),
        C::Lost => "some changes were missed".to_owned(),
        other => format!("{other:?}: {record}"),
    }
}

/// The object of an event: `event` says what, `time` (RFC 3339) and `at` (seconds since 1970) when it was noticed.
pub(super) fn object(event: &CacheEvent) -> Value {
    let (name, details) = details(event);
    let mut object = json!({
        "event": name,
        "time": shown(event.at),
        "at": event.at.to_seconds().0,
    });
    if let Some(key) = &event.record {
        object["record"] = key.as_str().into();
    }
    if let (Some(object), Value::Object(details)) = (object.as_object_mut(), details) {
        object.extend(details);
    }
    object
}

fn details(event: &CacheEvent) -> (&'static str, Value) {
    use CacheChange as C;
    let of_client = |account: &Option<AccountName>, client_id: &str| json!({ "account": account.as_ref().map(account_object), "client_id": client_id });
    let with_token = |mut object: Value, scopes: usize, expires_on: UnixSeconds| {
        object["scopes"] = scopes.into();
        object["expires_on"] = expires_on.0.into();
        object
    };
    let of_kind = |kind: Option<RecordKind>| json!({ "kind": kind.map(RecordKind::tag) });
    match &event.change {
        C::SignedIn {
            account,
            client_id,
            again,
        } => (
            "signed_in",
            json!({ "account": account_object(account), "client_id": client_id, "again": again }),
        ),
        C::SignedOut { account, clients } => (
            "signed_out",
            json!({ "account": account_object(account), "clients": clients }),
        ),
        C::RefreshStarted {
            account,
            client_id,
            deadline,
        } => {
            let mut object = of_client(account, client_id);
            object["deadline"] = deadline.to_seconds().0.into();
            ("refresh_started", object)
        }
        C::Refreshed {
            account,
            client_id,
            scopes,
            expires_on,
        } => (
            "refreshed",
            with_token(of_client(account, client_id), *scopes, *expires_on),
        ),
        C::RefreshNotSent { account, client_id } => ("refresh_not_sent", of_client(account, client_id)),
        C::RefreshRefused {
            account,
            client_id,
            error,
            suberror,
            token_is_dead,
        } => {
            let mut object = of_client(account, client_id);
            object["error"] = one_line(error).into();
            object["suberror"] = suberror.as_deref().map(one_line).into();
            object["token_is_dead"] = (*token_is_dead).into();
            ("refresh_refused", object)
        }
        C::OutcomeUnknown { account, client_id } => ("outcome_unknown", of_client(account, client_id)),
        C::AppTokenStored {
            client_id,
            authority,
            tenant,
            scopes,
            expires_on,
        } => {
            let object = json!({ "client_id": client_id, "authority": authority.id(), "tenant": tenant });
            ("app_token_stored", with_token(object, *scopes, *expires_on))
        }
        C::SessionBegun { account, client_id } => ("session_begun", of_client(account, client_id)),
        C::SessionTokenStored {
            account,
            client_id,
            scopes,
            expires_on,
        } => (
            "session_token_stored",
            with_token(of_client(account, client_id), *scopes, *expires_on),
        ),
        C::SessionEnded { account, client_id } => ("session_ended", of_client(account, client_id)),
        C::ProofKeysStored => ("proof_keys_stored", json!({})),
        C::ProofKeysRemoved => ("proof_keys_removed", json!({})),
        C::KeyRingChanged => ("key_ring_changed", json!({})),
        C::Quarantined => ("quarantined", json!({})),
        C::Resealed { kind } => ("resealed", of_kind(Some(*kind))),
        C::RolledBack { kind } => ("rolled_back", of_kind(Some(*kind))),
        C::Committed { kind } => ("committed", of_kind(*kind)),
        C::Removed { kind } => ("removed", of_kind(*kind)),
        C::Unreadable { kind, error } => {
            let mut object = of_kind(Some(*kind));
            if let Some(key) = &event.record {
                object["unreadable"] = unreadable_object(key, error);
            }
            ("unreadable", object)
        }
        C::StoreFailed { error } => {
            let failure = Failure::from(error.clone()).to_json();
            ("store_failed", json!({ "error": failure["error"] }))
        }
        C::StoreBack => ("store_back", json!({})),
        C::Lost => ("lost", json!({})),
        _ => ("other", json!({})),
    }
}

fn account_object(account: &AccountName) -> Value {
    json!({
        "home_account_id": account.home_account_id,
        "username": account.username,
        "environment": account.environment,
    })
}

fn named(account: &AccountName) -> String {
    let name = if account.username.is_empty() {
        "(no user name)"
    } else {
        &account.username
    };
    format!("{name} ({})", account.home_account_id)
}

fn known(account: Option<&AccountName>) -> String {
    account.map_or_else(|| "(nobody who is known)".to_owned(), named)
}

fn token(scopes: usize, expires_on: UnixSeconds) -> String {
    let scopes = if scopes == 1 {
        "1 scope".to_owned()
    } else {
        format!("{scopes} scopes")
    };
    let expires_on = shown(UnixMillis(expires_on.0.saturating_mul(1000)));
    format!("{scopes}, expires {}", expires_on.replace(".000Z", "Z"))
}

#[cfg(test)]
mod tests {
    use cache_core::store::StoreKey;

    use super::*;

    #[test]
    fn what_an_authority_wrote_steers_no_terminal() {
        let event = CacheEvent {
            at: UnixMillis(1_735_689_600_000),
            record: Some(StoreKey::new("tokenkeep/user/1").unwrap()),
            change: CacheChange::RefreshRefused {
                account: None,
                client_id: "app\u{1b}[2J".to_owned(),
                error: "invalid\u{9b}31m\ngrant".to_owned(),
                suberror: Some("\u{202e}x".to_owned()),
                token_is_dead: true,
            },
        };
        let line = text(&event);
        assert!(!line.chars().any(crate::answer::steers), "{line:?}");
        assert!(
            line.starts_with("2025-01-01T00:00:00.000Z  refresh refused: "),
            "{line}"
        );
        let object = object(&event);
        assert_eq!(object["event"], "refresh_refused");
        assert_eq!(object["error"], "invalid 31m grant");
        assert_eq!(object["record"], "tokenkeep/user/1");
        assert_eq!(object["at"], 1_735_689_600);
    }
}
