use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::schema::{AuthorityIdentity, ScopeSet};

const SCOPES: [&str; 2] = ["https://graph.example/Mail.Read", "offline"];

struct Scene {
    authority: AuthorityIdentity,
    token_type: TokenType,
    context: TokenContext,
    components: BTreeMap<String, String>,
}

impl Scene {
    fn new() -> Self {
        Self {
            authority: AuthorityIdentity::of_issuer("https://issuer.example"),
            token_type: TokenType::Bearer,
            context: TokenContext::default(),
            components: BTreeMap::new(),
        }
    }

    fn user<'a>(&'a self, home_account_id: &'a str) -> Lookup<'a> {
        Lookup {
            partition: PartitionRef::User {
                authority: &self.authority,
                home_account_id,
            },
            kind: AuthorityKind::Oidc,
            client_id: "a client whose name takes more than sixteen bytes",
            environment: "issuer.example",
            realm: "realm",
            scopes: &SCOPES,
            token_type: &self.token_type,
            context: &self.context,
        }
    }

    fn app<'a>(&'a self, tenant: &'a str, realm: &'a str) -> Lookup<'a> {
        Lookup {
            partition: PartitionRef::App {
                client_id: "client",
                authority: &self.authority,
                tenant,
                resource: None,
                components: &self.components,
            },
            realm,
            ..self.user("")
        }
    }
}

fn kept(lookup: &Lookup<'_>) -> (KeptHolder, Arc<KeptQuery>) {
    let arguments = Arguments::of_lookup(lookup);
    let (query, _) = KeptQueries::default().keep(&arguments).unwrap();
    (KeptHolder::new(&arguments), query)
}

fn is_kept_of((holder, query): &(KeptHolder, Arc<KeptQuery>), lookup: &Lookup<'_>) -> bool {
    let arguments = Arguments::of_lookup(lookup);
    holder.is_of(&arguments) && query.is_of(&arguments)
}

#[test]
fn a_lookup_and_a_request_of_the_same_are_the_same_arguments() {
    let scene = Scene::new();
    let lookup = scene.user("alice");
    let request = TokenRequest::new(
        crate::schema::PartitionKey::User {
            authority: scene.authority.clone(),
            home_account_id: "alice".into(),
        },
        lookup.kind,
        lookup.client_id,
        lookup.environment,
        lookup.realm,
        ScopeSet::parse(&SCOPES.join(" ")),
    );
    let of_request = Arguments::of_request(&request).unwrap();
    assert_eq!(request.arguments_hash(), Arguments::of_lookup(&lookup).hash());
    assert!(is_kept_of(
        &(
            KeptHolder::new(&of_request),
            KeptQueries::default().keep(&of_request).unwrap().0
        ),
        &lookup
    ));
}

/// Every byte of every text tells arguments apart, wherever it is and however long the text.
#[test]
fn each_byte_of_each_text_counts() {
    let scene = Scene::new();
    for length in 1..=80 {
        let text = "x".repeat(length);
        for place in 0..length {
            let mut other = text.clone();
            other.replace_range(place..=place, "y");
            let (one, two) = ([text.as_str()], [other.as_str()]);
            let lookup = scene.user(&text);
            let pairs = [
                (lookup, scene.user(&other)),
                (
                    Lookup {
                        client_id: &text,
                        ..lookup
                    },
                    Lookup {
                        client_id: &other,
                        ..lookup
                    },
                ),
                (
                    Lookup {
                        environment: &text,
                        ..lookup
                    },
                    Lookup {
                        environment: &other,
                        ..lookup
                    },
                ),
                (
                    Lookup {
                        realm: "r",
                        scopes: &one,
                        ..lookup
                    },
                    Lookup {
                        realm: "r",
                        scopes: &two,
                        ..lookup
                    },
                ),
                (
                    Lookup {
                        realm: &other,
                        ..lookup
                    },
                    Lookup { realm: "r", ..lookup },
                ),
            ];
            for (mine, theirs) in pairs {
                let kept = kept(&mine);
                assert!(is_kept_of(&kept, &mine), "{length} {place}");
                assert!(!is_kept_of(&kept, &theirs), "{length} {place}");
            }
        }
    }
}

