//! Who may send a token: the marker that is written first.

use super::*;

fn try_mark(partition: &mut Partition, attempt: u8, policy: UnknownOutcomePolicy) -> bool {
    let candidate = Candidate {
        token_hash: Secret::new("t".to_owned()).sha256(),
        attempts: 1,
        is_family_token: false,
    };
    let marker = SpendMarker {
        token_hash: candidate.token_hash,
        attempt: [attempt; 16],
        deadline: after(40),
        attempts: 1,
        outcome_unknown: false,
    };
    mark(partition, &request("c"), &candidate, &marker, policy, NOW)
}

#[test]
fn only_one_attempt_is_marked_and_its_own_effect_counts_as_success() {
    let mut rows = partition(vec![row("c", None, "t", 1)]);
    assert!(try_mark(&mut rows, 1, UnknownOutcomePolicy::AskUser));
    let marked = rows.clone();
    assert!(
        try_mark(&mut rows, 1, UnknownOutcomePolicy::AskUser),
        "its acknowledgement was lost"
    );
    assert!(!try_mark(&mut rows, 2, UnknownOutcomePolicy::AskUser));
    assert!(!try_mark(&mut rows, 2, UnknownOutcomePolicy::RetryOnce));
    assert_eq!(rows, marked);
}

#[test]
fn a_row_that_is_gone_or_no_longer_the_one_to_send_is_not_marked() {
    for rows in [
        vec![],
        vec![row("c", None, "another", 1)],
        vec![row("c", None, "t", 1), row("c", None, "newer", 2)],
        vec![RefreshToken {
            refusals: vec![refusal(None)],
            ..row("c", None, "t", 1)
        }],
    ] {
        let mut rows = partition(rows);
        let before = rows.clone();
        assert!(!try_mark(&mut rows, 1, UnknownOutcomePolicy::AskUser));
        assert_eq!(rows, before);
    }
}

#[test]
fn a_second_attempt_counts_on_from_the_first_and_there_is_one_marker_in_a_lineage() {
    let mut old = row("c", None, "old", 1);
    old.spending = Some(marker(&old, NOW, 1, true));
    let mut rows = partition(vec![old, row("c", None, "t", 2)]);
    assert!(!try_mark(&mut rows.clone(), 1, UnknownOutcomePolicy::AskUser));
    assert!(try_mark(&mut rows, 1, UnknownOutcomePolicy::RetryOnce));
    assert_eq!(rows.refresh_tokens[0].spending, None);
    assert_eq!(rows.refresh_tokens[1].spending.as_ref().unwrap().attempts, 2);
}

/// Others told their callers that the token's time is over: to send it now would make a lie of that.
#[test]
fn a_mark_that_was_stored_unheard_and_given_up_by_others_is_no_leave_to_send() {
    let mut rows = partition(vec![row("c", None, "t", 1)]);
    assert!(try_mark(&mut rows, 1, UnknownOutcomePolicy::AskUser));
    assert!(
        try_mark(&mut rows, 1, UnknownOutcomePolicy::AskUser),
        "it is its own"
    );
    rows.refresh_tokens[0].spending.as_mut().unwrap().outcome_unknown = true;
    assert!(!try_mark(&mut rows, 1, UnknownOutcomePolicy::AskUser));
}
