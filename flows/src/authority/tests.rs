use super::*;

const GUID: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

#[test]
fn the_kind_is_told_from_the_url() {
    for (url, kind, tenant, environment) in [
        (
            "https://login.microsoftonline.com/common",
            AuthorityKind::Entra,
            "common",
            "login.microsoftonline.com",
        ),
        (
            "https://LOGIN.microsoftonline.com/Contoso.com/",
            AuthorityKind::Entra,
            "contoso.com",
            "login.microsoftonline.com",
        ),
        (
            "https://login.microsoftonline.us/organizations/v2.0",
            AuthorityKind::Entra,
            "organizations",
            "login.microsoftonline.us",
        ),
        (
            "https://127.0.0.1:8443/72f988bf-86f1-41af-91ab-2d7cd011db47",
            AuthorityKind::Entra,
            GUID,
            "127.0.0.1:8443",
        ),
        (
            "https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_susi",
            AuthorityKind::B2c,
            "contoso.onmicrosoft.com",
            "contoso.b2clogin.com",
        ),
        (
            "https://login.contoso.com/tfp/contoso.onmicrosoft.com/b2c_1_susi",
            AuthorityKind::B2c,
            "contoso.onmicrosoft.com",
            "login.contoso.com",
        ),
        (
            "https://contoso.ciamlogin.com",
            AuthorityKind::Ciam,
            "contoso.onmicrosoft.com",
            "contoso.ciamlogin.com",
        ),
        (
            "https://contoso.ciamlogin.com/72f988bf-86f1-41af-91ab-2d7cd011db47",
            AuthorityKind::Ciam,
            GUID,
            "contoso.ciamlogin.com",
        ),
        (
            "https://fs.contoso.com/adfs/",
            AuthorityKind::Adfs,
            "adfs",
            "fs.contoso.com",
        ),
        (
            "https://accounts.example.com",
            AuthorityKind::Oidc,
            "",
            "accounts.example.com",
        ),
        (
            "https://id.example.com/realms/common",
            AuthorityKind::Oidc,
            "",
            "id.example.com",
        ),
        ("http://127.0.0.1:3000", AuthorityKind::Oidc, "", "127.0.0.1:3000"),
        (
            "https://login.microsoftonline.com.evil.example/x",
            AuthorityKind::Oidc,
            "",
            "login.microsoftonline.com.evil.example",
        ),
    ] {
        let authority = Authority::detect(url).unwrap();
        assert_eq!(
            (authority.kind(), authority.tenant(), authority.environment()),
            (kind, tenant, environment),
            "{url}"
        );
    }
}

#[test]
fn unusable_urls_are_refused() {
    for url in [
        "",
        "login.microsoftonline.com/common",
        "http://login.microsoftonline.com/common",
        "https://login.microsoftonline.com",
        "https://login.microsoftonline.com/common/oauth2/token",
        "https://login.microsoftonline.com/a%2fb",
        "https://login.microsoftonline.com/..",
        "https://user@login.microsoftonline.com/common",
        "https://login.microsoftonline.com/common?x=1",
        "https://id.example.com/#f",
        "https://contoso.b2clogin.com/contoso.onmicrosoft.com",
    ] {
        assert!(Authority::detect(url).is_err(), "{url}");
    }
}

#[test]
fn hosts_of_one_cloud_share_an_identity_and_issuers_do_not() {
    let identity = |url: &str| Authority::detect(url).unwrap().identity();
    assert_eq!(
        identity("https://login.windows.net/common"),
        identity("https://login.microsoftonline.com/contoso.com")
    );
    assert_ne!(
        identity("https://login.microsoftonline.us/common"),
        identity("https://login.microsoftonline.com/common")
    );
    assert_ne!(
        identity("https://id.example.com/a"),
        identity("https://id.example.com/b")
    );
    assert_ne!(
        identity("https://id.example.com/a"),
        identity("https://id.example.com/a/")
    );
}

#[test]
fn a_guest_tenant_replaces_the_tenant_alone() {
    let home = Authority::entra("https://login.microsoftonline.com/common").unwrap();
    let guest = home.with_tenant(GUID).unwrap();
    assert_eq!(guest.url(), format!("https://login.microsoftonline.com/{GUID}"));
    assert_eq!(guest.identity(), home.identity());
    assert!(home.is_multi_tenant() && !guest.is_multi_tenant());
    assert!(home.with_tenant("a/b").is_err());
    assert!(
        Authority::oidc("https://a.example")
            .unwrap()
            .with_tenant("x")
            .is_err()
    );
}
