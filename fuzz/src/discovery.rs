//! What an authority says of itself.

use std::sync::LazyLock;

use cache_core::schema::AuthorityKind;
use flows::authority::Authority;
use flows::http::{is_allowed_url, is_loopback};

use crate::canned::{Canned, reply};
use crate::scene::{LIMIT, block_on};
use crate::{Outcome, Target};

/// The target.
pub const TARGET: Target = Target {
    name: "discovery",
    title: "discovery documents, of issuers and of clouds",
    run,
    seeds,
    max_len: 4096,
};

static AUTHORITIES: LazyLock<Vec<Authority>> = LazyLock::new(|| {
    let urls = [
        "https://id.example/a",
        "https://login.microsoftonline.com/contoso.com",
        "https://login.example/common",
        "https://contoso.b2clogin.com/contoso.onmicrosoft.com/b2c_1_susi",
        "https://contoso.ciamlogin.com",
        "https://fs.contoso.com/adfs",
    ];
    urls.map(|url| Authority::detect(url).expect("an authority"))
        .into()
});

/// Has an authority of some kind answer with the bytes.
///
/// # Panics
/// When an endpoint is believed that a request must not go to, or a request goes anywhere but to the authority.
pub fn run(data: &[u8]) -> Outcome {
    let Some((&which, data)) = data.split_first() else {
        return Outcome::Refused;
    };
    let authority = &AUTHORITIES[usize::from(which) % AUTHORITIES.len()];
    let canned = Canned::read(data);
    let transport = canned.transport();
    let discovery = transport.discovery();
    let (metadata, canonical) = block_on(async {
        let metadata = discovery.metadata(authority, LIMIT).await;
        (metadata, discovery.canonical(authority, LIMIT).await)
    });
    for url in canned.asked() {
        let host = url.host_str().unwrap_or_default();
        assert!(
            host == authority.environment() || host == "login.microsoftonline.com",
            "asked {host}"
        );
    }
    assert_eq!(canonical.kind(), authority.kind());
    // No answer makes another cloud's host of this one.
    if authority.environment() == "login.microsoftonline.com" {
        assert_eq!(canonical.environment(), "login.microsoftonline.com");
    }
    let Ok(metadata) = metadata else {
        return Outcome::Refused;
    };
    let endpoints = [
        Some(&metadata.token_endpoint),
        metadata.authorization_endpoint.as_ref(),
        metadata.device_authorization_endpoint.as_ref(),
        metadata.pushed_authorization_request_endpoint.as_ref(),
        metadata.revocation_endpoint.as_ref(),
        metadata.jwks_uri.as_ref(),
        metadata.end_session_endpoint.as_ref(),
    ];
    for url in endpoints.into_iter().flatten() {
        assert!(is_allowed_url(url).is_ok() && !is_loopback(url), "believed {url}");
        assert_eq!(url.scheme(), "https");
        let host = url.host_str().unwrap_or_default();
        if authority.kind() != AuthorityKind::Oidc && authority.environment().ends_with("contoso.com") {
            assert_eq!(host, authority.environment());
        }
    }
    if authority.kind() == AuthorityKind::Oidc {
        assert!(metadata.issuer.could_be(authority.url()));
        assert!(!metadata.issuer.could_be("https://evil.example"));
    }
    Outcome::Taken
}

fn seeds() -> Vec<Vec<u8>> {
    let document = |issuer: &str, host: &str| {
        reply(
            0,
            "content-type: application/json",
            &serde_json::json!({
                "issuer": issuer,
                "token_endpoint": format!("https://{host}/token"),
                "authorization_endpoint": format!("https://{host}/authorize"),
                "device_authorization_endpoint": format!("https://{host}/device"),
                "revocation_endpoint": format!("https://{host}/revoke"),
                "jwks_uri": format!("https://{host}/keys"),
                "end_session_endpoint": format!("https://{host}/logout"),
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["private_key_jwt"],
                "authorization_response_iss_parameter_supported": true,
            })
            .to_string(),
        )
    };
    let tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47";
    let documents = [
        document("https://id.example/a", "id.example"),
        document(
            &format!("https://login.microsoftonline.com/{tenant}/v2.0"),
            "login.microsoftonline.com",
        ),
        document("https://login.example/{tenantid}/v2.0", "login.example"),
        document(
            &format!("https://contoso.b2clogin.com/{tenant}/v2.0/"),
            "contoso.b2clogin.com",
        ),
        document(
            &format!("https://{tenant}.ciamlogin.com/{tenant}/v2.0"),
            "contoso.ciamlogin.com",
        ),
        document("https://fs.contoso.com/adfs", "fs.contoso.com"),
    ];
    let mut seeds: Vec<_> = (0..)
        .zip(&documents)
        .map(|(which, document)| [&[which], &document[..]].concat())
        .collect();
    let cloud = serde_json::json!({
        "tenant_discovery_endpoint": "https://login.example/common/.well-known/openid-configuration",
        "metadata": [{
            "preferred_network": "login.example", "preferred_cache": "sts.example",
            "aliases": ["login.example", "sts.example"],
        }],
    });
    seeds.push([&[2], &reply(0, "", &cloud.to_string())[..]].concat());
    seeds.push([&[0], &reply(8, "retry-after: 120", "")[..]].concat());
    seeds
}

/// What the issuer that is not Microsoft's says of itself, as [`Canned::read`] takes it.
pub(crate) fn seed_of_the_plain_issuer() -> Vec<u8> {
    seeds().swap_remove(0).split_off(1)
}
