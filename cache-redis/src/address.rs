//! Where the servers are: URLs, parsed once.
//!
//! No error shows any part of the URL, because each part may hold the password when a separator was forgotten.

use std::fmt;
use std::path::PathBuf;

use cache_core::secret::Secret;
use cache_core::store::error::ErrorKind;

use crate::error::Failure;
use crate::info::Arrangement;

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_SENTINEL_PORT: u16 = 26_379;

/// What a URL says.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) topology: Topology,
    pub(crate) tls: bool,
    pub(crate) database: u32,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
}

/// How the servers are arranged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    Single(Endpoint),
    Sentinel {
        sentinels: Vec<Endpoint>,
        service: String,
    },
    Cluster(Vec<Endpoint>),
}

/// Where one server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Endpoint {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Topology {
    pub(crate) fn arrangement(&self) -> Arrangement {
        match self {
            Self::Single(_) => Arrangement::Single,
            Self::Sentinel { .. } => Arrangement::Sentinel,
            Self::Cluster(_) => Arrangement::Cluster,
        }
    }
}

impl Endpoint {
    /// `host:port` as Redis writes it in redirections, where an IPv6 host has no brackets.
    pub(crate) fn from_redirection(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Some(Self::Tcp {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: port.parse().ok()?,
        })
    }

    /// The same with the host of `asked`, where that node did not say which: it does not know the other's name, and means
    /// the one by which it was asked itself.
    pub(crate) fn named_by(self, asked: &Self) -> Self {
        match (self, asked) {
            (Self::Tcp { host, port }, Self::Tcp { host: asked, .. })
                if matches!(host.as_str(), "" | "?") =>
            {
                let host = asked.clone();
                Self::Tcp { host, port }
            }
            (named, _) => named,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Address {
    /// # Errors
    /// `InvalidArgument`, naming the part that is wrong without showing it.
    pub(crate) fn parse(url: &str) -> Result<Self, Failure> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| {
            invalid("a Redis URL starts with redis://, rediss:// or one of the other schemes")
        })?;
        if rest.contains('#') {
            return Err(invalid(
                "a Redis URL has no fragment; write # in a password as %23",
            ));
        }
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let scheme = scheme.to_ascii_lowercase();
        let (kind, tls) = match scheme.as_str() {
            "redis" | "redis+unix" | "redis-sentinel" | "redis-cluster" => (scheme.as_str(), false),
            "rediss" => ("redis", true),
            "rediss-sentinel" => ("redis-sentinel", true),
            "rediss-cluster" => ("redis-cluster", true),
            _ => {
                return Err(invalid(
                    "the scheme must be redis, rediss, redis+unix, redis-sentinel, rediss-sentinel, redis-cluster \
                     or rediss-cluster",
                ));
            }
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority),
        };
        let (username, password) = credentials(user)?;
        if kind == "redis+unix" {
            if !hosts.is_empty() || path.len() < 2 {
                return Err(invalid(
                    "a redis+unix URL needs an absolute path: redis+unix:///path/to/socket",
                ));
            }
            return Ok(Self {
                topology: Topology::Single(Endpoint::Unix(decode(path)?.into())),
                tls,
                database: query.map_or(Ok(0), database_parameter)?,
                username,
                password,
            });
        }
        if query.is_some() {
            return Err(invalid(
                "no parameters (after ?) are known for this scheme; the database number is the path, as in redis://host/1",
            ));
        }
        let (topology, database) = match kind {
            "redis-sentinel" => {
                let mut parts = path.trim_start_matches('/').splitn(2, '/');
                let service = decode(parts.next().unwrap_or_default())?;
                if service.is_empty() {
                    return Err(invalid(
                        "a Sentinel URL names the service as its path: redis-sentinel://h1,h2/SERVICE",
                    ));
                }
                if path.contains('@') {
                    // Of a password with a slash, which must not be taken for a name: names are shown.
                    return Err(invalid(
                        "write / in a password as %2F, and @ in a service's name as %40",
                    ));
                }
                let sentinels = endpoints(hosts, DEFAULT_SENTINEL_PORT)?;
                let topology = Topology::Sentinel { sentinels, service };
                (topology, parts.next().map_or(Ok(0), database_number)?)
            }
            "redis-cluster" => {
                if !matches!(path, "" | "/" | "/0") {
                    return Err(invalid("a Cluster has no databases: leave the path away"));
                }
                (Topology::Cluster(endpoints(hosts, DEFAULT_PORT)?), 0)
            }
            _ => {
                let topology = Topology::Single(endpoint(hosts, DEFAULT_PORT)?);
                (topology, database_number(path.trim_start_matches('/'))?)
            }
        };
        Ok(Self {
            topology,
            tls,
            database,
            username,
            password,
        })
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("topology", &self.topology)
            .field("tls", &self.tls)
            .field("database", &self.database)
            .field("username", &self.username)
            .field("password", &self.password)
            .finish()
    }
}

fn invalid(context: &'static str) -> Failure {
    Failure::new(ErrorKind::InvalidArgument, context)
}

fn credentials(user: Option<&str>) -> Result<(Option<String>, Option<Secret>), Failure> {
    let Some(user) = user else {
        return Ok((None, None));
    };
    let (name, password) = match user.split_once(':') {
        Some((name, password)) => (name, Some(Secret::new(decode(password)?))),
        None => (user, None),
    };
    let name = decode(name)?;
    Ok(((!name.is_empty()).then_some(name), password))
}

