use std::time::Duration;

use super::*;
use crate::schema::{
    AccessToken, Account, AuthorityIdentity, AuthorityKind, IdToken, ScopeSet, SessionKey, SessionLink,
    SpendMarker, TenantProfile, TokenContext, TokenType,
};
use crate::secret::Secret;

mod doubt;
mod families;
mod scopes;
mod sign_in;
mod sign_out;

const NOW: UnixSeconds = UnixSeconds(1_000_000_000);
const HOST: &str = "login.microsoftonline.com";
const ATTEMPT: [u8; 16] = [1; 16];

fn key() -> PartitionKey {
    PartitionKey::User {
        authority: AuthorityIdentity::of_host(AuthorityKind::Entra, HOST),
        home_account_id: "u.t".into(),
    }
}

fn account(realm: &str) -> Account {
    Account {
        home_account_id: "u.t".into(),
        environment: HOST.into(),
        realm: realm.into(),
        local_account_id: format!("oid in {realm}"),
        username: format!("alice@{realm}"),
        authority_type: "MSSTS".into(),
        name: None,
        issuer: None,
        tenant_profiles: vec![TenantProfile {
            tenant_id: realm.into(),
            local_account_id: format!("oid in {realm}"),
            name: None,
            username: None,
            is_home_tenant: realm == "t",
            foreign: None,
        }],
        foreign: None,
    }
}

fn response(client: &str, scopes: &str, tokens: &str, family: Option<&str>) -> TokenResponse {
    TokenResponse {
        client_id: client.into(),
        environment: HOST.into(),
        realm: "t".into(),
        scopes: ScopeSet::parse(scopes),
        requested_scopes: ScopeSet::parse(scopes),
        token_type: TokenType::Bearer,
        access_token: Some(Secret::new(format!("access {tokens}"))),
        requested_at: NOW,
        expires_on: NOW.saturating_add(Duration::from_secs(3600)),
        extended_expires_on: None,
        refresh_on: None,
        refresh_token: Some(Secret::new(format!("refresh {tokens}"))),
        refresh_token_expires_on: None,
        family_id: family.map(str::to_owned),
        id_token: Some(Secret::new(format!("id {tokens}"))),
        account: Some(account("t")),
        context: TokenContext::default(),
    }
}

/// A partition with a sign-in of `client`.
fn signed_in(client: &str, family: Option<&str>) -> Partition {
    let mut partition = Partition::new(key());
    sign_in(
        &mut partition,
        &response(client, "a", client, family),
        [1; 16],
        NOW,
    );
    partition
}

fn hash(secret: &str) -> [u8; 32] {
    Secret::new(secret.to_owned()).sha256()
}

fn mark(partition: &mut Partition, secret: &str, attempts: u8) {
    let hash = hash(secret);
    let row = partition
        .refresh_tokens
        .iter_mut()
        .find(|row| row.secret.sha256() == hash);
    row.unwrap().spending = Some(SpendMarker {
        token_hash: hash,
        attempt: ATTEMPT,
        deadline: UnixMillis(0),
        attempts,
        outcome_unknown: false,
    });
}

fn refresh_tokens(partition: &Partition) -> Vec<&str> {
    partition
        .refresh_tokens
        .iter()
        .map(|row| row.secret.expose())
        .collect()
}

fn access_tokens(partition: &Partition) -> Vec<&str> {
    partition
        .access_tokens
        .iter()
        .map(|row| row.secret.expose())
        .collect()
}

/// Applies `change` twice, and proves that the second time changes nothing.
fn twice<T: PartialEq + std::fmt::Debug>(
    partition: &mut Partition,
    change: impl Fn(&mut Partition) -> T,
) -> T {
    let first = change(partition);
    let after = partition.clone();
    assert_eq!(change(partition), first);
    assert_eq!(*partition, after, "it did not recognise its own effect");
    first
}

#[test]
fn rows_keep_the_environment_under_which_the_account_is_known() {
    let mut partition = Partition::new(key());
    let mut first = response("c", "a", "1", None);
    first.environment = "login.windows.net".into();
    first.account.as_mut().unwrap().environment = "login.windows.net".into();
    sign_in(&mut partition, &first, [1; 16], NOW);
    twice(&mut partition, |rows| {
        sign_in(rows, &response("c", "a", "2", None), [1; 16], NOW)
    });
    let environments = partition
        .accounts
        .iter()
        .map(|row| &row.environment)
        .chain(partition.access_tokens.iter().map(|row| &row.environment))
        .chain(partition.refresh_tokens.iter().map(|row| &row.environment))
        .chain(partition.id_tokens.iter().map(|row| &row.environment))
        .chain(partition.app_metadata.iter().map(|row| &row.environment));
    assert!(
        environments
            .clone()
            .all(|environment| environment == "login.windows.net")
    );
    assert_eq!(environments.count(), 5);
}

