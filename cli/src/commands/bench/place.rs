//! Where runs keep their tokens: never in the user's own cache.

use std::path::{Path, PathBuf};

use benches::workload::StoreKind;
use url::Url;

use crate::failure::Failure;
use crate::opened_store;
use crate::redis_address::RedisAddress;
use crate::session::Session;
use crate::store_address::StoreAddress;

/// What `--store` says of the stores that are measured.
pub(super) struct Place {
    /// The only kind to measure; the workload's own if nothing is said.
    pub(super) kind: Option<StoreKind>,
    /// A Redis that is there already.
    pub(super) redis_url: Option<String>,
    /// Where temporary databases are made.
    pub(super) folder: Option<PathBuf>,
}

/// The place that the command line names. One from the environment is that of the user's own cache, and was left out before.
pub(super) fn of(session: &Session) -> Result<Place, Failure> {
    let only = |kind| Place {
        kind: Some(kind),
        redis_url: None,
        folder: None,
    };
    match &session.options.store {
        None => Ok(Place {
            kind: None,
            redis_url: None,
            folder: None,
        }),
        Some(StoreAddress::Memory) => Ok(only(StoreKind::Memory)),
        Some(StoreAddress::Sqlite(path)) => Ok(Place {
            folder: Some(folder_of(path)?),
            ..only(StoreKind::Sqlite)
        }),
        Some(StoreAddress::Redis(address)) => Ok(Place {
            redis_url: Some(url(session, address)?),
            ..only(StoreKind::Redis)
        }),
        Some(_) => Err(Failure::usage(
            "bench measures memory:, sqlite:PATH and redis://HOST; the other stores hold a few accounts of one person",
        )),
    }
}

/// The folder of a database that is not there: what is there is somebody's cache.
fn folder_of(path: &Path) -> Result<PathBuf, Failure> {
    if path.exists() {
        return Err(Failure::usage(format!("{} exists, and is left alone", path.display()))
            .next("name a file that does not exist, on the disk that is to be measured; it is removed afterwards"));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if folder.is_dir() {
        return Ok(folder.to_owned());
    }
    Err(Failure::usage(format!("there is no folder {}", folder.display())))
}

/// The URL with the password that stands elsewhere.
fn url(session: &Session, address: &RedisAddress) -> Result<String, Failure> {
    let text = address.url().expose();
    let Some(password) = opened_store::redis_password(&session.options.redis)? else {
        return Ok(text.to_owned());
    };
    let refuse =
        || Failure::usage("bench can add a password to the URL of one server only, as in redis://USER@HOST");
    let mut url: Url = text.parse().map_err(|_| refuse())?;
    url.set_password(Some(password.expose())).map_err(|()| refuse())?;
    Ok(url.into())
}
