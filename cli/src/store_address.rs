//! `--store`: where tokens are kept.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::item_address::ItemAddress;
use crate::keychain_name::KeychainName;
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
    /// The operating system's keychain.
    Keychain(Option<KeychainName>),
    /// The Azure CLI's token cache. Not encrypted.
    AzureCli,
    /// A file that MSAL programs keep their tokens in. Not encrypted.
    MsalFile(PathBuf),
    /// An item of the Secret Service that MSAL programs keep their tokens in. This program does not encrypt it.
    MsalItem(ItemAddress),
}

impl StoreAddress {
    /// Whether the place is that of MSAL programs, who could not read what this program encrypts.
    pub(crate) fn is_of_msal(&self) -> bool {
        match self {
            Self::AzureCli | Self::MsalFile(_) | Self::MsalItem(_) => true,
            Self::Sqlite(_) | Self::Memory | Self::Redis(_) | Self::Keychain(_) => false,
        }
    }
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
            None if text == "keychain" => Ok(Self::Keychain(None)),
            Some(("keychain", name)) => name.parse().map(|name| Self::Keychain(Some(name))),
            None if text == "azure-cli" => Ok(Self::AzureCli),
            Some(("msal-file", "")) => {
                Err("msal-file: needs a path, as in msal-file:/home/me/.app/msal_token_cache.json".to_owned())
            }
            Some(("msal-file", path)) => path_text::parse(path).map(Self::MsalFile),
            Some(("msal-secret-service", item)) => item.parse().map(Self::MsalItem),
            _ => Err("a store is sqlite:PATH, redis://HOST, keychain or memory:, or a place of MSAL programs: azure-cli, \
                      msal-file:PATH or msal-secret-service:…"
                .to_owned()),
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
            Self::Keychain(None) => f.write_str("keychain"),
            Self::Keychain(Some(name)) => write!(f, "keychain:{name}"),
            Self::AzureCli => f.write_str("azure-cli"),
            Self::MsalFile(path) => write!(f, "msal-file:{}", path.display()),
            Self::MsalItem(item) => write!(f, "msal-secret-service:{item}"),
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
            "keychain",
            "keychain:my app",
            "azure-cli",
            "msal-file:/a/b.json",
            "msal-secret-service:service=a,account=b",
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
            "keychain:",
            "keychain:a,b",
            "azure-cli:",
            "azure-cli:/a",
            "azurecli",
            "msal-file",
            "msal-file:",
            "msal-file:~/b.json",
            "msal-secret-service",
            "msal-secret-service:",
            "msal-secret-service:service=a",
        ] {
            assert!(text.parse::<StoreAddress>().is_err(), "{text}");
        }
    }
}
