//! Instance discovery: which hosts are one cloud, as Microsoft tells of it.

use std::collections::BTreeSet;

use cache_core::schema::{AuthorityKind, environment};
use url::Url;

use super::Authority;
use crate::response::Fields;

/// Who is asked. Never the host itself: anybody could run one that calls itself an alias.
const TRUSTED_HOST: &str = "login.microsoftonline.com";

/// A cloud that is not built in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct DiscoveredCloud {
    /// The host that requests go to (`preferred_network`).
    pub(super) network_host: String,
    /// The host under which rows are kept (`preferred_cache`).
    pub(super) cache_host: String,
    pub(super) aliases: BTreeSet<String>,
}

impl DiscoveredCloud {
    /// The cloud of `host` in the reply; `None` where it has none that may be believed.
    ///
    /// A group that names a built-in host is not believed: one forged alias would hand a cloud's refresh tokens to another.
    pub(super) fn parse(document: &Fields, host: &str) -> Option<Self> {
        let groups = document.value("metadata")?.as_array()?;
        groups.iter().find_map(|group| {
            let name = |value: &serde_json::Value| value.as_str().and_then(host_name);
            let aliases: BTreeSet<_> = group
                .get("aliases")?
                .as_array()?
                .iter()
                .filter_map(name)
                .collect();
            let preferred = |field: &str| group.get(field).and_then(name);
            let cloud = Self {
                network_host: preferred("preferred_network")?,
                cache_host: preferred("preferred_cache")?,
                aliases,
            };
            let is_built_in = cloud.aliases.iter().any(|alias| environment::is_microsoft(alias));
            let is_whole = [host, &cloud.network_host, &cloud.cache_host]
                .into_iter()
                .all(|host| cloud.aliases.contains(host));
            (is_whole && !is_built_in).then_some(cloud)
        })
    }
}

/// A plain host name in lower case: no port, no address, nothing that a URL would read otherwise.
fn host_name(text: &str) -> Option<String> {
    let host = text.to_ascii_lowercase();
    let url = Url::parse(&format!("https://{host}/")).ok()?;
    let is_plain = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    (is_plain && url.domain() == Some(&*host)).then_some(host)
}

/// What is asked about `authority`; `None` where nobody needs to be: the host is built in or on this machine, or authorities of
/// this kind have no aliases.
pub(super) fn question(authority: &Authority) -> Option<Url> {
    let asks = authority.kind() == AuthorityKind::Entra
        && !authority.is_loopback()
        && authority.cloud.is_none()
        && !environment::is_microsoft(&authority.host);
    if !asks {
        return None;
    }
    let mut url = Url::parse(&format!("https://{TRUSTED_HOST}/common/discovery/instance")).ok()?;
    url.query_pairs_mut()
        .append_pair("api-version", "1.1")
        .append_pair(
            "authorization_endpoint",
            &format!("{}/oauth2/v2.0/authorize", authority.url()),
        );
    Some(url)
}

#[cfg(test)]
mod tests {
    use cache_core::codec::msal::RowOrigin;
    use cache_core::secret::SecretBytes;
    use serde_json::{Value, json};

    use super::*;

    fn cloud(group: &Value) -> Option<DiscoveredCloud> {
        let document = json!({ "metadata": [{ "aliases": ["other.example"] }, group] }).to_string();
        let fields = Fields::parse(&SecretBytes::new(document.into_bytes()))?;
        DiscoveredCloud::parse(&fields, "login.a.example")
    }

    fn group(network: &str, cache: &str, aliases: &[&str]) -> Value {
        json!({ "preferred_network": network, "preferred_cache": cache, "aliases": aliases })
    }

    #[test]
    fn a_group_is_believed_only_if_it_is_whole_and_touches_no_built_in_host() {
        let (a, b) = ("login.a.example", "login.b.example");
        let found = cloud(&group(b, a, &[a, "LOGIN.b.example"])).unwrap();
        assert_eq!((found.network_host.as_str(), found.cache_host.as_str()), (b, a));
        let authority = Authority::entra("https://login.a.example/common")
            .unwrap()
            .within(found);
        let row = RowOrigin {
            environment: b,
            authority_type: None,
            issuer: None,
        };
        assert_eq!(authority.identify(&row), authority.identity());
        assert_eq!(
            authority.with_tenant("x").unwrap().url(),
            "https://login.b.example/x"
        );
        for refused in [
            group(b, a, &[a, b, "login.windows.net"]),
            group("login.microsoftonline.com", a, &[a, b]),
            group(b, "evil.example", &[a, b]),
            group(b, b, &[b]),
            group("login.b.example:444", a, &[a, "login.b.example:444"]),
            group("127.0.0.1", a, &[a, "127.0.0.1"]),
            json!({ "aliases": [a] }),
            json!([a]),
        ] {
            assert_eq!(cloud(&refused), None, "{refused}");
        }
    }

    #[test]
    fn only_an_unknown_entra_host_is_asked_about() {
        let asked = |url: &str| question(&Authority::detect(url).unwrap());
        let tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47";
        let url = asked(&format!("https://login.a.example/{tenant}")).unwrap();
        assert_eq!(url.host_str(), Some(TRUSTED_HOST));
        let endpoint = format!("https://login.a.example/{tenant}/oauth2/v2.0/authorize");
        assert!(url.query_pairs().any(|(_, value)| value == endpoint.as_str()));
        for url in [
            "https://login.microsoftonline.com/common",
            "https://login.chinacloudapi.cn/common",
            "https://127.0.0.1:8443/common",
            "https://localhost/common",
            "https://contoso.ciamlogin.com",
            "https://contoso.b2clogin.com/contoso.onmicrosoft.com/b2c_1_x",
            "https://fs.contoso.com/adfs",
            "https://id.example/a",
        ] {
            assert_eq!(asked(url), None, "{url}");
        }
    }
}
