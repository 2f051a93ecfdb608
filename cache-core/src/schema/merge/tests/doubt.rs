//! What a further run of a sign-in or an import may write.

use super::*;
use crate::schema::SessionAnchor;

const EPOCH: [u8; 16] = [3; 16];

fn met(partition: Option<&Partition>, response: &TokenResponse) -> Met {
    let mut met = Met::default();
    met.note(partition, response, None);
    met
}

#[test]
fn only_what_an_earlier_run_met_is_replaced() {
    let before = signed_in("c", None);
    let again = response("c", "a", "2", None);
    let met = met(Some(&before), &again);
    assert_eq!(met.meanwhile(Some(&before), &again, None), Meanwhile::Nothing);
    let mut stored = before.clone();
    sign_in(&mut stored, &again, EPOCH, NOW);
    // Others may have it by now.
    assert_eq!(met.meanwhile(Some(&stored), &again, None), Meanwhile::GoneOn);
    assert_eq!(met.meanwhile(None, &again, None), Meanwhile::Over);
    let others = signed_in("d", None);
    assert_eq!(met.meanwhile(Some(&others), &again, None), Meanwhile::Over);
}

#[test]
fn where_nothing_was_and_nothing_is_nothing_has_gone_on() {
    let granted = response("c", "a", "1", None);
    assert_eq!(
        met(None, &granted).meanwhile(None, &granted, None),
        Meanwhile::Nothing
    );
    let others = signed_in("d", None);
    assert_eq!(
        met(None, &granted).meanwhile(Some(&others), &granted, None),
        Meanwhile::Nothing
    );
}

#[test]
fn a_token_that_a_refresh_moved_into_a_family_or_out_of_one_is_of_the_lineage() {
    for (before, after) in [(None, Some("1")), (Some("1"), None)] {
        let mut partition = signed_in("c", before);
        let met = met(None, &response("c", "a", "c", before));
        let moved = response("c", "a", "2", after);
        refreshed(&mut partition, &hash("refresh c"), None, &moved, NOW);
        let again = response("c", "a", "c", before);
        assert_eq!(met.meanwhile(Some(&partition), &again, None), Meanwhile::GoneOn);
    }
}

#[test]
fn a_lineage_is_the_same_under_each_name_of_its_cloud() {
    let stored = signed_in("c", None);
    let mut granted = response("c", "a", "2", None);
    granted.environment = "login.windows.net".into();
    assert_eq!(
        met(None, &granted).meanwhile(Some(&stored), &granted, None),
        Meanwhile::GoneOn
    );
}

#[test]
fn a_session_under_a_sign_in_that_was_not_met_stays() {
    let under = |epoch: u8| {
        let user = key().to_bytes();
        Some(SessionAnchor {
            user,
            epoch: [epoch; 16],
        })
    };
    let granted = response("c", "a", "1", None);
    let rows = |epoch: u8| {
        let mut rows = signed_in("c", None);
        rows.anchor = under(epoch);
        rows
    };
    let mut met = Met::default();
    met.note(Some(&rows(1)), &granted, under(2).as_ref());
    let meanwhile = |rows: Option<&Partition>| met.meanwhile(rows, &granted, under(2).as_ref());
    assert_eq!(meanwhile(Some(&rows(1))), Meanwhile::Nothing);
    assert_eq!(meanwhile(Some(&rows(3))), Meanwhile::Over);
    assert_eq!(meanwhile(None), Meanwhile::Over);
    // One that a rollback or a settled removal left.
    assert_eq!(meanwhile(Some(&Partition::new(key()))), Meanwhile::Over);
}