#[test]
fn holders_and_scopes_are_hashed_whole() {
    let scene = Scene::new();
    let mut hashes = std::collections::HashSet::new();
    for length in [7, 15, 16, 17, 31, 32, 33, 48, 49, 64, 73] {
        for place in 0..length {
            let mut text = "x".repeat(length);
            text.replace_range(place..=place, "y");
            hashes.insert(Arguments::of_lookup(&scene.user(&text)).hash());
            let scopes = [text.as_str()];
            let lookup = Lookup {
                scopes: &scopes,
                ..scene.user("alice")
            };
            hashes.insert(Arguments::of_lookup(&lookup).hash());
        }
    }
    assert_eq!(
        hashes.len(),
        2 * (7 + 15 + 16 + 17 + 31 + 32 + 33 + 48 + 49 + 64 + 73)
    );
}

/// One bucket has room for twelve with the same hash.
#[test]
fn components_are_hashed_too() {
    let mut scene = Scene::new();
    let mut hashes = std::collections::HashSet::new();
    for number in 0..100 {
        scene.components = [("instance".to_owned(), format!("{number}"))].into();
        hashes.insert(Arguments::of_lookup(&scene.app("contoso", "")).hash());
        scene.components.clear();
        scene.context.components = [("instance".to_owned(), format!("{number}"))].into();
        hashes.insert(Arguments::of_lookup(&scene.user("alice")).hash());
        scene.context.components.clear();
    }
    assert_eq!(hashes.len(), 200);
}

/// A realm that is left out because it is the tenant must not be one that is empty.
#[test]
fn tenants_share_a_query_and_are_told_from_those_without_a_realm() {
    let scene = Scene::new();
    let queries = KeptQueries::default();
    let keep = |lookup: &Lookup<'_>| queries.keep(&Arguments::of_lookup(lookup)).unwrap();
    let (first, first_bytes) = keep(&scene.app("contoso", "contoso"));
    let (second, second_bytes) = keep(&scene.app("fabrikam", "fabrikam"));
    assert!(Arc::ptr_eq(&first, &second));
    assert!(first_bytes > 0 && second_bytes == 0);
    for (tenant, realm) in [
        ("contoso", ""),
        ("contoso", "fabrikam"),
        ("fabrikam", "contoso"),
        ("", ""),
    ] {
        let is_it = is_kept_of(&kept(&scene.app("contoso", "contoso")), &scene.app(tenant, realm));
        assert!(!is_it, "{tenant:?} {realm:?}");
    }
}

#[test]
fn a_query_that_no_answer_has_any_more_is_kept_anew_and_the_rest_is_pruned() {
    let scene = Scene::new();
    let queries = KeptQueries::default();
    for number in 0..1000 {
        let scope = format!("scope-{number}");
        let scopes = [scope.as_str()];
        let lookup = Lookup {
            scopes: &scopes,
            ..scene.user("alice")
        };
        let (query, bytes) = queries.keep(&Arguments::of_lookup(&lookup)).unwrap();
        assert!(bytes > 0);
        drop(query);
    }
    assert!(queries.len() <= 64);
}

#[test]
fn a_thread_knows_a_query_byte_for_byte_or_not_at_all() {
    let scene = Scene::new();
    let known = |lookup: &Lookup<'_>| {
        let arguments = Arguments::of_lookup(lookup);
        let (lately, hash) = arguments.look_up_lately();
        assert_eq!(hash, arguments.hash(), "of what is known as of what is asked");
        let is_known = lately.query().is_some();
        lately.put_back();
        is_known
    };
    let lookup = scene.user("alice");
    assert!(!known(&lookup));
    let (_, query) = kept(&lookup);
    Arguments::of_lookup(&lookup).know(&query);
    assert!(known(&lookup));
    assert!(known(&scene.user("bob")), "whoever asks the same");
    // In the same place, with another realm or environment.
    assert!(!known(&Lookup {
        realm: "other",
        ..lookup
    }));
    assert!(!known(&Lookup {
        environment: "issuer.examplf",
        ..lookup
    }));
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(!known(&lookup)));
    });
}
