//! Signing out.

use super::*;

fn link(client: &str) -> SessionLink {
    let session = PartitionKey::Session {
        client_id: client.into(),
        authority: AuthorityIdentity::of_host(AuthorityKind::Entra, HOST),
        key: SessionKey::CallerKey("k".into()),
    };
    SessionLink {
        key: session.to_bytes(),
        expires_at: UnixMillis(i64::MAX),
    }
}

#[test]
fn signing_out_takes_the_clients_rows_and_sessions_and_no_others() {
    let mut partition = signed_in("c", None);
    sign_in(&mut partition, &response("d", "a", "d", None), [2; 16], NOW);
    partition.sessions = vec![link("c"), link("d")];
    twice(&mut partition, |rows| sign_out(rows, "c", SignOutScope::Client));
    let mut only_d = Partition::new(key());
    sign_in(&mut only_d, &response("d", "a", "d", None), [2; 16], NOW);
    only_d.sessions = vec![link("d")];
    assert_eq!(partition, only_d);
    twice(&mut partition, |rows| sign_out(rows, "d", SignOutScope::Client));
    assert!(partition.is_empty());
}

#[test]
fn a_member_that_signs_out_leaves_the_familys_token_and_no_longer_uses_it() {
    let mut partition = signed_in("c", Some("1"));
    sign_in(&mut partition, &response("d", "a", "d", Some("1")), [2; 16], NOW);
    sign_in(&mut partition, &response("c", "a", "c", Some("1")), [2; 16], NOW);
    twice(&mut partition, |rows| sign_out(rows, "c", SignOutScope::Client));
    assert_eq!(refresh_tokens(&partition), ["refresh c"]);
    assert_eq!(
        partition.refresh_tokens[0].client_id, "d",
        "it is left to a member"
    );
    let known = partition
        .app_metadata
        .iter()
        .find(|row| row.client_id == "c")
        .unwrap();
    assert_eq!(known.family_id.as_deref(), Some(""));
    twice(&mut partition, |rows| sign_out(rows, "d", SignOutScope::Client));
    assert!(partition.is_empty(), "the last member takes it along");
}

#[test]
fn a_client_that_nobody_knows_to_be_a_member_does_not_use_the_familys_token_after_its_sign_out() {
    let mut partition = signed_in("member", Some("1"));
    let unknown = response("c", "a", "c", None);
    partition.access_tokens.extend(unknown.access_token_row());
    twice(&mut partition, |rows| sign_out(rows, "c", SignOutScope::Client));
    let known = partition
        .app_metadata
        .iter()
        .find(|row| row.client_id == "c")
        .unwrap();
    assert_eq!(known.family_id.as_deref(), Some(""));
    assert_eq!(refresh_tokens(&partition), ["refresh member"]);
}

#[test]
fn signing_the_family_out_takes_its_token_and_leaves_others_what_they_have() {
    let mut partition = signed_in("c", Some("1"));
    sign_in(&mut partition, &response("d", "a", "d", Some("1")), [2; 16], NOW);
    sign_in(
        &mut partition,
        &response("stranger", "a", "s", None),
        [3; 16],
        NOW,
    );
    twice(&mut partition, |rows| sign_out(rows, "c", SignOutScope::Family));
    assert_eq!(refresh_tokens(&partition), ["refresh s"]);
    assert_eq!(access_tokens(&partition), ["access d", "access s"]);
}
