//! `--store`: where the cache is kept.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use cache_redis::RedisConfig;

/// The store that the front end and the workers share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAddress {
    /// A file, for processes of one machine.
    Sqlite(PathBuf),
    /// Redis or Valkey, for processes of many: its URL, without a password.
    Redis(String),
}

impl StoreAddress {
    /// Whether the store is reached over TLS.
    #[must_use]
    pub fn is_over_tls(&self) -> bool {
        matches!(self, Self::Redis(url) if url.starts_with("rediss"))
    }
}

impl FromStr for StoreAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() && path != ":memory:" => Ok(Self::Sqlite(path.into())),
            Some((scheme, rest)) if scheme.starts_with("redis") => {
                if has_password(rest) {
                    // It is not repeated. Who gave it as an argument has shown it to the whole machine already.
                    return Err("give the password by --redis-password, not in the URL".to_owned());
                }
                RedisConfig::from_url(text).map_err(|error| error.to_string())?;
                Ok(Self::Redis(text.to_owned()))
            }
            _ => Err("a store is sqlite:PATH or a URL such as redis://HOST, rediss://HOST or redis-cluster://HOST,HOST".to_owned()),
        }
    }
}

/// Whether what stands before the host, if anything does, is more than a user name.
fn has_password(after_scheme: &str) -> bool {
    let authority = after_scheme
        .trim_start_matches('/')
        .split('/')
        .next()
        .unwrap_or_default();
    let login = authority.rsplit_once('@').map(|(login, _)| login);
    login.is_some_and(|login| login.contains(':'))
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Redis(url) => f.write_str(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_file_or_a_server_and_has_no_password() {
        for text in [
            "sqlite:/a/b.db",
            "redis://127.0.0.1:6390",
            "rediss://cache.example",
            "redis-cluster://a:1,b:2",
            "redis-sentinel://a:1,b:2/main",
        ] {
            assert_eq!(text.parse::<StoreAddress>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "sqlite:",
            "sqlite::memory:",
            "memcached://a",
            "redis:",
            "redis://a:canary@127.0.0.1",
            "rediss://:canary@127.0.0.1/2",
            "redis-cluster://a:canary@b:1,c:2",
        ] {
            let error = text.parse::<StoreAddress>().unwrap_err();
            assert!(!error.contains("canary"), "{error}");
        }
        assert!("rediss://a".parse::<StoreAddress>().unwrap().is_over_tls());
        assert!(!"redis://a".parse::<StoreAddress>().unwrap().is_over_tls());
    }
}
