//! Signing in.

use super::*;

#[test]
fn a_sign_in_replaces_the_clients_rows_and_keeps_its_epoch() {
    let mut partition = signed_in("c", None);
    twice(&mut partition, |rows| {
        sign_in(rows, &response("c", "A b", "2", None), [2; 16], NOW)
    });
    assert_eq!(access_tokens(&partition), ["access 2"]);
    assert_eq!(refresh_tokens(&partition), ["refresh 2"]);
    assert_eq!(partition.id_tokens.len(), 1);
    assert_eq!(partition.accounts.len(), 1);
    assert_eq!(partition.app_metadata.len(), 1);
    assert_eq!((partition.epochs.len(), partition.epochs[0].epoch), (1, [1; 16]));
}

#[test]
fn a_sign_in_that_makes_the_client_a_family_member_ends_what_it_had_outside() {
    let mut partition = signed_in("c", None);
    mark(&mut partition, "refresh c", 1);
    twice(&mut partition, |rows| {
        sign_in(rows, &response("c", "a", "new", Some("1")), [2; 16], NOW)
    });
    assert_eq!(refresh_tokens(&partition), ["refresh new"]);
    let late = response("c", "a", "late", Some("1"));
    let stored = refreshed(&mut partition, &hash("refresh c"), Some(&ATTEMPT), &late, NOW);
    assert_eq!(stored, Refreshed::Superseded);
    assert_eq!(refresh_tokens(&partition), ["refresh new"]);
}

#[test]
fn a_guests_sign_in_adds_its_tenant_and_keeps_the_accounts_own() {
    let mut partition = signed_in("c", None);
    let mut guest = response("c", "a", "guest", None);
    guest.realm = "guest".into();
    guest.account = Some(account("guest"));
    twice(&mut partition, |rows| sign_in(rows, &guest, [1; 16], NOW));
    let [row] = &partition.accounts[..] else {
        panic!("one account")
    };
    assert_eq!((&*row.realm, &*row.username), ("t", "alice@t"));
    let mut tenants: Vec<_> = row.tenant_profiles.iter().map(|row| &*row.tenant_id).collect();
    tenants.sort_unstable();
    assert_eq!(tenants, ["guest", "t"]);
    assert_eq!((partition.access_tokens.len(), partition.id_tokens.len()), (2, 2));
}

#[test]
fn a_sign_in_leaves_what_other_clients_accounts_and_the_family_have() {
    let mut partition = signed_in("a", None);
    // Where one record has the rows of all, as other programs write it.
    partition.refresh_tokens[0].home_account_id = "another user".into();
    for (client, tokens, family) in [
        ("a", "of this user", None),
        ("b", "b", None),
        ("c", "of the family", Some("1")),
        ("c", "outside of it", None),
    ] {
        sign_in(
            &mut partition,
            &response(client, "a", tokens, family),
            [2; 16],
            NOW,
        );
    }
    assert_eq!(
        refresh_tokens(&partition),
        [
            "refresh a",
            "refresh of this user",
            "refresh b",
            "refresh of the family",
            "refresh outside of it"
        ]
    );
}