#[test]
fn a_client_joins_a_family_that_is_here_once_and_not_after_its_sign_out() {
    let granted = response("c", "a", "c", Some("1"));
    let mut partition = signed_in("member", Some("1"));
    assert!(join_family(&mut partition, &granted, EPOCH, NOW));
    assert_eq!(refresh_tokens(&partition), ["refresh member"]);
    assert!(partition.access_tokens.iter().any(|row| row.client_id == "c"));
    assert!(partition.epochs.iter().any(|known| known.epoch == EPOCH));
    let before = partition.clone();
    assert!(
        !join_family(&mut partition, &granted, [4; 16], NOW),
        "it is signed in"
    );

    let mut left = signed_in("member", Some("1"));
    not_in_family(&mut left, "c", "login.microsoftonline.com");
    assert!(!join_family(&mut left, &granted, EPOCH, NOW));
    for (family, granted_in) in [(Some("2"), Some("1")), (None, None)] {
        let mut elsewhere = signed_in("member", family);
        let granted = response("c", "a", "c", granted_in);
        assert!(!join_family(&mut elsewhere, &granted, EPOCH, NOW));
    }
    assert!(partition == before);
}

#[test]
fn an_import_leaves_alone_what_was_refreshed_since_and_brings_the_rest() {
    let mut imported = signed_in("c", None);
    sign_in(&mut imported, &response("d", "a", "d", None), EPOCH, NOW);
    let before = Partition::new(key());
    let mut met = Met::default();
    met.note_all(&before);
    let mut existing = signed_in("c", None);
    refreshed(
        &mut existing,
        &hash("refresh c"),
        None,
        &response("c", "a", "2", None),
        NOW,
    );
    let mut late = imported.clone();
    met.drop_outdated(&mut late, &existing);
    assert_eq!(refresh_tokens(&late), ["refresh d"]);
}

#[test]
fn an_import_does_not_bring_back_what_moved_into_a_family_or_was_signed_out() {
    let imported = signed_in("c", None);
    let mut moved = imported.clone();
    let into_family = response("c", "a", "2", Some("1"));
    refreshed(&mut moved, &hash("refresh c"), None, &into_family, NOW);
    let mut late = imported.clone();
    Met::default().drop_outdated(&mut late, &moved);
    assert_eq!(refresh_tokens(&late), [""; 0]);

    let mut met = Met::default();
    met.note_all(&imported);
    let mut left = signed_in("d", None);
    sign_in(&mut left, &response("c", "a", "c", None), EPOCH, NOW);
    sign_out(&mut left, "c", SignOutScope::Client);
    let mut late = imported.clone();
    met.drop_outdated(&mut late, &left);
    assert!(late.access_tokens.is_empty() && late.id_tokens.is_empty() && late.refresh_tokens.is_empty());
    // Its metadata would make it a member of a family again, and an account without clients is none.
    assert!(late.app_metadata.is_empty() && late.accounts.is_empty());
    let mut others = imported.clone();
    sign_in(&mut others, &response("e", "a", "e", None), EPOCH, NOW);
    met.drop_outdated(&mut others, &left);
    assert_eq!(
        (refresh_tokens(&others), others.accounts.len()),
        (vec!["refresh e"], 1)
    );
}

/// Its lineage cannot tell, as it has none.
#[test]
fn a_sign_in_without_a_refresh_token_is_not_stored_again_after_a_sign_out() {
    let before = signed_in("c", None);
    let granted = TokenResponse {
        refresh_token: None,
        ..response("c", "a", "2", None)
    };
    let met = met(Some(&before), &granted);
    assert_eq!(met.meanwhile(Some(&before), &granted, None), Meanwhile::Nothing);
    for left in [None, Some(signed_in("d", None))] {
        assert_eq!(met.meanwhile(left.as_ref(), &granted, None), Meanwhile::Over);
    }
}

/// The last member's sign-out leaves nothing that says so, and another member has come since.
#[test]
fn a_client_that_was_signed_out_does_not_join_the_family_of_who_came_after() {
    let before = signed_in("c", Some("1"));
    let granted = response("c", "a", "2", Some("1"));
    let others = signed_in("d", Some("1"));
    assert_eq!(
        met(Some(&before), &granted).meanwhile(Some(&others), &granted, None),
        Meanwhile::Over
    );
    assert_eq!(
        met(None, &granted).meanwhile(Some(&others), &granted, None),
        Meanwhile::GoneOn
    );
}
