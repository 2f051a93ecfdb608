//! Which rows a reply replaces by its scopes, and that it is found again when it granted fewer than asked.

use super::*;
use crate::codec::{BincodeCodec, Codec, MsalJsonCodec};
use crate::schema::TokenRequest;
use crate::schema::index::IndexedPartition;

fn fewer(requested: &str, granted: &str) -> TokenResponse {
    TokenResponse {
        requested_scopes: ScopeSet::parse(requested),
        ..response("c", granted, granted, None)
    }
}

fn finds(partition: &Partition, scopes: &str) -> bool {
    let scopes = ScopeSet::parse(scopes);
    let request = TokenRequest::new(key(), AuthorityKind::Entra, "c", HOST, "t", scopes);
    IndexedPartition::new(partition.clone())
        .unwrap()
        .find(&request, |_| true)
        .is_some()
}

#[test]
fn tokens_of_two_resources_stay_although_both_grant_email() {
    let mut partition = Partition::new(key());
    for scopes in ["api://x/read email openid", "User.Read email openid"] {
        sign_in(&mut partition, &response("c", scopes, scopes, None), [1; 16], NOW);
    }
    assert_eq!(partition.access_tokens.len(), 2);
}

#[test]
fn the_same_request_is_answered_although_less_was_granted_and_none_else_is() {
    let mut partition = Partition::new(key());
    sign_in(&mut partition, &fewer("a b openid", "a"), [1; 16], NOW);
    for codec in [&BincodeCodec as &dyn Codec, &MsalJsonCodec] {
        let bytes = codec.encode(&partition).unwrap();
        let partition = codec.decode(bytes.expose(), codec.schema_version()).unwrap();
        assert!(finds(&partition, "a b") && finds(&partition, "B A profile") && finds(&partition, "a"));
        assert!(!finds(&partition, "b") && !finds(&partition, "a b c"));
        assert_eq!(partition.access_tokens[0].target.as_str(), "a");
    }
    sign_in(&mut partition, &fewer("a c", "a c"), [1; 16], NOW);
    assert_eq!(partition.access_tokens.len(), 1);
    assert!(
        !finds(&partition, "a b"),
        "what was asked for the last token is not said of this one"
    );
}
