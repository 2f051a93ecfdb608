use proptest::prelude::*;

use super::*;

const PUBLIC: &str = "login.microsoftonline.com";
const GUID: &str = "11111111-2222-3333-4444-555555555555";

fn entra() -> ScopeRules {
    ScopeRules::of(AuthorityKind::Entra, PUBLIC)
}

fn serve(cached: &str, requested: &str) -> bool {
    entra().serve(&ScopeSet::parse(cached), &ScopeSet::parse(requested))
}

fn granted(requested: &str, replied: &str) -> String {
    let granted = entra().granted(&ScopeSet::parse(requested), &ScopeSet::parse(replied));
    granted.as_str().to_owned()
}

#[test]
fn graphs_short_and_long_forms_are_one_scope() {
    for (cached, requested) in [
        ("User.Read", "https://graph.microsoft.com/User.Read"),
        ("https://graph.microsoft.com/User.Read", "user.read"),
        ("HTTPS://Graph.microsoft.com/User.Read", "User.Read"),
        ("00000003-0000-0000-c000-000000000000/User.Read", "User.Read"),
        (".default", "https://graph.microsoft.com/.default"),
        (
            "https://graph.microsoft.com/A B openid",
            "A https://graph.microsoft.com/B",
        ),
    ] {
        assert!(serve(cached, requested), "{cached} / {requested}");
    }
}

#[test]
fn each_cloud_has_its_own_graph() {
    for (host, resource) in [
        ("login.windows.net", "https://graph.microsoft.com"),
        ("127.0.0.1:8443", "https://graph.microsoft.com"),
        ("login.usgovcloudapi.net", "https://graph.microsoft.us"),
        (
            "login.chinacloudapi.cn",
            "https://microsoftgraph.chinacloudapi.cn",
        ),
        ("login.microsoftonline.de", "https://graph.microsoft.de"),
    ] {
        let rules = ScopeRules::of(AuthorityKind::Entra, host);
        let serve = |resource: &str| {
            let long = ScopeSet::parse(&format!("{resource}/User.Read"));
            rules.serve(&ScopeSet::parse("User.Read"), &long)
        };
        assert!(serve(resource), "{host}");
        for (_, other) in GRAPH.iter().filter(|(_, other)| *other != resource) {
            assert!(!serve(other), "{host} {other}");
        }
    }
    let unknown = ScopeRules::of(AuthorityKind::Entra, "login.example");
    assert!(!unknown.serve(
        &ScopeSet::parse("User.Read"),
        &ScopeSet::parse("https://graph.microsoft.com/User.Read")
    ));
    for kind in [AuthorityKind::B2c, AuthorityKind::Adfs, AuthorityKind::Oidc] {
        assert!(!ScopeRules::of(kind, PUBLIC).serve(
            &ScopeSet::parse("User.Read"),
            &ScopeSet::parse("https://graph.microsoft.com/User.Read")
        ));
    }
}

#[test]
fn another_resource_is_never_served() {
    for (cached, requested) in [
        ("https://a/.default", "https://b/.default"),
        ("https://x/.default", "https://x//.default"),
        ("https://x//.default", "https://x/.default"),
        ("User.Read", "api://x/User.Read"),
        ("api://x/User.Read", "User.Read"),
        ("https://graph.microsoft.com//User.Read", "User.Read"),
        ("https://graph.microsoft.com.evil/User.Read", "User.Read"),
        ("api://x/read email openid profile", "openid"),
        ("api://x/read email openid profile", "email"),
        ("api://x/read openid", ""),
    ] {
        assert!(!serve(cached, requested), "{cached} / {requested}");
    }
    assert!(serve("User.Read email openid", "openid email"));
}

#[test]
fn a_reply_in_another_form_still_answers_the_same_request() {
    for (requested, replied) in [
        (
            "https://graph.microsoft.com/.default",
            "User.Read Mail.Read openid profile email",
        ),
        ("https://graph.microsoft.com/User.Read", "User.Read"),
        ("User.Read", "https://graph.microsoft.com/User.Read"),
        (
            &format!("{GUID}/.default"),
            &format!("api://{GUID}/read api://{GUID}/write"),
        ),
        (&format!("{GUID}/read"), &format!("api://{GUID}/read")),
        (&format!("api://{GUID}/read"), &format!("{GUID}/read")),
        ("https://x//.default", "https://x/user_impersonation"),
        ("https://x//.default", "https://x//user_impersonation"),
        ("https://x//read", "https://x/read"),
        ("api://x/read", "read"),
        ("api://x/.default openid", ""),
    ] {
        let granted = granted(requested, replied);
        assert!(serve(&granted, requested), "{requested}: {granted}");
    }
}

