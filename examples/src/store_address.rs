//! `--store`: where the cache is kept.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The store that the front end and the workers share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAddress {
    /// A file, for processes of one machine.
    Sqlite(PathBuf),
}

impl FromStr for StoreAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() && path != ":memory:" => Ok(Self::Sqlite(path.into())),
            _ => Err("a store is sqlite:PATH".to_owned()),
        }
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}
