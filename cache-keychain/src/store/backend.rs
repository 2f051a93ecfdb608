//! The store.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::store::error::{ErrorKind, Operation, Retry};
use cache_core::store::{
    Capabilities, CompareAndSwap, Persistence, PutOptions, Record, Store, StoreError, StoreKey, Version,
    Versions, Watch,
};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::config::KeychainStoreConfig;
use super::failure::{Failure, of_keychain};
use super::limits::KeychainLimits;
use super::lock::StoreLock;
use super::permit::{Permit, RevokeOnDrop};
use super::work::{Change, Place};
use crate::error::KeychainError;
use crate::keychain::Keychain;
use crate::platform::{Connection, KeychainPersistence};

/// Records in a keychain: see the [guide](super). A handle may be shared by any number of tasks.
pub struct KeychainStore {
    keychain: Keychain,
    place: Arc<Place>,
    lock: StoreLock,
    capabilities: Capabilities,
}

impl KeychainStore {
    /// Opens the store, and looks whether what the keychain holds under its name is one.
    ///
    /// # Errors
    /// `InvalidArgument` for a name or limits that make no sense, `Corrupt` and `NewerSchema` when something else, or a newer program's
    /// store, has the name; `Unavailable` or `Timeout` when there is no keychain or it is locked or hangs, with the
    /// [`KeychainError`] as source.
    pub async fn open(keychain: Keychain, config: KeychainStoreConfig) -> Result<Self, StoreError> {
        let operation = Operation::Open;
        let invalid = |context| StoreError::new(ErrorKind::InvalidArgument, operation, context);
        if config.name.is_empty() {
            return Err(invalid("the store in the keychain needs a name"));
        }
        if config.limits.is_some_and(|limits| !limits.are_usable()) {
            return Err(invalid(
                "the keychain's limits leave no room for the manifest of a longest value; make items longer or values shorter",
            ));
        }
        let (vendor, persistence) = keychain
            .on_connection(|connection| Ok((connection.store.vendor(), persistence_of(connection))))
            .await
            .map_err(|error| of_keychain(operation, error))?;
        let limits = config
            .limits
            .unwrap_or_else(|| KeychainLimits::of(keychain.kind(), &vendor));
        let (service, clock) = (&keychain.config.service, &keychain.config.clock);
        let compare_and_swap = match config.lock_file {
            Some(_) => CompareAndSwap::Host,
            None => CompareAndSwap::Process,
        };
        let lock = StoreLock::new(
            service,
            &config.name,
            config.lock_file,
            keychain.config.deadline,
            Arc::clone(clock),
        );
        let place = Place {
            service: service.clone(),
            name: config.name,
            limits,
            clock: Arc::clone(clock),
            random: config.random,
            gone: Mutex::new(HashSet::new()),
        };
        let store = Self {
            place: Arc::new(place),
            lock,
            capabilities: Capabilities {
                compare_and_swap,
                versions: Versions::Unique,
                native_expiry: false,
                max_value_bytes: limits.value_bytes,
                persistence,
                // The keychain that is asked is the one that stored it.
                shows_early: false,
                watch: false,
            },
            keychain,
        };
        store
            .read(operation, |place, connection| {
                place.read(connection, |_, _| Ok(()))
            })
            .await?;
        Ok(store)
    }

    async fn read<T: Send + 'static>(
        &self,
        operation: Operation,
        read: impl FnOnce(&Place, &Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let place = Arc::clone(&self.place);
        let read = self
            .keychain
            .on_connection(move |connection| apart(read(&place, connection)));
        together(read.await).map_err(|failure| failure.during(operation))
    }

    async fn write(&self, operation: Operation, key: &StoreKey, change: Change) -> Result<(), StoreError> {
        let guard = self
            .lock
            .acquire()
            .await
            .map_err(|failure| failure.during(operation))?;
        let permit = Permit::new(guard);
        let revoke = RevokeOnDrop(Arc::clone(&permit));
        let (place, key, permit) = (Arc::clone(&self.place), key.clone(), Arc::clone(&permit));
        let write = self
            .keychain
            .on_connection(move |connection| apart(place.write(connection, &key, change, &permit)));
        let Err(failure) = together(write.await) else {
            return Ok(());
        };
        let is_certain = revoke.0.revoke() || failure.is_refusal();
        let error = failure.during(operation);
        Err(if is_certain {
            error
        } else {
            error.with_retry(Retry::OutcomeUnknown)
        })
    }
}

impl fmt::Debug for KeychainStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeychainStore")
            .field("service", &self.place.service)
            .field("name", &self.place.name)
            .field("limits", &self.place.limits)
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for KeychainStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        let key = key.clone();
        self.read(Operation::Get, move |place, connection| {
            let now = place.clock.now();
            place.read(connection, |items, index| {
                let Some(entry) = index.live(&key, now) else {
                    return Ok(None);
                };
                Ok(Some(Record {
                    payload: items.fetch(&entry.content)?,
                    version: entry.version,
                    expires_at: entry.expires_at,
                }))
            })
        })
        .await
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        let key = key.clone();
        self.read(Operation::Head, move |place, connection| {
            let now = place.clock.now();
            place.read(connection, |_, index| {
                Ok(index.live(&key, now).map(|entry| entry.version))
            })
        })
        .await
    }

    /// Writes as the contract says. A future that is dropped before the manifest is being replaced has no effect.
    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        let most = self.place.limits.value_bytes;
        if payload.len() > most {
            let context = format!("{} bytes; this keychain takes at most {most}", payload.len());
            return Err(StoreError::new(ErrorKind::TooLarge, Operation::Put, context));
        }
        let version = Version::random(&*self.place.random)?;
        let change = Change::Put {
            payload,
            mode: options.mode,
            version,
            expires_at: options.expires_at,
        };
        self.write(Operation::Put, key, change).await.map(|()| version)
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        self.write(Operation::Delete, key, Change::Delete { expected })
            .await
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        let prefix = prefix.to_owned();
        let listed = self.read(Operation::Scan, move |place, connection| {
            let now = place.clock.now();
            place.read(connection, |_, index| {
                let live = index
                    .records
                    .iter()
                    .filter(|(key, entry)| key.as_str().starts_with(&prefix) && entry.is_live(now));
                Ok(live
                    .map(|(key, entry)| (key.clone(), entry.version))
                    .collect::<Vec<_>>())
            })
        });
        stream::once(listed)
            .map_ok(|listed| stream::iter(listed).map(Ok))
            .try_flatten()
            .boxed()
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn watch(&self) -> Option<&dyn Watch> {
        None
    }
}

/// Has the keychain's thread see the errors after which it connects anew.
fn apart<T>(result: Result<T, Failure>) -> Result<Result<T, Failure>, KeychainError> {
    match result {
        Err(Failure::Keychain(error)) if error.is_unavailable() => Err(error),
        result => Ok(result),
    }
}

fn together<T>(result: Result<Result<T, Failure>, KeychainError>) -> Result<T, Failure> {
    result.map_err(Failure::Keychain).flatten()
}

fn persistence_of(connection: &Connection) -> Persistence {
    let known = connection.look.persistence();
    match known.unwrap_or_else(|| KeychainPersistence::of(&*connection.store)) {
        KeychainPersistence::Disk => Persistence::Disk,
        KeychainPersistence::UntilRestart | KeychainPersistence::Session => Persistence::Server,
        KeychainPersistence::Process | KeychainPersistence::Unknown => Persistence::Process,
    }
}