#[test]
fn tokens_for_other_contexts_and_disjoint_scopes_stay() {
    let mut partition = signed_in("c", None);
    let mut bound = response("c", "a", "bound", None);
    bound.token_type = TokenType::Bound {
        scheme: "pop".into(),
        key_id: "k".into(),
    };
    let mut elsewhere = response("c", "a", "resource", None);
    elsewhere.context.resource = Some("r".into());
    for other in [
        bound,
        elsewhere,
        response("c", "b", "b", None),
        response("d", "a", "d", None),
    ] {
        twice(&mut partition, |rows| sign_in(rows, &other, [1; 16], NOW));
    }
    let expected = [
        "access c",
        "access bound",
        "access resource",
        "access b",
        "access d",
    ];
    assert_eq!(access_tokens(&partition), expected);
}

#[test]
fn a_refresh_replaces_the_row_that_it_spent_and_its_equivalents() {
    let mut partition = signed_in("c", None);
    mark(&mut partition, "refresh c", 1);
    let mut stale = partition.refresh_tokens[0].clone();
    stale.spending = None;
    stale.secret = Secret::new("stale");
    let mut copy = partition.refresh_tokens[0].clone();
    copy.client_id = "another".into();
    copy.spending = None;
    let mut others = partition.refresh_tokens[0].clone();
    others.client_id = "other".into();
    others.secret = Secret::new("other");
    partition.refresh_tokens.extend([stale, copy, others]);
    let reply = response("c", "a", "2", Some("1"));
    let stored = twice(&mut partition, |rows| {
        refreshed(rows, &hash("refresh c"), Some(&ATTEMPT), &reply, NOW)
    });
    assert_eq!(stored, Refreshed::Applied);
    assert_eq!(refresh_tokens(&partition), ["refresh 2", "other"]);
    assert_eq!(partition.refresh_tokens[0].spending, None);
    assert_eq!(partition.refresh_tokens[0].family_id.as_deref(), Some("1"));
    assert_eq!(partition.app_metadata[0].family_id.as_deref(), Some("1"));
}

#[test]
fn a_refresh_without_rotation_is_recognised_by_its_access_token() {
    let mut partition = signed_in("c", None);
    mark(&mut partition, "refresh c", 1);
    let mut reply = response("c", "a", "2", None);
    reply.refresh_token = None;
    reply.account = None;
    let stored = twice(&mut partition, |rows| {
        refreshed(rows, &hash("refresh c"), Some(&ATTEMPT), &reply, NOW)
    });
    assert_eq!(stored, Refreshed::Applied);
    assert_eq!(refresh_tokens(&partition), ["refresh c"]);
    assert_eq!(access_tokens(&partition), ["access 2"]);
    assert_eq!(
        partition.access_tokens[0].home_account_id, "u.t",
        "of the row that was spent"
    );
}

#[test]
fn a_reply_for_a_row_that_is_gone_changed_or_taken_over_changes_nothing() {
    let reply = response("c", "a", "2", None);
    let mut taken_over = signed_in("c", None);
    mark(&mut taken_over, "refresh c", 1);
    taken_over.refresh_tokens[0].spending.as_mut().unwrap().attempt = [9; 16];
    let mut signed_in_anew = signed_in("c", None);
    sign_in(
        &mut signed_in_anew,
        &response("c", "a", "anew", None),
        [2; 16],
        NOW,
    );
    let mut without_rotation = reply.clone();
    without_rotation.refresh_token = None;
    for mut partition in [Partition::new(key()), taken_over, signed_in_anew] {
        let before = partition.clone();
        let spent = hash("refresh c");
        for reply in [&reply, &without_rotation] {
            let stored = refreshed(&mut partition, &spent, Some(&ATTEMPT), reply, NOW);
            assert_eq!(stored, Refreshed::Superseded);
        }
        assert!(!release(&mut partition, &spent, &ATTEMPT));
        assert!(!outcome_unknown(&mut partition, &spent, &ATTEMPT));
        let refusal = Refusal {
            request: None,
            error: "invalid_grant".into(),
            suberror: None,
            claims: None,
            refused_at: NOW,
        };
        assert!(!refused(&mut partition, &spent, Some(&ATTEMPT), refusal));
        assert_eq!(partition, before);
    }
}

