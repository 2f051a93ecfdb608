//! Importing into partitions that are already there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at the first surprise"
)]

use cache_core::codec::msal;
use cache_core::schema::{Partition, Refusal, SpendMarker};
use cache_core::secret::Secret;
use cache_core::time::{UnixMillis, UnixSeconds};
use serde_json::{Value, json};

fn partition(file: &Value) -> Partition {
    let cache = msal::read(file.to_string().as_bytes()).unwrap();
    msal::into_partitions(cache, &|origin| origin.default_identity()).remove(0)
}

fn refresh_token(secret: &str, modified: Value) -> Value {
    json!({
        "home_account_id": "u.t", "environment": "login.windows.net", "client_id": "c", "secret": secret,
        "last_modification_time": modified,
    })
}

fn one_refresh_token(secret: &str, modified: Value) -> Partition {
    partition(&json!({ "RefreshToken": { "k": refresh_token(secret, modified) } }))
}

fn secrets(partition: &Partition) -> Vec<&str> {
    partition
        .refresh_tokens
        .iter()
        .map(|row| row.secret.expose())
        .collect()
}

#[test]
fn the_newer_of_two_rows_of_one_name_stays() {
    for (ours, theirs, expected) in [
        (json!("5"), json!("6"), "theirs"),
        (json!("5"), json!("5"), "theirs"),
        (json!("6"), json!("5"), "ours"),
        (json!("6"), Value::Null, "ours"),
        (Value::Null, json!("1"), "theirs"),
        (Value::Null, Value::Null, "theirs"),
    ] {
        let mut existing = one_refresh_token("ours", ours.clone());
        msal::merge_import(&mut existing, one_refresh_token("theirs", theirs.clone()));
        assert_eq!(secrets(&existing), [expected], "{ours} {theirs}");
    }
}

#[test]
fn rows_of_other_names_are_added_and_nothing_is_collapsed() {
    let mut existing = one_refresh_token("ours", json!("5"));
    let imported = partition(&json!({
        "RefreshToken": { "l": refresh_token("theirs", json!("6")), "m": refresh_token("twin", json!("6")) },
    }));
    msal::merge_import(&mut existing, imported.clone());
    msal::merge_import(&mut existing, imported);
    assert_eq!(secrets(&existing), ["ours", "theirs", "twin"]);
}

#[test]
fn one_token_under_two_names_stays_two_rows() {
    let token = |home_account_id: Value| {
        json!({
            "home_account_id": home_account_id, "environment": "login.windows.net", "client_id": "c",
            "realm": "t", "target": "s", "secret": "s", "cached_at": "1", "expires_on": "2",
        })
    };
    let imported =
        partition(&json!({ "AccessToken": { "python": token(Value::Null), "node-": token(json!("")) } }));
    let mut existing = Partition::new(imported.key.clone());
    for _ in 0..2 {
        msal::merge_import(&mut existing, imported.clone());
        assert!(existing == imported);
    }
}

#[test]
fn the_same_token_under_another_name_is_the_same_row() {
    let mut existing = one_refresh_token("same", json!("5"));
    existing.refresh_tokens[0].foreign = None;
    msal::merge_import(&mut existing, one_refresh_token("same", json!("5")));
    assert_eq!(secrets(&existing), ["same"]);
}

#[test]
fn the_state_of_a_refresh_token_outlives_an_import_of_the_same_token_only() {
    let mut existing = one_refresh_token("ours", json!("5"));
    let row = &mut existing.refresh_tokens[0];
    row.spending = Some(SpendMarker {
        token_hash: row.secret.sha256(),
        attempt: [1; 16],
        deadline: UnixMillis(1),
        attempts: 1,
        outcome_unknown: false,
    });
    row.refusals.push(Refusal {
        request: None,
        error: "invalid_grant".into(),
        suberror: None,
        claims: None,
        refused_at: UnixSeconds(1),
    });
    let mut same = existing.clone();
    msal::merge_import(&mut same, one_refresh_token("ours", json!("6")));
    assert_eq!(
        same.refresh_tokens[0].last_modification_time,
        Some(UnixSeconds(6))
    );
    assert!(same.refresh_tokens[0].spending.is_some() && same.refresh_tokens[0].is_dead());

    msal::merge_import(&mut existing, one_refresh_token("theirs", json!("6")));
    assert!(existing.refresh_tokens[0].spending.is_none() && !existing.refresh_tokens[0].is_dead());
}

#[test]
fn a_token_of_another_context_never_takes_a_row_by_its_name() {
    let token = json!({
        "home_account_id": "u.t", "environment": "login.windows.net", "client_id": "c", "realm": "t",
        "target": "s", "secret": "plain", "cached_at": "1", "expires_on": "2",
    });
    let imported = partition(&json!({ "AccessToken": { "k": token } }));
    let mut existing = imported.clone();
    existing.access_tokens[0].context.resource = Some("r".into());
    existing.access_tokens[0].secret = Secret::new("special");
    msal::merge_import(&mut existing, imported);
    assert_eq!(existing.access_tokens.len(), 2);
}

#[test]
fn an_older_access_token_does_not_replace_a_newer_one() {
    let token = |cached_at: &str, secret: &str| {
        partition(&json!({
            "AccessToken": {
                "k": {
                    "home_account_id": "u.t", "environment": "login.windows.net", "client_id": "c",
                    "realm": "t", "target": "s", "secret": secret, "cached_at": cached_at, "expires_on": "9",
                },
            },
        }))
    };
    let mut existing = token("5", "ours");
    msal::merge_import(&mut existing, token("4", "theirs"));
    assert_eq!(existing.access_tokens[0].secret.expose(), "ours");
    msal::merge_import(&mut existing, token("6", "theirs"));
    assert_eq!(existing.access_tokens[0].secret.expose(), "theirs");
}

#[test]
fn unknown_fields_of_a_replaced_row_and_residue_stay() {
    let file = |field: &str, row: &str| {
        partition(&json!({
            "Account": {
                "k": { "home_account_id": "u.t", "environment": "login.windows.net", field: 1, "name": field },
                row: 5,
            },
        }))
    };
    let with_residue = |field: &str, row: &str| {
        let mut partition = file(field, row);
        let rows = json!({ row: 5 }).as_object().unwrap().clone();
        partition
            .residue
            .insert("Account".into(), cache_core::secret::SecretJson::new(rows));
        partition
    };
    let mut existing = with_residue("a", "x");
    msal::merge_import(&mut existing, with_residue("b", "y"));
    let written = msal::write(&msal::from_partitions(&[existing]));
    assert_eq!(
        serde_json::from_slice::<Value>(written.expose()).unwrap(),
        json!({
            "Account": {
                "k": {
                    "home_account_id": "u.t", "environment": "login.windows.net", "a": 1, "b": 1, "name": "b",
                },
                "x": 5,
                "y": 5,
            },
        })
    );
}
