use std::time::Duration;

use super::*;
use crate::schema::{AppMetadata, AuthorityIdentity, PartitionKey, ScopeSet};
use crate::secret::Secret;
use crate::time::UnixSeconds;

mod marking;

const NOW: UnixMillis = UnixMillis(1_000_000_000_000);
const HOST: &str = "login.microsoftonline.com";

fn partition(rows: Vec<RefreshToken>) -> Partition {
    let mut partition = Partition::new(PartitionKey::User {
        authority: AuthorityIdentity::of_host(AuthorityKind::Entra, HOST),
        home_account_id: "u.t".into(),
    });
    partition.refresh_tokens = rows;
    partition
}

fn row(client: &str, family: Option<&str>, secret: &str, modified: i64) -> RefreshToken {
    RefreshToken {
        home_account_id: "u.t".into(),
        environment: HOST.into(),
        client_id: client.into(),
        family_id: family.map(str::to_owned),
        target: None,
        secret: Secret::new(secret.to_owned()),
        last_modification_time: Some(UnixSeconds(modified)),
        expires_on: None,
        spending: None,
        refusals: Vec::new(),
        foreign: None,
    }
}

fn request_at(host: &str, client: &str) -> TokenRequest {
    let key = partition(Vec::new()).key;
    TokenRequest::new(key, AuthorityKind::Entra, client, host, "t", ScopeSet::parse("s"))
}

fn request(client: &str) -> TokenRequest {
    request_at(HOST, client)
}

fn marker(row: &RefreshToken, deadline: UnixMillis, attempts: u8, outcome_unknown: bool) -> SpendMarker {
    SpendMarker {
        token_hash: row.secret.sha256(),
        attempt: [7; 16],
        deadline,
        attempts,
        outcome_unknown,
    }
}

fn refusal(request: Option<&TokenRequest>) -> Refusal {
    Refusal {
        request: request.map(|request| *request.hash()),
        error: "invalid_grant".into(),
        suberror: None,
        claims: None,
        refused_at: UnixSeconds(0),
    }
}

fn metadata(client: &str, family: &str) -> AppMetadata {
    AppMetadata {
        client_id: client.into(),
        environment: HOST.into(),
        family_id: Some(family.into()),
        foreign: None,
    }
}

fn ask(partition: &Partition, client: &str, spent: &[[u8; 32]]) -> Decision {
    decide(
        partition,
        &request(client),
        spent,
        UnknownOutcomePolicy::AskUser,
        NOW,
    )
}

/// Which token a decision would send: its text, and the number of the attempt.
fn sends(decision: &Decision, secret: &str) -> Option<u8> {
    match decision {
        Decision::Spend(candidate) if candidate.token_hash == Secret::new(secret.to_owned()).sha256() => {
            Some(candidate.attempts)
        }
        _ => None,
    }
}

fn after(seconds: u64) -> UnixMillis {
    NOW.saturating_add(Duration::from_secs(seconds))
}

#[test]
fn the_newest_of_equivalent_rows_is_sent_and_an_older_one_never() {
    let mut undated = row("c", None, "undated", 0);
    undated.last_modification_time = None;
    let rows = partition(vec![row("c", None, "new", 9), row("c", None, "old", 5), undated]);
    assert_eq!(sends(&ask(&rows, "c", &[]), "new"), Some(1));
    let spent = Secret::new("new".to_owned()).sha256();
    assert_eq!(ask(&rows, "c", &[spent]), Decision::NoRefreshToken);
    let mut refused = rows;
    refused.refresh_tokens[0].refusals.push(refusal(None));
    assert_eq!(ask(&refused, "c", &[]), Decision::Refused(refusal(None)));
}

#[test]
fn another_clients_and_another_environments_tokens_are_not_sent() {
    let rows = partition(vec![row("other", None, "t", 1)]);
    assert_eq!(ask(&rows, "c", &[]), Decision::NoRefreshToken);
    let mut ported = row("c", None, "t", 1);
    ported.environment = "127.0.0.1:8443".into();
    let rows = partition(vec![ported]);
    let at = |host| {
        decide(
            &rows,
            &request_at(host, "c"),
            &[],
            UnknownOutcomePolicy::AskUser,
            NOW,
        )
    };
    assert_eq!(at("127.0.0.1:8444"), Decision::NoRefreshToken);
    assert_eq!(at("evil.example"), Decision::NoRefreshToken);
    assert_eq!(sends(&at("127.0.0.1:8443"), "t"), Some(1));
}

