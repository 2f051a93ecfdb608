//! `--store`: where tokens are kept.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::path_text;
use crate::redis_address::RedisAddress;

/// A place for tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreAddress {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// This process's memory.
    Memory,
    /// Redis or Valkey: a server, Sentinels or a Cluster.
    Redis(RedisAddress),
}

impl FromStr for StoreAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("sqlite", "")) => {
                Err("sqlite: needs a path, as in sqlite:/var/lib/app/tokens.db".to_owned())
            }
            Some(("sqlite", ":memory:")) => Err("a store in memory is written memory:".to_owned()),
            Some(("sqlite", path)) => path_text::parse(path).map(Self::Sqlite),
            Some(("memory", "")) => Ok(Self::Memory),
            Some((scheme, _)) if scheme.starts_with("redis") => text.parse().map(Self::Redis),
            _ => Err("a store is sqlite:PATH, memory: or redis://HOST".to_owned()),
        }
    }
}

/// Without any password.
impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Memory => f.write_str("memory:"),
            Self::Redis(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_shown_alike() {
        for text in [
            "sqlite:/a/b.db",
            "sqlite:b.db",
            "sqlite:C:\\b.db",
            "memory:",
            "redis://h:7000/1",
        ] {
            assert_eq!(text.parse::<StoreAddress>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "sqlite:",
            "memory",
            "memory:x",
            "/a/b.db",
            "redis:",
            "redis:h",
            "redisx://h",
            "valkey://h",
            "sqlite::memory:",
            "sqlite:~/b.db",
        ] {
            assert!(text.parse::<StoreAddress>().is_err(), "{text}");
        }
    }
}