#[test]
fn a_reply_whose_time_others_have_declared_over_changes_nothing() {
    for new_token in [true, false] {
        let mut reply = response("c", "a", "2", None);
        if !new_token {
            reply.refresh_token = None;
        }
        let mut partition = signed_in("c", None);
        mark(&mut partition, "refresh c", 1);
        let spent = hash("refresh c");
        assert!(outcome_unknown(&mut partition, &spent, &ATTEMPT));
        let before = partition.clone();
        let stored = twice(&mut partition, |rows| {
            refreshed(rows, &spent, Some(&ATTEMPT), &reply, NOW)
        });
        assert_eq!(stored, Refreshed::Late);
        assert_eq!(partition, before);
        // Where no marker is written nobody else is there who could have acted on one.
        let stored = refreshed(&mut partition, &spent, None, &reply, NOW);
        assert_eq!(stored, Refreshed::Applied);
    }
}

#[test]
fn releasing_a_second_attempt_does_not_forget_the_first() {
    let mut partition = signed_in("c", None);
    mark(&mut partition, "refresh c", 1);
    assert!(release(&mut partition, &hash("refresh c"), &ATTEMPT));
    assert_eq!(partition.refresh_tokens[0].spending, None);
    mark(&mut partition, "refresh c", 2);
    assert!(release(&mut partition, &hash("refresh c"), &ATTEMPT));
    let marker = partition.refresh_tokens[0].spending.clone().unwrap();
    assert_eq!((marker.attempts, marker.outcome_unknown), (1, true));
    assert!(!release(&mut partition, &hash("refresh c"), &ATTEMPT));
}

#[test]
fn refusals_are_few_and_a_new_one_takes_the_place_of_the_old() {
    let mut partition = signed_in("c", None);
    let refusal = |request: u8| Refusal {
        request: Some([request; 16]),
        error: "interaction_required".into(),
        suberror: None,
        claims: None,
        refused_at: NOW,
    };
    for request in 0..20 {
        mark(&mut partition, "refresh c", 1);
        let spent = hash("refresh c");
        assert!(refused(
            &mut partition,
            &spent,
            Some(&ATTEMPT),
            refusal(request % 10)
        ));
    }
    let row = &partition.refresh_tokens[0];
    assert_eq!(row.refusals.len(), RefreshToken::MAX_REFUSALS);
    assert_eq!(row.refusals.last().unwrap().request, Some([9; 16]));
    assert_eq!(row.spending, None);
}

#[test]
fn only_tokens_that_can_serve_nobody_are_swept() {
    let token = |name: &str, expires: i64, extended: Option<i64>| AccessToken {
        expires_on: UnixSeconds(NOW.0 + expires),
        extended_expires_on: extended.map(|extended| UnixSeconds(NOW.0 + extended)),
        ..response("c", name, name, None).access_token_row().unwrap()
    };
    let mut partition = Partition::new(key());
    partition.access_tokens = vec![
        token("expired", 0, None),
        token("both expired", -9, Some(0)),
        token("outage", -9, Some(1)),
        token("good", 1, None),
    ];
    twice(&mut partition, |rows| sweep_expired(rows, NOW));
    assert_eq!(access_tokens(&partition), ["access outage", "access good"]);
}

#[test]
fn imported_clients_get_a_sign_in_each_and_keep_the_one_that_they_have() {
    let mut partition = signed_in("c", None);
    partition.refresh_tokens.push(RefreshToken {
        client_id: "imported".into(),
        ..partition.refresh_tokens[0].clone()
    });
    partition.id_tokens.push(IdToken {
        client_id: "with ID token".into(),
        ..partition.id_tokens[0].clone()
    });
    twice(&mut partition, |rows| {
        add_epochs(rows, |client| [client.len() as u8; 16])
    });
    let epochs: Vec<_> = partition
        .epochs
        .iter()
        .map(|row| (&*row.client_id, row.epoch[0]))
        .collect();
    assert_eq!(epochs, [("c", 1), ("imported", 8), ("with ID token", 13)]);
}

#[test]
fn an_applications_token_replaces_the_one_before_it() {
    let mut partition = Partition::new(PartitionKey::App {
        client_id: "c".into(),
        authority: AuthorityIdentity::of_host(AuthorityKind::Entra, HOST),
        tenant: "t".into(),
        resource: None,
        components: std::collections::BTreeMap::new(),
    });
    for tokens in ["1", "2"] {
        let mut reply = response("c", "api/.default", tokens, None);
        (reply.account, reply.refresh_token, reply.id_token) = (None, None, None);
        twice(&mut partition, |rows| app_token(rows, &reply, NOW));
    }
    assert_eq!(access_tokens(&partition), ["access 2"]);
    assert!(partition.accounts.is_empty() && partition.refresh_tokens.is_empty());
}
