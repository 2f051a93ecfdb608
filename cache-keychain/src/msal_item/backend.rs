//! The store.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::store::error::{ErrorKind, Operation, Retry};
use cache_core::store::{
    Capabilities, CompareAndSwap, Persistence, PutMode, PutOptions, Record, Store, StoreError, StoreKey,
    Version, Versions, Watch,
};
use cache_core::time::Clock;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use secret_service::blocking::SecretService;

use super::config::MsalSecretServiceConfig;
use super::encoding::Content;
use super::error::Failure;
use super::item::{Connection, Query};
use super::peers::{Held, ItemLock, SignalFile};
use crate::error::KeychainError;
use crate::msal_file::json::Shape;
use crate::msal_file::reading::{DELETED, version_of};
use crate::store::permit::{Permit, RevokeOnDrop};
use crate::worker::Worker;

/// The cache that MSAL programs keep in an item of the Secret Service, as a store of one record: see the [guide](super). Nothing in it is
/// sealed.
pub struct MsalSecretServiceStore {
    worker: Worker<Connection>,
    place: Arc<Place>,
    lock: ItemLock,
    record: StoreKey,
}

/// What every piece of work needs.
struct Place {
    query: Query,
    signal: Option<SignalFile>,
    clock: Arc<dyn Clock>,
}

/// A write, with its condition.
#[derive(Clone, Copy)]
enum Condition {
    Put(PutMode),
    Delete(Option<Version>),
}

impl MsalSecretServiceStore {
    /// The longest document, in bytes (1 MiB), which is what was tried.
    pub const MAX_VALUE_BYTES: usize = 1 << 20;

    const RECORD: &str = "msal-secret-service";

    /// Connects to the Secret Service of the session, and looks for the item. It need not be there.
    ///
    /// # Errors
    /// `InvalidArgument` when several items have the attributes; `Corrupt` when the item holds no cache; `Unavailable` when there is no
    /// service or the item is locked, `Timeout` when the service does not answer by the deadline, each with the
    /// [`KeychainError`] as source. Nobody is asked to unlock anything.
    pub async fn open(config: MsalSecretServiceConfig) -> Result<Self, StoreError> {
        let signal = config.cache_path.as_deref().map(SignalFile::locate).transpose();
        let signal = signal.map_err(|error| Failure::Path(error).during(Operation::Open))?;
        let lock = ItemLock::new(&config, signal.as_ref());
        #[expect(clippy::expect_used, reason = "the constant is printable")]
        let record = StoreKey::new(Self::RECORD).expect("the constant is printable");
        let deadline = config.deadline;
        let store = Self {
            worker: Worker::new(
                deadline,
                Arc::clone(&config.clock),
                move || Connection::open(deadline),
                Connection::is_current,
            ),
            place: Arc::new(Place {
                query: Query {
                    attributes: config.attributes,
                    label: config.label,
                    encoding: config.encoding,
                },
                signal,
                clock: config.clock,
            }),
            lock,
            record,
        };
        store.document(Operation::Open).await?;
        Ok(store)
    }

    /// The key of the one record.
    #[must_use]
    pub fn record(&self) -> StoreKey {
        self.record.clone()
    }

    /// The document, if there is one.
    async fn document(&self, operation: Operation) -> Result<Option<Bytes>, StoreError> {
        let place = Arc::clone(&self.place);
        let read = move |connection: &Connection| match place.query.find(&connection.service)?.content {
            Content::Absent { .. } => Ok(Ok(None)),
            Content::Document { json, .. } => Ok(Ok(Some(json))),
            Content::Foreign => Ok(Err(Failure::Foreign)),
        };
        let read = self.worker.run(read).await.map_err(Failure::Keychain).flatten();
        read.map_err(|failure| failure.during(operation))
    }

