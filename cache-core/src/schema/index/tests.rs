use proptest::prelude::*;

use super::*;
use crate::codec::{BincodeCodec, Codec};
use crate::schema::{AccessToken, ScopeRules, ScopeSet, TokenRequest, environment};
use crate::schema::{AuthorityIdentity, AuthorityKind, PartitionKey, SessionLink, TokenContext, TokenType};
use crate::secret::Secret;

const HOSTS: [&str; 6] = [
    "login.microsoftonline.com",
    "login.windows.net",
    "login.microsoftonline.us",
    "127.0.0.1:8443",
    "127.0.0.1:8444",
    "127.0.0.1",
];
const NOW: UnixSeconds = UnixSeconds(1_000_000);

fn key() -> PartitionKey {
    PartitionKey::User {
        authority: AuthorityIdentity::of_issuer("https://issuer.example"),
        home_account_id: "u".into(),
    }
}

fn token_type() -> impl Strategy<Value = TokenType> {
    let bound = |scheme: &'static str, key_id: &'static str| {
        Just(TokenType::Bound {
            scheme: scheme.into(),
            key_id: key_id.into(),
        })
    };
    prop_oneof![
        4 => Just(TokenType::Bearer),
        1 => bound("pop", "k1"),
        1 => bound("pop", "k2"),
        1 => bound("DPoP", "k1"),
    ]
}

fn context() -> impl Strategy<Value = TokenContext> {
    let some = |options: &'static [Option<&'static str>]| {
        prop::sample::select(options).prop_map(|text| text.map(Into::into))
    };
    let components = prop::sample::select(&[None, Some(("a", "1")), Some(("a", "2")), Some(("b", "1"))][..]);
    (
        some(&[None, None, Some("r1"), Some("r2")]),
        prop::bool::weighted(0.2),
        some(&[None, None, None, Some("h1"), Some("h2")]),
        components,
    )
        .prop_map(|(resource, cae, assertion_hash, component)| TokenContext {
            resource,
            continuous_access_evaluation: cae,
            assertion_hash,
            components: component
                .map(|(name, value)| (name.into(), value.into()))
                .into_iter()
                .collect(),
        })
}

prop_compose! {
    fn token()(
        host in prop::sample::select(&HOSTS[..]),
        client in prop::sample::select(&["c1", "c2", "C1"][..]),
        realm in prop::sample::select(&["t1", "t2", ""][..]),
        scopes in prop::collection::vec(prop::sample::select(&["a", "A", "b", "c", "openid"][..]), 0..4),
        token_type in token_type(),
        context in context(),
        lifetime in 1_i64..4000,
        age in -600_i64..4000,
    ) -> AccessToken {
        AccessToken {
            home_account_id: "u".into(),
            environment: host.into(),
            client_id: client.into(),
            realm: realm.into(),
            target: ScopeSet::of(scopes),
            token_type,
            secret: Secret::new("t".to_owned()),
            cached_at: UnixSeconds(NOW.0 - age),
            expires_on: UnixSeconds(NOW.0 - age + lifetime),
            extended_expires_on: None,
            refresh_on: None,
            context,
            foreign: None,
        }
    }
}

fn request_for(token: &AccessToken, kind: AuthorityKind) -> TokenRequest {
    TokenRequest::new(
        key(),
        kind,
        token.client_id.clone(),
        token.environment.clone(),
        token.realm.clone(),
        token.target.clone(),
    )
    .token_type(token.token_type.clone())
    .context(token.context.clone())
}

/// The rules of a lookup in words, without index, hash or mask.
fn matches(token: &AccessToken, request: &TokenRequest) -> bool {
    const RESERVED: [&str; 3] = ["openid", "profile", "offline_access"];
    let words = |set: &ScopeSet| -> Vec<String> {
        let all = set.as_str().split_whitespace().map(str::to_owned);
        all.filter(|word| !RESERVED.contains(&word.as_str())).collect()
    };
    let granted = words(&token.target);
    let is_granted = |word: &String| match request.authority_kind() {
        AuthorityKind::Oidc => granted.contains(word),
        _ => granted.iter().any(|granted| granted.eq_ignore_ascii_case(word)),
    };
    let public = ["login.microsoftonline.com", "login.windows.net"];
    let (one, two) = (token.environment.as_str(), request.environment());
    let loopback = |host: &str| host.starts_with("127.0.0.1");
    let same_environment = one == two
        || (public.contains(&one) && public.contains(&two))
        || (loopback(one) && loopback(two) && (one == "127.0.0.1" || two == "127.0.0.1"));
    same_environment
        && token.client_id == request.client_id()
        && token.realm == request.realm()
        && token.token_type == *request.requested_token_type()
        && token.context == *request.requested_context()
        && words(request.scopes()).iter().all(is_granted)
}