#[test]
fn a_reply_cannot_lend_a_token_to_another_resource() {
    assert_eq!(
        granted("api://x/.default", "User.Read"),
        "api://x/User.Read api://x/.default"
    );
    assert_eq!(
        granted(
            "api://x/.default openid",
            "api://y/read https://graph.microsoft.com/A openid"
        ),
        "openid api://x/.default"
    );
    assert_eq!(
        granted("User.Read", "User.Read api://x/read email"),
        "User.Read email"
    );
    assert_eq!(
        granted("openid", "openid profile User.Read"),
        "openid profile User.Read"
    );
}

#[test]
fn what_was_not_granted_is_not_added() {
    assert_eq!(granted("User.Read Mail.Send", "User.Read"), "User.Read");
    let b2c = ScopeRules::of(AuthorityKind::B2c, "contoso.b2clogin.com");
    let tenant = "https://contoso.onmicrosoft.com/api";
    let replied = ScopeSet::parse(&format!("{tenant}/read"));
    assert_eq!(
        b2c.granted(
            &ScopeSet::parse(&format!("{tenant}/read {tenant}/write")),
            &replied
        ),
        replied
    );
    // What the reply says of another resource would have this token served for it.
    for kind in [AuthorityKind::B2c, AuthorityKind::Adfs] {
        let asked = ScopeSet::parse(&format!("{tenant}/read"));
        let lenient = format!("openid user_impersonation {tenant}/read {tenant}2/admin");
        let granted = ScopeRules::of(kind, "login.contoso.com").granted(&asked, &ScopeSet::parse(&lenient));
        assert_eq!(
            granted.as_str(),
            format!("openid user_impersonation {tenant}/read")
        );
    }
    let oidc = ScopeRules::of(AuthorityKind::Oidc, "id.example");
    let replied = ScopeSet::parse("a");
    assert_eq!(
        oidc.granted(&ScopeSet::parse("https://x/.default b"), &replied),
        replied
    );
}

/// The audience that a token for these scopes has, by the public cloud's rules, told without the code under test.
fn audience(scope: &str) -> String {
    let lower = scope.to_ascii_lowercase();
    let graph = [
        "https://graph.microsoft.com",
        "00000003-0000-0000-c000-000000000000",
        "",
    ];
    let (resource, _) = lower.rsplit_once('/').unwrap_or(("", &lower));
    if graph.contains(&resource) {
        "graph".to_owned()
    } else {
        resource.to_owned()
    }
}

fn scope() -> impl Strategy<Value = String> {
    let resources = prop::sample::select(
        &[
            "",
            "https://graph.microsoft.com/",
            "00000003-0000-0000-c000-000000000000/",
            "https://graph.microsoft.us/",
            "https://a/",
            "https://a//",
            "https://b/",
            "api://x/",
            "11111111-2222-3333-4444-555555555555/",
            "api://11111111-2222-3333-4444-555555555555/",
        ][..],
    );
    (
        resources,
        prop::sample::select(&["read", "Read", "write", ".default"][..]),
    )
        .prop_map(|(resource, name)| format!("{resource}{name}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Whatever an authority replies, the row of a request for one resource serves no other resource's request.
    #[test]
    fn no_reply_makes_a_token_serve_another_resource(
        first in scope(), more in prop::collection::vec("[rw][a-z]{3}", 0..2),
        replied in prop::collection::vec(prop_oneof![scope(), Just("openid".to_owned()), Just("email".to_owned())], 0..5),
        asked in scope(),
    ) {
        let resource = first.rsplit_once('/').map_or(String::new(), |(resource, _)| format!("{resource}/"));
        let requested = ScopeSet::of(std::iter::once(first.clone()).chain(more.iter().map(|name| format!("{resource}{name}"))));
        let row = entra().granted(&requested, &ScopeSet::of(&replied));
        if entra().serve(&row, &ScopeSet::parse(&asked)) {
            prop_assert_eq!(audience(&asked), audience(&first), "{} serves {}, requested {}", row, asked, requested);
        }
    }

    /// A granted request is answered from the row that its own reply made.
    #[test]
    fn a_full_reply_in_any_form_of_the_resource_is_found_again(name in "[a-z]{2,5}", form in 0..4_usize, other in 0..4_usize) {
        let forms = ["", "https://graph.microsoft.com/", "00000003-0000-0000-c000-000000000000/", "HTTPS://GRAPH.microsoft.com/"];
        let requested = ScopeSet::of([format!("{}{name}", forms[form])]);
        let row = entra().granted(&requested, &ScopeSet::of([format!("{}{name}", forms[other]), "openid".to_owned()]));
        prop_assert!(entra().serve(&row, &requested));
    }
}