    async fn write(&self, operation: Operation, json: Bytes, condition: Condition) -> Result<(), StoreError> {
        let held = self
            .lock
            .acquire()
            .await
            .map_err(|failure| failure.during(operation))?;
        let permit = Permit::new(held);
        let revoke = RevokeOnDrop(Arc::clone(&permit));
        let place = Arc::clone(&self.place);
        let write = self.worker.run(move |connection| {
            match place.write(&connection.service, &json, condition, &permit) {
                Err(Failure::Keychain(error)) => Err::<_, KeychainError>(error),
                outcome => Ok(outcome),
            }
        });
        let Err(failure) = write.await.map_err(Failure::Keychain).flatten() else {
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

    fn check_payload(&self, key: &StoreKey, payload: &[u8], options: &PutOptions) -> Result<(), StoreError> {
        let refused = |kind, context: String| Err(StoreError::new(kind, Operation::Put, context));
        if *key != self.record {
            let context = format!(
                "an item of MSAL programs holds one record, {}; {key} needs a store of its own",
                self.record
            );
            return refused(ErrorKind::Unsupported, context);
        }
        if options.expires_at.is_some() {
            let context = "an item of MSAL programs has no place for an expiry; write without one";
            return refused(ErrorKind::Unsupported, context.to_owned());
        }
        if payload.len() > Self::MAX_VALUE_BYTES {
            let context = format!("{} bytes; at most {}", payload.len(), Self::MAX_VALUE_BYTES);
            return refused(ErrorKind::TooLarge, context);
        }
        if Shape::of(payload) != Shape::Whole || payload == DELETED {
            let context = "an item of MSAL programs holds a JSON object, and these bytes are none";
            return refused(ErrorKind::InvalidArgument, context.to_owned());
        }
        Ok(())
    }
}

impl Place {
    fn write(
        &self,
        service: &SecretService<'_>,
        json: &[u8],
        condition: Condition,
        permit: &Permit<Held>,
    ) -> Result<(), Failure> {
        let held = permit.begin().ok_or(Failure::Abandoned)?;
        let found = self.query.find(service)?;
        if matches!(found.content, Content::Foreign) {
            return Err(Failure::Foreign);
        }
        let current = found.content.version();
        let applies = match condition {
            Condition::Put(PutMode::Overwrite) => true,
            Condition::Put(PutMode::Create) => current.is_none(),
            Condition::Put(PutMode::Update(expected)) => current == Some(expected),
            Condition::Delete(expected) => expected.is_none() || current == expected,
        };
        if !applies {
            return Err(Failure::Conflict);
        }
        if current.is_none() && matches!(condition, Condition::Delete(_)) {
            return Ok(());
        }
        if !held.is_held() {
            return Err(Failure::LockLost);
        }
        if !permit.commit() {
            return Err(Failure::Abandoned);
        }
        // Before it too: should this process end between the two, programs must not go on with what they have in memory, and write that
        // over it.
        self.say_that_it_changes();
        self.query.write(service, &found, json)?;
        // Still under the lock: a program that takes it next must see that it has to read.
        self.say_that_it_changes();
        Ok(())
    }

    fn say_that_it_changes(&self) {
        if let Some(signal) = &self.signal
            && let Err(error) = signal.touch(&*self.clock)
        {
            tracing::warn!(
                %error,
                "the item is written, but running programs do not notice: the time of the file at the cache path cannot be set"
            );
        }
    }
}

impl fmt::Debug for MsalSecretServiceStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MsalSecretServiceStore")
            .field("attributes", &self.place.query.attributes)
            .field("signal", &self.place.signal)
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for MsalSecretServiceStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        if *key != self.record {
            return Ok(None);
        }
        let document = self.document(Operation::Get).await?;
        Ok(document.map(|payload| Record {
            version: version_of(&payload),
            payload,
            expires_at: None,
        }))
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        if *key != self.record {
            return Ok(None);
        }
        let document = self.document(Operation::Head).await?;
        Ok(document.map(|payload| version_of(&payload)))
    }

    /// As the contract says, for the one record. The payload must be a JSON object, and no expiry can be kept. A future that is dropped
    /// before the item is being written has no effect.
    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        self.check_payload(key, &payload, &options)?;
        let version = version_of(&payload);
        self.write(Operation::Put, payload, Condition::Put(options.mode))
            .await?;
        Ok(version)
    }

    /// As the contract says. An item with an empty cache is left: it is another program's, and programs that find none write back what
    /// they have in memory.
    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        if *key == self.record {
            let empty = Bytes::from_static(DELETED);
            return self
                .write(Operation::Delete, empty, Condition::Delete(expected))
                .await;
        }
        match expected {
            None => Ok(()),
            Some(_) => Err(StoreError::conflict(Operation::Delete)),
        }
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        if !self.record.as_str().starts_with(prefix) {
            return stream::empty().boxed();
        }
        let listed = async move {
            let document = self.document(Operation::Scan).await;
            let listed = document.map(|found| found.map(|payload| (self.record(), version_of(&payload))));
            listed.transpose()
        };
        stream::once(listed).filter_map(std::future::ready).boxed()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            compare_and_swap: match self.place.signal {
                Some(_) => CompareAndSwap::Host,
                None => CompareAndSwap::Process,
            },
            versions: Versions::ContentHash,
            native_expiry: false,
            max_value_bytes: Self::MAX_VALUE_BYTES,
            persistence: Persistence::Disk,
            // The keychain that is asked is the one that stored it.
            shows_early: false,
            watch: false,
        }
    }

    fn watch(&self) -> Option<&dyn Watch> {
        None
    }
}
