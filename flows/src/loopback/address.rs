//! The redirect URI of a program on this machine.

use cache_core::schema::AuthorityKind;
use url::{Host, Url};

use crate::error::ConfigurationError;

/// A redirect URI on loopback whose port may be left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RedirectAddress {
    host: &'static str,
    port: Option<u16>,
    /// As it was written: the authority compares it with what is registered.
    written_path: String,
    /// As a browser asks for it.
    path: String,
}

impl RedirectAddress {
    /// What is registered with an authority of this kind as a rule. Microsoft registers `http://localhost` and ignores
    /// the port; MSAL sends it without a path. Elsewhere the address itself, as RFC 8252 section 8.3 advises.
    pub(crate) fn usual(kind: AuthorityKind) -> Self {
        let (host, written_path) = match kind {
            AuthorityKind::Oidc => ("127.0.0.1", "/"),
            _ => ("localhost", ""),
        };
        Self {
            host,
            port: None,
            written_path: written_path.to_owned(),
            path: "/".to_owned(),
        }
    }

    /// Reads a redirect URI: `http`, a loopback host, and a path. Without a port, a free one is taken.
    pub(crate) fn parse(uri: &str) -> Result<Self, ConfigurationError> {
        let refused = |why: &str| {
            let text = format!(
                "the redirect URI {why}; give one such as http://localhost or http://127.0.0.1/callback"
            );
            ConfigurationError::new(text)
        };
        let url = Url::parse(uri).map_err(|error| refused("is not a URL").with_source(error))?;
        if url.scheme() != "http" {
            return Err(refused(
                "must begin with http://, as the browser comes to this machine",
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("must not have a user name"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused("must end with its path"));
        }
        let host = match url.host() {
            Some(Host::Domain("localhost")) => "localhost",
            Some(Host::Ipv4(address)) if address == std::net::Ipv4Addr::LOCALHOST => "127.0.0.1",
            Some(Host::Ipv6(address)) if address == std::net::Ipv6Addr::LOCALHOST => "[::1]",
            _ => return Err(refused("must name localhost, 127.0.0.1 or [::1]")),
        };
        let after_scheme = uri.split_once("://").map_or("", |(_, rest)| rest);
        Ok(Self {
            host,
            port: url.port(),
            written_path: after_scheme
                .find('/')
                .map_or(String::new(), |start| after_scheme[start..].trim_end().to_owned()),
            path: url.path().to_owned(),
        })
    }

    /// The same with this port.
    pub(crate) fn with_port(mut self, port: u16) -> Self {
        self.port = Some(port).filter(|port| *port != 0);
        self
    }

    /// The port, unless any free one will do.
    pub(crate) fn port(&self) -> Option<u16> {
        self.port
    }

    pub(crate) fn is_name(&self) -> bool {
        self.host == "localhost"
    }

    pub(crate) fn is_ipv6(&self) -> bool {
        self.host == "[::1]"
    }

    /// The redirect URI with the port that was found.
    pub(crate) fn uri(&self, port: u16) -> String {
        format!("http://{}:{port}{}", self.host, self.written_path)
    }

    /// Whether a `Host` header names this address. A page that had its own name resolved to 127.0.0.1 (DNS rebinding)
    /// is told by it.
    pub(crate) fn is_named_by(&self, host: &str, port: u16) -> bool {
        let (name, number) = match host.rsplit_once(':') {
            Some((name, number)) if !number.ends_with(']') => (name, number),
            _ => (host, "80"),
        };
        name.eq_ignore_ascii_case(self.host) && number == port.to_string()
    }

    /// The path that the browser asks for.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_uri_keeps_its_writing_and_gets_a_port() {
        for (given, with_port) in [
            ("http://localhost", "http://localhost:7"),
            ("http://localhost/", "http://localhost:7/"),
            ("http://127.0.0.1/a%20b", "http://127.0.0.1:7/a%20b"),
            ("http://[::1]/callback", "http://[::1]:7/callback"),
            ("http://localhost:99/x", "http://localhost:7/x"),
        ] {
            let address = RedirectAddress::parse(given).unwrap();
            assert_eq!(address.uri(7), with_port);
        }
        assert_eq!(
            RedirectAddress::parse("http://localhost:99/x").unwrap().port(),
            Some(99)
        );
        assert_eq!(RedirectAddress::parse("http://localhost").unwrap().path(), "/");
        let entra = RedirectAddress::usual(AuthorityKind::Entra);
        assert_eq!(entra.uri(7), "http://localhost:7");
        assert_eq!(
            RedirectAddress::usual(AuthorityKind::Oidc).uri(7),
            "http://127.0.0.1:7/"
        );
    }

    #[test]
    fn other_hosts_and_schemes_are_refused() {
        for refused in [
            "https://localhost/",
            "http://example.test/",
            "http://127.0.0.2/",
            "http://0.0.0.0/",
            "http://localhost.evil.test/",
            "http://user@localhost/",
            "http://localhost/?a=b",
            "http://localhost/#x",
            "msal://redirect",
            "localhost",
        ] {
            assert!(RedirectAddress::parse(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn only_its_own_name_and_port_name_it() {
        let address = RedirectAddress::parse("http://localhost").unwrap();
        assert!(address.is_named_by("localhost:8080", 8080) && address.is_named_by("LOCALHOST:8080", 8080));
        assert!(address.is_named_by("localhost", 80));
        for other in [
            "localhost",
            "localhost:8081",
            "127.0.0.1:8080",
            "evil.test:8080",
            "localhost:08080",
            "",
        ] {
            assert!(!address.is_named_by(other, 8080), "{other}");
        }
        let six = RedirectAddress::parse("http://[::1]").unwrap();
        assert!(six.is_named_by("[::1]:8080", 8080) && !six.is_named_by("[::1]", 8080));
        assert!(six.is_named_by("[::1]", 80));
    }
}
