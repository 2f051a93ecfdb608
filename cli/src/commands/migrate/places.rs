//! The two places: whether they are two, and how each is opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cache_core::cache::TokenCache;
use cache_core::layout::MsalLayout;
use cache_core::random::OsRandom;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::store::{MemoryStore, StoreKey};
use cache_core::strategy::{SealPolicy, Strategy};

use crate::arguments::{MigrateArguments, Options};
use crate::azure_cli;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::key_address::KeyAddress;
use crate::opened_store::has_ring;
use crate::session::{Missing, Session, Stdin};
use crate::store_address::StoreAddress;

/// From where, to where.
pub(super) struct Sides {
    pub(super) from: StoreAddress,
    pub(super) to: StoreAddress,
    pub(super) source: Session,
    pub(super) target: Session,
}

impl Sides {
    pub(super) fn new(session: &Session, arguments: &MigrateArguments) -> Result<Self, Failure> {
        let from = match &arguments.from {
            Some(from) => from.clone(),
            None => session.store_address()?,
        };
        let to = arguments.to.clone();
        for (option, key, store) in [
            ("--from-key", &arguments.from_key, &from),
            ("--to-key", &arguments.to_key, &to),
        ] {
            // Not ignored: who names a key believes that what is stored is encrypted.
            if key.is_some() && store.is_of_msal() {
                let message = format!(
                    "{option} is of no use with {store}: MSAL programs could not read what is encrypted"
                );
                return Err(Failure::usage(message).next(format!("leave {option} out")));
            }
        }
        let options = |store: &StoreAddress, key: &Option<KeyAddress>| Options {
            store: Some(store.clone()),
            key: key.clone().or_else(|| session.options.key.clone()),
            ..session.options.clone()
        };
        Ok(Self {
            source: Session::new(options(&from, &arguments.from_key)),
            target: Session::of_target(options(&to, &arguments.to_key)),
            from,
            to,
        })
    }

    /// Refuses what is one place by two names, as far as names tell. What they do not tell the migration finds out before it moves anything.
    pub(super) fn require_two_places(&self) -> Result<(), Failure> {
        if [&self.from, &self.to].contains(&&StoreAddress::Memory) {
            return Err(Failure::usage(
                "memory: is this process's own and ends with it; name a store that stays",
            ));
        }
        if is_same(&self.from, &self.to)? {
            let message = format!(
                "{} and {} are the same place; nothing was moved",
                self.from, self.to
            );
            return Err(Failure::usage(message).next("name another store with --to"));
        }
        Ok(())
    }

    /// Whether what is encrypted now would not be any more.
    pub(super) fn is_laid_open(&self) -> bool {
        self.to.is_of_msal() && !self.from.is_of_msal()
    }

    /// What names the source at each run.
    pub(super) fn source_name(&self) -> String {
        match path_of(&self.from) {
            Ok(Some(path)) => identity(&path).display().to_string(),
            _ => self.from.to_string(),
        }
    }

    /// The target for a dry run, which makes nothing: in place of one that is not there yet, an empty one of the same kind.
    pub(super) async fn target_as_it_is(&self) -> Result<TokenCache, Failure> {
        let opened = match self.target.opened(Missing::Refuse).await {
            Ok(opened) => Some(opened),
            Err(failure) if failure.kind == "store_missing" => None,
            Err(failure) => return Err(failure),
        };
        let is_ready = match opened {
            Some(_) if self.to.is_of_msal() => true,
            Some(opened) => has_ring(&*opened.store).await?,
            None => false,
        };
        if is_ready {
            return Ok(self.target.cache(Missing::Refuse, Stdin::Taken).await?.clone());
        }
        let empty = TokenCache::builder(Arc::new(MemoryStore::new()));
        if self.to.is_of_msal() {
            let strategy = Strategy::desktop_tool().seal(SealPolicy::PlaintextAllowed);
            let record =
                StoreKey::new("document").map_err(|error| Failure::new("internal", Exit::Other, error))?;
            let layout = MsalLayout::single_record(record);
            return Ok(empty
                .strategy(strategy)
                .open_plaintext_shared(Namespace::default(), layout)?);
        }
        let key = SecretKey::random(&OsRandom).map_err(|error| Failure::new("random", Exit::Other, error))?;
        let source = Arc::new(FixedKeySource::new(key));
        let empty = empty.strategy(Strategy::desktop_tool());
        Ok(empty.open_sealed(Namespace::default(), source).await?)
    }

    pub(super) async fn close(&self) {
        self.source.close().await;
        self.target.close().await;
    }
}

fn is_same(from: &StoreAddress, to: &StoreAddress) -> Result<bool, Failure> {
    if from == to {
        return Ok(true);
    }
    Ok(match (path_of(from)?, path_of(to)?) {
        (Some(from), Some(to)) => is_same_file(&from, &to),
        _ => match (from, to) {
            (StoreAddress::Redis(from), StoreAddress::Redis(to)) => {
                spelled_out(&from.to_string()) == spelled_out(&to.to_string())
            }
            _ => false,
        },
    })
}

/// The file that is the store.
fn path_of(store: &StoreAddress) -> Result<Option<PathBuf>, Failure> {
    Ok(match store {
        StoreAddress::Sqlite(path) | StoreAddress::MsalFile(path) => Some(path.clone()),
        StoreAddress::AzureCli => Some(azure_cli::token_cache()?),
        _ => None,
    })
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if let (Ok(one), Ok(other)) = (one.metadata(), other.metadata()) {
            return (one.dev(), one.ino()) == (other.dev(), other.ino());
        }
    }
    identity(one) == identity(other)
}

/// The path without links and dots, also of a file that is not there yet.
fn identity(path: &Path) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (
        path.parent().and_then(|folder| folder.canonicalize().ok()),
        path.file_name(),
    ) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path,
    }
}

/// A URL of Redis without its user, with what it leaves to the defaults.
fn spelled_out(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let hosts = hosts
        .rsplit_once('@')
        .map_or(hosts, |(_, hosts)| hosts)
        .to_ascii_lowercase();
    let is_cluster_or_sentinel = scheme.contains('-') || scheme.contains('+');
    if is_cluster_or_sentinel {
        return format!("{scheme}://{hosts}/{path}");
    }
    let hosts = hosts.replace("localhost", "127.0.0.1");
    let after_address = hosts.rsplit_once(']').map_or(hosts.as_str(), |(_, rest)| rest);
    let port = if after_address.contains(':') { "" } else { ":6379" };
    let database = if path.is_empty() { "0" } else { path };
    format!("{hosts}{port}/{database}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_place_are_told() {
        let same = |from: &str, to: &str| is_same(&from.parse().unwrap(), &to.parse().unwrap()).unwrap();
        for (from, to, is_same) in [
            ("redis://h", "redis://H:6379/0", true),
            ("redis://h", "rediss://u@h", true),
            ("redis://localhost/1", "redis://127.0.0.1:6379/1", true),
            ("redis://[::1]", "redis://[::1]:6379", true),
            ("redis://h", "redis://h/1", false),
            ("redis://h", "redis://h:6380", false),
            ("redis://h", "redis-cluster://h", false),
            ("sqlite:/a/./b.db", "sqlite:/a/b.db", true),
            ("sqlite:/a/b.db", "sqlite:/a/c.db", false),
            ("keychain", "keychain", true),
            ("keychain", "keychain:other", false),
        ] {
            assert_eq!(same(from, to), is_same, "{from} {to}");
        }
    }
}