#[test]
fn a_token_that_has_expired_is_not_sent() {
    let mut expired = row("c", None, "t", 1);
    expired.expires_on = Some(NOW.to_seconds());
    assert_eq!(ask(&partition(vec![expired]), "c", &[]), Decision::NoRefreshToken);
}

#[test]
fn a_refusal_binds_the_request_that_met_it_and_one_of_the_token_binds_all() {
    let mut refused = row("c", None, "t", 1);
    refused.refusals.push(refusal(Some(&request("c"))));
    let rows = partition(vec![refused]);
    assert!(matches!(ask(&rows, "c", &[]), Decision::Refused(_)));
    let other = request("c").claims(Some("{}".into()));
    let decision = decide(&rows, &other, &[], UnknownOutcomePolicy::AskUser, NOW);
    assert_eq!(sends(&decision, "t"), Some(1));
}

#[test]
fn family_tokens_come_first_and_not_to_those_outside() {
    let mut rows = partition(vec![
        row("c", None, "own", 9),
        row("other", Some("1"), "family", 1),
    ]);
    rows.app_metadata.push(metadata("c", "1"));
    let Decision::Spend(candidate) = ask(&rows, "c", &[]) else {
        panic!("nothing to send")
    };
    assert!(candidate.is_family_token);
    assert_eq!(sends(&Decision::Spend(candidate.clone()), "family"), Some(1));
    assert_eq!(sends(&ask(&rows, "c", &[candidate.token_hash]), "own"), Some(1));
    rows.app_metadata[0] = metadata("c", "");
    assert_eq!(sends(&ask(&rows, "c", &[]), "own"), Some(1));
    rows.app_metadata[0] = metadata("c", "2");
    assert_eq!(sends(&ask(&rows, "c", &[]), "own"), Some(1));
    // Of a client that nothing is known of, the authority is asked once.
    rows.app_metadata.clear();
    assert_eq!(sends(&ask(&rows, "c", &[]), "family"), Some(1));
}

#[test]
fn a_family_token_whose_outcome_is_unknown_leaves_the_clients_own_usable() {
    let mut family = row("other", Some("1"), "family", 1);
    family.spending = Some(marker(&family, NOW, 1, true));
    let mut rows = partition(vec![row("c", None, "own", 9), family]);
    assert_eq!(sends(&ask(&rows, "c", &[]), "own"), Some(1));
    rows.refresh_tokens.remove(0);
    assert_eq!(ask(&rows, "c", &[]), Decision::OutcomeUnknown);
}

#[test]
fn a_marker_is_waited_for_and_then_the_policy_decides() {
    use UnknownOutcomePolicy::{AskUser, RetryOnce};
    let cases = [
        // deadline, attempts, reported unknown → what a rotating issuer and what a lenient one allows
        (after(1), 1, false, Decision::Wait(after(1)), None),
        (NOW, 1, false, Decision::Overdue, Some(2)),
        (NOW, 2, false, Decision::Overdue, None),
        (after(1), 1, true, Decision::OutcomeUnknown, None),
        (NOW, 1, true, Decision::OutcomeUnknown, Some(2)),
        (after(1), 2, true, Decision::OutcomeUnknown, None),
        (NOW, 255, true, Decision::OutcomeUnknown, None),
        // A machine whose clock is behind must not take this for over.
        (after(700), 1, false, Decision::Wait(after(700)), None),
        // No limits can give such a deadline: it is over.
        (after(3601), 1, false, Decision::Overdue, Some(2)),
        (UnixMillis(i64::MAX), 1, false, Decision::Overdue, Some(2)),
    ];
    for (deadline, attempts, outcome_unknown, strict, lenient) in cases {
        let mut spending = row("c", None, "t", 1);
        spending.spending = Some(marker(&spending, deadline, attempts, outcome_unknown));
        let rows = partition(vec![spending]);
        let context = format!("{deadline} {attempts} {outcome_unknown}");
        assert_eq!(
            decide(&rows, &request("c"), &[], AskUser, NOW),
            strict,
            "{context}"
        );
        let decision = decide(&rows, &request("c"), &[], RetryOnce, NOW);
        assert_eq!(sends(&decision, "t"), lenient, "{context}: {decision:?}");
    }
}

