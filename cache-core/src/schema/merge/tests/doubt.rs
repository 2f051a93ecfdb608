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
fn what_an_earlier_run_met_has_not_gone_on() {
    let before = signed_in("c", None);
    let again = response("c", "a", "2", None);
    let met = met(Some(&before), &again);
    assert!(!met.has_gone_on(Some(&before), &again, None));
    let mut stored = before.clone();
    sign_in(&mut stored, &again, EPOCH, NOW);
    assert!(met.has_gone_on(Some(&stored), &again, None), "others may have it");
    assert!(met.has_gone_on(None, &again, None), "it was signed out");
}

#[test]
fn where_nothing_was_and_nothing_is_nothing_has_gone_on() {
    let granted = response("c", "a", "1", None);
    assert!(!met(None, &granted).has_gone_on(None, &granted, None));
    let others = signed_in("d", None);
    assert!(!met(None, &granted).has_gone_on(Some(&others), &granted, None));
}

#[test]
fn a_token_that_a_refresh_moved_into_a_family_or_out_of_one_is_of_the_lineage() {
    for (before, after) in [(None, Some("1")), (Some("1"), None)] {
        let mut partition = signed_in("c", before);
        let met = met(None, &response("c", "a", "c", before));
        let moved = response("c", "a", "2", after);
        refreshed(&mut partition, &hash("refresh c"), None, &moved, NOW);
        assert!(met.has_gone_on(Some(&partition), &response("c", "a", "c", before), None));
    }
}

#[test]
fn a_lineage_is_the_same_under_each_name_of_its_cloud() {
    let stored = signed_in("c", None);
    let mut granted = response("c", "a", "2", None);
    granted.environment = "login.windows.net".into();
    assert!(met(None, &granted).has_gone_on(Some(&stored), &granted, None));
}

#[test]
fn a_session_under_a_sign_in_that_was_not_met_has_gone_on() {
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
    assert!(!met.has_gone_on(Some(&rows(1)), &granted, under(2).as_ref()));
    assert!(met.has_gone_on(Some(&rows(3)), &granted, under(2).as_ref()));
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
    met.note_all(&existing);
    met.drop_outdated(&mut imported, &existing);
    assert_eq!(
        refresh_tokens(&imported),
        ["refresh c", "refresh d"],
        "it is to replace what was met"
    );
}
