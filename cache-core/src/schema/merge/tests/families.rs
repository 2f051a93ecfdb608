//! Tokens that the clients of a family share.

use super::*;

#[test]
fn a_family_token_that_gives_an_outsider_its_own_stays_for_the_family() {
    let mut partition = signed_in("member", Some("1"));
    mark(&mut partition, "refresh member", 1);
    let reply = response("outsider", "a", "own", None);
    twice(&mut partition, |rows| {
        refreshed(rows, &hash("refresh member"), Some(&ATTEMPT), &reply, NOW)
    });
    assert_eq!(refresh_tokens(&partition), ["refresh member", "refresh own"]);
    assert!(partition.refresh_tokens.iter().all(|row| row.spending.is_none()));
}

#[test]
fn a_familys_token_is_with_the_member_that_redeemed_it_last() {
    let mut partition = signed_in("member", Some("1"));
    mark(&mut partition, "refresh member", 1);
    let reply = response("other", "a", "2", Some("1"));
    let stored = twice(&mut partition, |rows| {
        refreshed(rows, &hash("refresh member"), Some(&ATTEMPT), &reply, NOW)
    });
    assert_eq!(stored, Refreshed::Applied);
    let [row] = &partition.refresh_tokens[..] else {
        panic!("one row");
    };
    assert_eq!((row.secret.expose(), &*row.client_id), ("refresh 2", "other"));
}

/// The token lives on for the others, under the name of one of them, and nobody is served what was granted to the one that left.
#[test]
fn a_member_that_was_signed_out_while_its_refresh_was_under_way_gets_nothing() {
    for (family, token) in [(Some("1"), "refresh 2"), (None, "refresh member")] {
        let mut partition = signed_in("member", Some("1"));
        not_in_family(&mut partition, "left", HOST);
        mark(&mut partition, "refresh member", 1);
        let reply = response("left", "a", "2", family);
        let stored = refreshed(
            &mut partition,
            &hash("refresh member"),
            Some(&ATTEMPT),
            &reply,
            NOW,
        );
        assert_eq!(stored, Refreshed::LeftFamily);
        let [row] = &partition.refresh_tokens[..] else {
            panic!("one row");
        };
        assert_eq!((row.secret.expose(), &*row.client_id), (token, "member"));
        assert_eq!(row.spending, None);
        assert_eq!(access_tokens(&partition), ["access member"]);
    }
}

#[test]
fn a_client_is_no_member_only_while_the_row_that_it_was_refused_is_the_attempts() {
    let mut partition = signed_in("member", Some("1"));
    let refuse = |rows: &mut Partition, attempt: Option<&[u8; 16]>| {
        refused_by_family(rows, &hash("refresh member"), attempt, "c", HOST)
    };
    let before = partition.clone();
    assert!(!refuse(&mut partition, Some(&ATTEMPT)), "it bears no marker");
    assert!(partition == before);

    mark(&mut partition, "refresh member", 1);
    assert!(refuse(&mut partition, Some(&ATTEMPT)));
    let left = partition.app_metadata.iter().find(|row| row.client_id == "c");
    assert_eq!(left.unwrap().family_id.as_deref(), Some(""));
    assert_eq!(partition.refresh_tokens[0].spending, None);

    let mut alone = before.clone();
    assert!(
        refuse(&mut alone, None),
        "where only one process uses the cache there is no marker"
    );
    let mut signed_in_anew = before;
    sign_in(
        &mut signed_in_anew,
        &response("member", "a", "2", Some("1")),
        [2; 16],
        NOW,
    );
    assert!(!refuse(&mut signed_in_anew, None));
}
