//! The process that reads damaged databases.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cache_core::cache::CacheError;
use cache_core::store::error::Operation;
use serde::{Deserialize, Serialize};

use crate::child::tell;
use crate::gate::{Doing, GateError};
use crate::scene::{Place, ReadError, User};
use crate::signing::Refusal;
use crate::stage::runtime;

/// The database's name in its folder.
pub(super) const NAME: &str = "cache.db";
pub(super) const USERS: u32 = 24;
/// The last sign-in of each user, and the one before.
pub(super) const LAST: u64 = 2;

/// What the child does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reading {
    pub(super) folders: Vec<PathBuf>,
}

/// What is in a database.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Found {
    /// The store refused the file.
    Refused(Refusal),
    /// The store opened it, and the cache could not be opened upon it.
    Unusable(Refusal),
    /// It could.
    Read {
        right: u64,
        old: u64,
        missing: u64,
        /// How many reads failed, by the kinds of the errors.
        errors: BTreeMap<String, u64>,
        /// A token that nobody should have been given.
        wrong: Option<String>,
    },
}

impl Reading {
    pub(crate) fn perform(self) -> Result<(), GateError> {
        let runtime = runtime()?;
        for folder in self.folders {
            let found = runtime.block_on(read(&Place::Sqlite(folder.join(NAME))));
            tell(serde_json::to_string(&found).doing("could not write what was found")?);
        }
        Ok(())
    }
}

async fn read(place: &Place) -> Found {
    let opened = match place.open().await {
        Ok(opened) => opened,
        Err(error) => {
            let refusal = Refusal::of(&error);
            return match error {
                CacheError::Store(error) if error.operation() == Operation::Open => Found::Refused(refusal),
                _ => Found::Unusable(refusal),
            };
        }
    };
    let (mut right, mut old, mut missing) = (0, 0, 0);
    let (mut errors, mut wrong) = (BTreeMap::<String, u64>::new(), None);
    for user in (0..USERS).map(User) {
        match user.serial(&opened.cache).await {
            Ok(LAST) => right += 1,
            Ok(0) => missing += 1,
            Ok(serial) if serial < LAST => old += 1,
            Ok(serial) => wrong = Some(format!("user {} has sign-in {serial}, which never was", user.0)),
            Err(ReadError::Cache(error)) => *errors.entry(Refusal::of(&error).kind).or_default() += 1,
            Err(error) => wrong = Some(format!("user {}: {error}", user.0)),
        }
    }
    opened.close().await;
    Found::Read {
        right,
        old,
        missing,
        errors,
        wrong,
    }
}