fn try_give_up(partition: &mut Partition, policy: UnknownOutcomePolicy) -> bool {
    give_up(partition, &request("c"), &[], policy, NOW)
}

#[test]
fn that_time_is_over_is_recorded_once_and_on_nothing_else() {
    let mut spending = row("c", None, "t", 1);
    spending.spending = Some(marker(&spending, NOW, 1, false));
    let mut others = row("other", None, "others", 1);
    others.spending = Some(SpendMarker {
        attempt: [8; 16],
        ..marker(&others, NOW, 1, false)
    });
    let mut rows = partition(vec![others.clone(), spending]);
    assert!(try_give_up(&mut rows, UnknownOutcomePolicy::AskUser));
    assert_eq!(rows.refresh_tokens[0], others);
    assert!(rows.refresh_tokens[1].spending.as_ref().unwrap().outcome_unknown);
    assert_eq!(ask(&rows, "c", &[]), Decision::OutcomeUnknown);
    let recorded = rows.clone();
    assert!(!try_give_up(&mut rows, UnknownOutcomePolicy::AskUser));
    assert_eq!(rows, recorded);
}

#[test]
fn nothing_is_given_up_in_time_nor_while_the_token_may_be_sent_again() {
    use UnknownOutcomePolicy::{AskUser, RetryOnce};
    let cases = [
        (after(1), 1, AskUser, false),
        (NOW, 1, RetryOnce, false),
        (NOW, 2, RetryOnce, true),
        (after(601), 1, AskUser, false),
        (after(3601), 1, AskUser, true),
    ];
    for (deadline, attempts, policy, expected) in cases {
        let mut spending = row("c", None, "t", 1);
        spending.spending = Some(marker(&spending, deadline, attempts, false));
        let mut rows = partition(vec![spending]);
        let before = rows.clone();
        assert_eq!(try_give_up(&mut rows, policy), expected, "{deadline} {attempts}");
        assert_eq!(rows != before, expected, "{deadline} {attempts}");
    }
    let mut unmarked = partition(vec![row("c", None, "t", 1)]);
    assert!(!try_give_up(&mut unmarked, AskUser));
}

#[test]
fn of_a_family_and_an_own_token_both_markers_are_fenced_before_the_user_is_asked() {
    let mut family = row("other", Some("1"), "family", 1);
    family.spending = Some(marker(&family, NOW, 1, false));
    let mut own = row("c", None, "own", 9);
    own.spending = Some(SpendMarker {
        attempt: [8; 16],
        ..marker(&own, NOW, 1, true)
    });
    let mut rows = partition(vec![own, family]);
    assert_eq!(ask(&rows, "c", &[]), Decision::Overdue);
    assert!(try_give_up(&mut rows, UnknownOutcomePolicy::AskUser));
    let markers = rows.refresh_tokens.iter().filter_map(|row| row.spending.as_ref());
    assert!(markers.into_iter().all(|marker| marker.outcome_unknown));
}

#[test]
fn a_marker_on_any_row_of_the_lineage_or_on_a_copy_of_the_token_binds() {
    let mut old = row("c", None, "old", 1);
    old.spending = Some(marker(&old, after(1), 1, false));
    let rows = partition(vec![old, row("c", None, "new", 9)]);
    assert_eq!(ask(&rows, "c", &[]), Decision::Wait(after(1)));

    let mut copy = row("c", Some("1"), "same", 1);
    copy.spending = Some(marker(&copy, after(1), 1, false));
    let mut rows = partition(vec![copy, row("c", None, "same", 9)]);
    rows.app_metadata.push(metadata("c", ""));
    assert_eq!(ask(&rows, "c", &[]), Decision::Wait(after(1)));
}

