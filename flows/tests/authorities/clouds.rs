//! Sovereign clouds: hosts, the endpoints that need no discovery, and who is an alias of whom.

use cache_core::schema::AuthorityKind;
use flows::authority::{Authority, Metadata};

/// The hosts of each built-in cloud.
const CLOUDS: [&[&str]; 8] = [
    &[
        "login.microsoftonline.com",
        "login.windows.net",
        "login.microsoft.com",
        "sts.windows.net",
    ],
    &["login.partner.microsoftonline.cn", "login.chinacloudapi.cn"],
    &["login.microsoftonline.us", "login.usgovcloudapi.net"],
    &["login.microsoftonline.de"],
    &["login-us.microsoftonline.com"],
    &["login.sovcloud-identity.fr"],
    &["login.sovcloud-identity.de"],
    &["login.sovcloud-identity.sg"],
];
const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

fn issuer(host: &str, tenant: &str) -> String {
    format!("https://{host}/{tenant}/v2.0")
}

#[test]
fn each_host_has_its_own_endpoints_and_its_clouds_issuers() {
    for (index, hosts) in CLOUDS.iter().enumerate() {
        for host in *hosts {
            for tenant in [TENANT, "common", "organizations", "consumers"] {
                let authority = Authority::detect(&format!("https://{host}/{tenant}")).unwrap();
                assert_eq!(
                    (authority.kind(), authority.environment()),
                    (AuthorityKind::Entra, *host)
                );
                let metadata = Metadata::by_convention(&authority).unwrap();
                let base = format!("https://{host}/{tenant}");
                for (url, path) in [
                    (Some(metadata.token_endpoint), "oauth2/v2.0/token"),
                    (metadata.authorization_endpoint, "oauth2/v2.0/authorize"),
                    (metadata.device_authorization_endpoint, "oauth2/v2.0/devicecode"),
                    (metadata.jwks_uri, "discovery/v2.0/keys"),
                ] {
                    assert_eq!(url.unwrap().as_str(), format!("{base}/{path}"));
                }
                let tid = if tenant == "consumers" { CONSUMERS } else { TENANT };
                for (other, aliases) in CLOUDS.iter().enumerate() {
                    for alias in *aliases {
                        let accepted = metadata.issuer.check(&issuer(alias, tid), Some(tid)).is_ok();
                        assert_eq!(accepted, index == other, "{host} {alias}");
                    }
                }
            }
        }
    }
}

#[test]
fn hosts_of_one_cloud_are_one_authority_and_clouds_are_apart() {
    let all = || {
        CLOUDS
            .iter()
            .enumerate()
            .flat_map(|(cloud, hosts)| hosts.iter().map(move |host| (cloud, host)))
    };
    let identity = |host: &str| {
        Authority::detect(&format!("https://{host}/common"))
            .unwrap()
            .identity()
    };
    for (one, first) in all() {
        for (two, second) in all() {
            assert_eq!(
                identity(first) == identity(second),
                one == two,
                "{first} {second}"
            );
        }
    }
}

#[test]
fn shared_tenants_let_in_whom_they_stand_for() {
    let check = |tenant: &str, tid: &str| {
        let authority = Authority::detect(&format!("https://login.microsoftonline.com/{tenant}")).unwrap();
        let rule = Metadata::by_convention(&authority).unwrap().issuer;
        rule.check(&issuer("login.microsoftonline.com", tid), Some(tid))
            .is_ok()
    };
    for (tenant, work, personal) in [
        ("common", true, true),
        ("organizations", true, false),
        ("consumers", false, true),
        (TENANT, true, false),
        (CONSUMERS, false, true),
    ] {
        assert_eq!(
            (check(tenant, TENANT), check(tenant, CONSUMERS)),
            (work, personal),
            "{tenant}"
        );
    }
}
