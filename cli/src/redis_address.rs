//! A `--store` in Redis: its URL, and what of it may be shown.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use cache_core::secret::Secret;
use cache_redis::RedisConfig;

/// A URL that the store understands. It may hold a password, so only what is left without it is ever shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RedisAddress {
    url: Secret,
    shown: String,
    has_password: bool,
}

impl RedisAddress {
    pub(crate) fn url(&self) -> &Secret {
        &self.url
    }

    /// Whether the URL itself holds a password.
    pub(crate) fn has_password(&self) -> bool {
        self.has_password
    }

    /// Whether the connection is encrypted.
    pub(crate) fn is_tls(&self) -> bool {
        self.shown.starts_with("rediss")
    }

    /// Whether it never leaves this machine: by a unix socket, or to one server at a loopback address. Sentinels and nodes of a
    /// Cluster name servers that may be anywhere, wherever they are themselves.
    pub(crate) fn is_local(&self) -> bool {
        let Some((scheme, rest)) = self.shown.split_once("://") else {
            return false;
        };
        let host = rest.split('/').next().unwrap_or_default();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let host = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, _)) => host,
            None => host.split(':').next().unwrap_or_default(),
        };
        // A name may begin like an address: 127.example.
        let is_loopback = host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        match scheme {
            "redis+unix" => true,
            "redis" | "rediss" => is_loopback || host == "localhost",
            _ => false,
        }
    }
}

impl FromStr for RedisAddress {
    type Err = String;

    /// No error shows anything of the text: any part of it may be the password.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Err(error) = RedisConfig::from_url(text) {
            let error = error.to_string();
            let why = error
                .rsplit_once("invalid argument: ")
                .map_or(error.as_str(), |(_, why)| why);
            return Err(why.to_owned());
        }
        // It was understood, so there is a scheme, and no @ and : but those that separate.
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let scheme = scheme.to_ascii_lowercase();
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (user, hosts),
            None => ("", authority),
        };
        let (name, password) = match user.split_once(':') {
            Some((name, password)) => (name, password),
            None => (user, ""),
        };
        let at = if name.is_empty() { "" } else { "@" };
        Ok(Self {
            url: Secret::new(text),
            shown: format!("{scheme}://{name}{at}{hosts}{path}"),
            has_password: !password.is_empty(),
        })
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.shown, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_never_shown() {
        for (text, shown) in [
            ("redis://u:canary@h:1/2", "redis://u@h:1/2"),
            ("rediss://:canary@h", "rediss://h"),
            (
                "redis+unix://u:canary@/run/r.sock?db=1",
                "redis+unix://u@/run/r.sock?db=1",
            ),
            (
                "redis-sentinel://u:canary@a,b:2/main/1",
                "redis-sentinel://u@a,b:2/main/1",
            ),
            ("REDISS-CLUSTER://u:can%40ary@a", "rediss-cluster://u@a"),
        ] {
            let address: RedisAddress = text.parse().unwrap();
            assert!(address.has_password());
            assert_eq!(address.to_string(), shown);
            assert_eq!(format!("{address:?}"), format!("{shown:?}"));
            assert_eq!(address.url().expose(), text);
        }
        for text in ["redis://u@h", "redis://h", "redis://u:@h"] {
            let address: RedisAddress = text.parse().unwrap();
            assert!(!address.has_password(), "{text}");
        }
        for text in [
            "redis://u:canary/x@h",
            "redis://h?canary=1",
            "redis-canary://h",
            "redis://u:canary",
        ] {
            let error = text.parse::<RedisAddress>().unwrap_err();
            assert!(!error.contains("canary") && !error.contains("store"), "{error}");
        }
    }

    #[test]
    fn what_leaves_this_machine_is_told() {
        for (text, is_tls, is_local) in [
            ("redis://h", false, false),
            ("rediss://h", true, false),
            ("redis://127.0.0.1:7000", false, true),
            ("redis://u@localhost:7000/1", false, true),
            ("redis://localhost.example", false, false),
            ("redis://[::1]:7000", false, true),
            ("redis+unix:///run/r.sock", false, true),
            ("redis-cluster://127.0.0.1,h", false, false),
            ("redis-cluster://127.0.0.1", false, false),
            ("redis-sentinel://localhost/s", false, false),
            ("redis://127.0.0.1.example", false, false),
            ("redis://127.0.0.2/3", false, true),
            ("rediss-sentinel://a/s", true, false),
        ] {
            let address: RedisAddress = text.parse().unwrap();
            assert_eq!(
                (address.is_tls(), address.is_local()),
                (is_tls, is_local),
                "{text}"
            );
        }
    }
}