#[test]
fn a_marker_of_a_token_that_another_program_has_replaced_binds_nobody() {
    let mut replaced = row("c", None, "by MSAL", 9);
    replaced.spending = Some(marker(&row("c", None, "ours", 1), after(1), 1, true));
    assert_eq!(
        sends(&ask(&partition(vec![replaced]), "c", &[]), "by MSAL"),
        Some(1)
    );
}

#[test]
fn a_marker_in_time_is_not_fenced_with_one_that_is_over() {
    let (mut family, mut own) = (row("other", Some("1"), "family", 1), row("c", None, "own", 1));
    family.spending = Some(marker(&family, NOW, 1, false));
    // Not to be sent for this request, but perhaps being sent for another.
    own.refusals.push(refusal(Some(&request("c"))));
    own.spending = Some(SpendMarker {
        attempt: [8; 16],
        ..marker(&own, after(60), 1, false)
    });
    let mut rows = partition(vec![family, own]);
    rows.app_metadata.push(metadata("c", "1"));
    assert!(try_give_up(&mut rows, UnknownOutcomePolicy::AskUser));
    let fenced = rows
        .refresh_tokens
        .iter()
        .map(|row| row.spending.as_ref().unwrap().outcome_unknown);
    assert_eq!(fenced.collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_partition_is_being_spent_until_the_last_marker_that_binds_anybody_ends() {
    let marked = |secret: &str, until: UnixMillis| {
        let mut row = row(secret, None, secret, 1);
        row.spending = Some(marker(&row, until, 1, false));
        row
    };
    let until = |rows: &[RefreshToken]| being_spent_until(&partition(rows.to_vec()), NOW);
    let (soon, later) = (marked("a", after(10)), marked("b", after(20)));
    assert_eq!(
        until(&[soon.clone(), later.clone(), row("c", None, "c", 1)]),
        Some(after(20))
    );
    // One is over, of one the outcome is known to be unknown, and one is of a token that was replaced.
    let over = marked("d", NOW);
    let mut unknown = marked("e", after(30));
    unknown.spending.as_mut().unwrap().outcome_unknown = true;
    let mut replaced = marked("f", after(40));
    replaced.secret = Secret::new("newer".to_owned());
    assert_eq!(until(&[over.clone(), unknown.clone(), replaced.clone()]), None);
    assert_eq!(until(&[over, unknown, replaced, soon]), Some(after(10)));
}

#[test]
fn a_family_token_of_another_client_is_for_members_and_for_who_may_be_one() {
    let family = || partition(vec![row("other", Some("1"), "family", 1)]);
    let of =
        |kind, client: &str| TokenRequest::new(family().key, kind, client, HOST, "t", ScopeSet::parse("s"));
    let decide = |rows: &Partition, request: &TokenRequest| {
        decide(rows, request, &[], UnknownOutcomePolicy::AskUser, NOW)
    };
    // Nothing is known of the client: at Entra the authority can tell.
    assert_eq!(
        sends(&decide(&family(), &of(AuthorityKind::Entra, "c")), "family"),
        Some(1)
    );
    assert_eq!(
        decide(&family(), &of(AuthorityKind::Oidc, "c")),
        Decision::NoRefreshToken
    );
    assert_eq!(
        sends(&decide(&family(), &of(AuthorityKind::Oidc, "other")), "family"),
        Some(1)
    );
    // It is known, and in no family.
    let mut known = family();
    known.app_metadata.push(AppMetadata {
        family_id: None,
        ..metadata("c", "")
    });
    assert_eq!(
        decide(&known, &of(AuthorityKind::Entra, "c")),
        Decision::NoRefreshToken
    );
}

#[test]
fn a_family_token_is_told_apart_where_another_client_obtained_it() {
    let is_family_token = |client: &str, family: Option<&str>| {
        let rows = partition(vec![row(client, family, "t", 1)]);
        match ask(&rows, "c", &[]) {
            Decision::Spend(candidate) => candidate.is_family_token,
            other => panic!("{other:?}"),
        }
    };
    assert!(is_family_token("other", Some("1")));
    assert!(!is_family_token("c", Some("1")));
    assert!(!is_family_token("c", None));
}