fn many_scopes() -> impl Strategy<Value = ScopeSet> {
    const SCOPES: &[&str] = &[
        "a",
        "A",
        "b",
        "email",
        "openid",
        "https://graph.microsoft.com/a",
        "https://graph.microsoft.com/A",
        "00000003-0000-0000-c000-000000000000/b",
        "https://graph.microsoft.com//a",
        "api://x/a",
        "api://x/.default",
        "https://y//.default",
    ];
    prop::collection::vec(prop::sample::select(SCOPES), 0..4).prop_map(ScopeSet::of)
}

/// The rules of a lookup over all tokens, one after the other.
fn looked_through(tokens: &[AccessToken], request: &TokenRequest) -> Option<u32> {
    let kind = request.authority_kind();
    let serves = |token: &AccessToken| {
        let again = token.requested_scopes().is_some_and(|requested| {
            ScopeSet::parse(requested).is_same_set(request.scopes(), kind.scopes_ignore_case())
        });
        token.client_id == request.client_id()
            && token.realm == request.realm()
            && token.token_type == *request.requested_token_type()
            && token.context == *request.requested_context()
            && environment::same(&token.environment, request.environment())
            && (ScopeRules::of(kind, &token.environment).serve(&token.target, request.scopes()) || again)
            && is_unexpired(token, NOW)
    };
    let is_exact = |token: &AccessToken| {
        token
            .target
            .is_same_set(request.scopes(), kind.scopes_ignore_case())
    };
    let serving = (0..).zip(tokens).filter(|(_, token)| serves(token));
    serving
        .max_by_key(|(_, token)| (is_exact(token), token.expires_on))
        .map(|(index, _)| index)
}

fn is_valid(token: &AccessToken) -> bool {
    let margin = 300.min((token.expires_on.0 - token.cached_at.0) / 10);
    token.expires_on.0 > NOW.0 + margin && token.cached_at.0 <= NOW.0 + 300
}

fn token_for(scopes: &str, lifetime: i64) -> AccessToken {
    AccessToken {
        home_account_id: "u".into(),
        environment: HOSTS[0].into(),
        client_id: "c1".into(),
        realm: "t1".into(),
        target: ScopeSet::parse(scopes),
        token_type: TokenType::Bearer,
        secret: Secret::new("t".to_owned()),
        cached_at: NOW,
        expires_on: UnixSeconds(NOW.0 + lifetime),
        extended_expires_on: None,
        refresh_on: None,
        context: TokenContext::default(),
        foreign: None,
    }
}

/// Scopes of a generic issuer are words, whose case is part of them (RFC 6749 section 3.3).
#[test]
fn two_cases_of_a_scope_are_one_only_where_case_does_not_matter() {
    let mut partition = Partition::new(key());
    partition.access_tokens = vec![token_for("a", 1000), token_for("a A", 2000)];
    let indexed = IndexedPartition::new(partition).unwrap();
    let found = |scopes: &str, kind: AuthorityKind| {
        let request = request_for(&token_for(scopes, 0), kind);
        let found = indexed.find(&request, |token| is_fresh(token, NOW));
        found.map(|index| indexed.token(index).target.as_str())
    };
    assert_eq!(found("a", AuthorityKind::Oidc), Some("a"));
    assert_eq!(found("A", AuthorityKind::Oidc), Some("a A"));
    assert_eq!(found("a A", AuthorityKind::Oidc), Some("a A"));
    // Here they are the same set, of which the one that lives longest serves.
    for scopes in ["a", "A", "A a"] {
        assert_eq!(found(scopes, AuthorityKind::Entra), Some("a A"), "{scopes}");
    }
}