fn database_number(text: &str) -> Result<u32, Failure> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse()
        .map_err(|_| invalid("the database must be a number, as in redis://host/1"))
}

fn database_parameter(query: &str) -> Result<u32, Failure> {
    match query.strip_prefix("db=") {
        Some(number) if !number.is_empty() => database_number(number),
        _ => Err(invalid(
            "the only parameter of a redis+unix URL is db, as in ?db=1",
        )),
    }
}

fn endpoints(hosts: &str, default_port: u16) -> Result<Vec<Endpoint>, Failure> {
    hosts
        .split(',')
        .map(|host| endpoint(host, default_port))
        .collect()
}

fn endpoint(text: &str, default_port: u16) -> Result<Endpoint, Failure> {
    let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let (host, port) = bracketed
            .split_once(']')
            .ok_or_else(|| invalid("an IPv6 address in a URL stands in brackets"))?;
        match port {
            "" => (host, None),
            port => (host, Some(port.strip_prefix(':').unwrap_or(port))),
        }
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    if host.is_empty() || !host.bytes().all(allowed) {
        return Err(invalid(
            "the URL has no host, or one with other characters than letters, digits, dots and dashes",
        ));
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0),
        None => Some(default_port),
    };
    let port = port.ok_or_else(|| {
        invalid("the port must be a number from 1 to 65535; write : and / in a password as %3A and %2F")
    })?;
    Ok(Endpoint::Tcp {
        host: host.to_owned(),
        port,
    })
}

/// Percent-decoding (RFC 3986, section 2.1).
fn decode(text: &str) -> Result<String, Failure> {
    let wrong = || invalid("the URL has a % that is not followed by two hexadecimal digits of UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2).ok_or_else(wrong)?;
        let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn every_scheme_is_read() {
        let single = Address::parse("redis://cache.example").unwrap();
        assert_eq!(single.topology, Topology::Single(tcp("cache.example", 6379)));
        assert_eq!((single.tls, single.database), (false, 0));

        let tls = Address::parse("rediss://[::1]:7000/3").unwrap();
        assert_eq!(tls.topology, Topology::Single(tcp("::1", 7000)));
        assert_eq!((tls.tls, tls.database), (true, 3));

        let unix = Address::parse("redis+unix:///run/my%20redis.sock?db=2").unwrap();
        let path = Endpoint::Unix("/run/my redis.sock".into());
        assert_eq!((unix.topology, unix.database), (Topology::Single(path), 2));

        let sentinel = Address::parse("rediss-sentinel://a,b:2/main/4").unwrap();
        let sentinels = vec![tcp("a", 26_379), tcp("b", 2)];
        let service = "main".to_owned();
        assert_eq!(sentinel.topology, Topology::Sentinel { sentinels, service });
        assert_eq!((sentinel.tls, sentinel.database), (true, 4));

        let cluster = Address::parse("redis-cluster://a:1,b").unwrap();
        assert_eq!(
            cluster.topology,
            Topology::Cluster(vec![tcp("a", 1), tcp("b", 6379)])
        );
    }

    #[test]
    fn credentials_are_percent_decoded() {
        let address = Address::parse("redis://us%65r:p%40s%3A%2F@h").unwrap();
        assert_eq!(address.username.as_deref(), Some("user"));
        assert_eq!(address.password, Some(Secret::new("p@s:/")));
        let address = Address::parse("redis://:p@h").unwrap();
        assert_eq!(
            (address.username, address.password),
            (None, Some(Secret::new("p")))
        );
    }

    #[test]
    fn what_is_not_understood_is_refused_without_being_shown() {
        for url in [
            "canary",
            "canary://h",
            "redis://",
            "redis://:canary@",
            "redis://u:canary/x@h",
            "redis://u:canary%zz@h",
            "redis://u:canary%+1@h",
            "redis://h/canary",
            "redis://h?canary=1",
            "redis://h#canary",
            "redis://h:canary",
            "redis://h:0",
            "redis://[::1",
            "redis://h:70000",
            "redis+unix://canary",
            "redis+unix:///p?canary=1",
            "redis+unix:///p?db=canary",
            "redis-sentinel://h",
            "redis-sentinel://h,/s",
            "redis-sentinel://u:1/canary@h",
            "redis-sentinel://u:1/canary@h/s",
            "redis-cluster://h/1",
            "redis-cluster://h,,h",
        ] {
            let refused = Address::parse(url).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidArgument, "{url}");
            let shown = format!("{refused:?}");
            assert!(!shown.contains("canary"), "{shown}");
        }
    }

    #[test]
    fn debug_hides_the_password() {
        let address = Address::parse("redis://user:canary@h").unwrap();
        let shown = format!("{address:?}");
        assert!(shown.contains("user") && !shown.contains("canary"), "{shown}");
    }

    #[test]
    fn redirections_are_read_with_ipv6_hosts() {
        assert_eq!(
            Endpoint::from_redirection("10.0.0.1:7000"),
            Some(tcp("10.0.0.1", 7000))
        );
        assert_eq!(Endpoint::from_redirection("::1:7000"), Some(tcp("::1", 7000)));
        assert_eq!(Endpoint::from_redirection("h:x"), None);
    }
}
