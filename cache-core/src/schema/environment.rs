//! Environments: the host names under which one cloud is known.
//!
//! MSAL rows name the *environment* that issued them. Node writes a cloud's preferred cache host
//! (`login.windows.net`), Python and Go the host of the authority, and Python drops its port. All of these mean
//! the same cloud, so rows are matched by group. The groups are built in: a discovery reply or a row never
//! adds a host to one, because a forged alias would hand one cloud's refresh tokens to another.

const GROUPS: &[&[&str]] = &[
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

/// The group of `environment`: the first host of its cloud, or its own host without the port, in lower case.
#[must_use]
pub fn group(environment: &str) -> String {
    let host = host(environment).to_ascii_lowercase();
    match known(&host) {
        Some(hosts) => hosts[0].to_owned(),
        None => host,
    }
}

/// Whether `environment` is a host of a Microsoft cloud.
#[must_use]
pub fn is_microsoft(environment: &str) -> bool {
    known(&environment.to_ascii_lowercase()).is_some()
}

/// All hosts of the cloud that `environment` belongs to; none for a host outside the built-in groups.
#[must_use]
pub fn aliases(environment: &str) -> &'static [&'static str] {
    known(&environment.to_ascii_lowercase()).unwrap_or(&[])
}

/// Whether rows of the two environments belong together: the same group, and the same port unless one of them
/// has none (Python drops it).
#[must_use]
pub fn same(a: &str, b: &str) -> bool {
    if a.eq_ignore_ascii_case(b) {
        return true;
    }
    if let (Some(first), Some(second)) = (port(a), port(b))
        && first != second
    {
        return false;
    }
    host(a).eq_ignore_ascii_case(host(b)) || group(a) == group(b)
}

/// `environment` without its port.
pub(crate) fn without_port(environment: &str) -> &str {
    host(environment)
}

fn known(host: &str) -> Option<&'static [&'static str]> {
    GROUPS.iter().find(|hosts| hosts.contains(&host)).copied()
}

fn host(environment: &str) -> &str {
    match port(environment) {
        Some(port) => &environment[..environment.len() - port.len() - 1],
        None => environment,
    }
}

/// The port of `host:port`. An IPv6 address has one only in the form `[::1]:443`.
fn port(environment: &str) -> Option<&str> {
    let (host, port) = environment.rsplit_once(':')?;
    let is_host = !host.is_empty() && (!host.contains(':') || host.ends_with(']'));
    (is_host && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_one_cloud_are_the_same_environment() {
        assert!(same("login.windows.net", "login.microsoftonline.com"));
        assert!(same("LOGIN.windows.net", "sts.windows.net"));
        assert!(!same("login.microsoftonline.us", "login.microsoftonline.com"));
        assert_eq!(group("Login.Windows.Net"), "login.microsoftonline.com");
    }

    #[test]
    fn a_missing_port_matches_any_but_two_ports_must_agree() {
        assert!(same("127.0.0.1", "127.0.0.1:8443"));
        assert!(!same("127.0.0.1:8444", "127.0.0.1:8443"));
        assert!(!same("127.0.0.1", "127.0.0.2"));
        assert_eq!(group("[::1]:443"), group("[::1]"));
        assert_eq!(group("::1"), "::1");
    }

    #[test]
    fn an_unknown_host_is_its_own_group() {
        assert!(!same("evil.example", "login.microsoftonline.com"));
        assert!(!same(
            "login.microsoftonline.com.evil.example",
            "login.microsoftonline.com"
        ));
    }
}