/// Where a walk ends and an index begins, and around it.
#[test]
fn partitions_of_every_size_find_what_a_scan_finds() {
    let scopes = |resource: usize| {
        let base = match resource {
            0 => "https://graph.microsoft.com".to_owned(),
            _ => format!("api://app-{resource}"),
        };
        ["Files.Read", "Mail.Read", "User.Read"].map(|name| format!("{base}/{name}"))
    };
    for size in 1..=40 {
        let tokens: Vec<_> = (0..size)
            // Every seventh is another of the same scopes, for another tenant.
            .map(|number| AccessToken {
                realm: if number % 7 == 6 { "t2" } else { "t1" }.into(),
                ..token_for(&scopes(number - usize::from(number % 7 == 6)).join(" "), 1000)
            })
            .collect();
        let mut partition = Partition::new(key());
        partition.access_tokens = tokens.clone();
        let indexed = IndexedPartition::new(partition).unwrap();
        for kind in [AuthorityKind::Entra, AuthorityKind::Oidc] {
            for number in 0..=size {
                let [files, mail, user] = scopes(number);
                let exact = format!("{user} {files} {mail}");
                let fewer = format!("{mail} openid");
                let more = format!("{mail} {user} api://app-1/Other");
                for (asked, realm) in [&exact, &fewer, &more].into_iter().zip(["t1", "t2", "t1"]) {
                    let asked = AccessToken {
                        realm: realm.into(),
                        ..token_for(asked, 0)
                    };
                    for asked in [
                        AccessToken {
                            realm: "t1".into(),
                            ..asked.clone()
                        },
                        asked,
                    ] {
                        let request = request_for(&asked, kind);
                        let found = indexed.find(&request, |token| is_unexpired(token, NOW));
                        assert_eq!(
                            found,
                            looked_through(&tokens, &request),
                            "{request:?} among {size}"
                        );
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// 4,096 partitions, some 100,000 pairs of a request and a token.
    #[test]
    fn a_lookup_finds_what_a_scan_finds_and_never_anything_else(
        tokens in prop::collection::vec(token(), 0..24),
        asked in prop::collection::vec(token(), 1..4),
        entra in any::<bool>(),
    ) {
        let mut partition = Partition::new(key());
        partition.access_tokens = tokens;
        let indexed = IndexedPartition::new(partition).unwrap();
        let kind = if entra { AuthorityKind::Entra } else { AuthorityKind::Oidc };
        let rows = &indexed.rows().access_tokens;
        for asked in asked.iter().chain(rows.first()) {
            let request = request_for(asked, kind);
            let serving: Vec<_> = rows
                .iter()
                .filter(|token| matches(token, &request) && is_valid(token))
                .collect();
            match indexed.find(&request, |token| is_fresh(token, NOW)) {
                None => prop_assert!(serving.is_empty(), "missed {:?}", serving),
                Some(found) => {
                    let found = &rows[found as usize];
                    prop_assert!(serving.iter().any(|token| std::ptr::eq(*token, found)), "wrong hit");
                    let exact = |token: &&&AccessToken| token.target.is_same_set(request.scopes(), entra);
                    let best = serving.iter().filter(exact).map(|token| token.expires_on).max();
                    let best = best.or_else(|| serving.iter().map(|token| token.expires_on).max());
                    prop_assert_eq!(Some(found.expires_on), best);
                }
            }
        }
    }

    /// Requests that may share an answer have one hash; all others have different ones.
    #[test]
    fn requests_share_a_hash_exactly_when_they_ask_for_the_same(one in token(), two in token(), entra in any::<bool>()) {
        let kind = if entra { AuthorityKind::Entra } else { AuthorityKind::Oidc };
        let sorted = |set: &ScopeSet| -> Vec<String> {
            let words = set.words().map(|word| if entra { word.to_ascii_lowercase() } else { word.to_owned() });
            words.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
        };
        let same = one.client_id == two.client_id
            && one.realm == two.realm
            && one.token_type == two.token_type
            && one.context == two.context
            && sorted(&one.target) == sorted(&two.target);
        let (one, two) = (request_for(&one, kind), request_for(&two, kind));
        prop_assert_eq!(one.hash() == two.hash(), same);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Also among more tokens than are looked through, with every form of scope and with tokens that less was granted for.
    #[test]
    fn an_index_of_many_tokens_gives_what_looking_through_them_gives(
        mut tokens in prop::collection::vec(token(), 1..90),
        scopes in prop::collection::vec(many_scopes(), 90),
        less in prop::collection::vec(prop::option::weighted(0.1, many_scopes()), 90),
        asked in prop::collection::vec((0..90_usize, many_scopes()), 1..8),
        kind in prop::sample::select(&[AuthorityKind::Entra, AuthorityKind::Oidc, AuthorityKind::B2c][..]),
    ) {
        for ((token, scopes), less) in tokens.iter_mut().zip(scopes).zip(less) {
            token.target = scopes;
            // Else hardly two would meet.
            (token.token_type, token.context) = (TokenType::Bearer, TokenContext::default());
            if token.client_id != "c2" {
                (token.environment, token.realm) = (HOSTS[0].into(), "t1".into());
            }
            if let Some(less) = less {
                token.note_requested(&less);
            }
        }
        let mut partition = Partition::new(key());
        partition.access_tokens = tokens.clone();
        partition.sessions = vec![SessionLink { key: b"session".to_vec(), expires_at: UnixMillis(1) }];
        let indexed = IndexedPartition::new(partition.clone()).unwrap();
        prop_assert!(indexed.rows() == partition);
        // As it is for one lookup.
        let codec = BincodeCodec;
        let encoded = codec.encode(&partition).unwrap();
        let whole = IndexedPartition::of_record_whole(encoded, codec.schema_version(), &key().to_bytes());
        let whole = whole.unwrap().unwrap();
        prop_assert!(whole.rows() == partition);
        prop_assert!(whole.rows_without_tokens() == indexed.rows_without_tokens());
        prop_assert!(whole.key() == key() && whole.sessions().eq(indexed.sessions()));
        for (number, scopes) in asked {
            let mut asked = tokens[number % tokens.len()].clone();
            asked.target = if number % 2 == 0 { scopes } else { asked.target };
            let request = request_for(&asked, kind);
            let found = indexed.find(&request, |token| is_unexpired(token, NOW));
            prop_assert_eq!(found, looked_through(&tokens, &request), "{:?} in {:?}", request, tokens);
            prop_assert_eq!(whole.find(&request, |token| is_unexpired(token, NOW)), found);
        }
    }
}
