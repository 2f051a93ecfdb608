//! Several users of one backend, each under a prefix of its own.

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, future, stream};
use tokio::sync::mpsc;

use super::error::{ErrorKind, Operation};
use super::{
    Capabilities, InvalidStoreKey, PutOptions, Record, Store, StoreError, StoreKey, Version, Watch,
    WatchEvent,
};

/// A store whose keys are those of the inner one that start with a prefix, without it.
///
/// Nothing is put between prefix and key: end the prefix with a separator, or `a` + `b/1` and `ab` + `/1` are one.
/// A key that is too long together with the prefix is refused with `InvalidArgument`.
///
/// # Order
/// Outermost, or at least outside whatever names keys: inside of it, keys have their prefix.
///
/// ```
/// use cache_core::store::{MemoryStore, Store, StoreExt};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let backend = MemoryStore::new();
/// // Right: "tenant-1/" is the outer name, and the key ends up as `app/tenant-1/…`.
/// let store = backend.clone().with_prefix("app/")?.with_prefix("tenant-1/")?;
/// // Wrong, although it compiles: the key ends up as `tenant-1/app/…`, where a scan of the backend for `app/`
/// // does not find it.
/// let wrong = backend.with_prefix("tenant-1/")?.with_prefix("app/")?;
/// # Ok(())
/// # }
/// ```
///
/// # Cancellation safety
/// As the inner store.
#[derive(Clone, Debug)]
pub struct PrefixStore<S> {
    inner: S,
    prefix: StoreKey,
}

impl<S: Store> PrefixStore<S> {
    /// The part of `inner` under `prefix`.
    ///
    /// # Errors
    /// [`InvalidStoreKey`] when the prefix could not be the beginning of a key.
    pub fn new(inner: S, prefix: impl AsRef<str>) -> Result<Self, InvalidStoreKey> {
        let prefix = StoreKey::new(prefix)?;
        Ok(Self { inner, prefix })
    }

    fn inner_key(&self, key: &StoreKey, operation: Operation) -> Result<StoreKey, StoreError> {
        StoreKey::new(format!("{}{key}", self.prefix)).map_err(|source| {
            let context = format!("the key is too long together with the prefix {:?}", self.prefix);
            StoreError::new(ErrorKind::InvalidArgument, operation, context).with_source(source)
        })
    }
}

/// The key without the prefix; `None` when it does not have it, or is nothing else.
fn outer_key(prefix: &StoreKey, key: &StoreKey) -> Option<StoreKey> {
    StoreKey::new(key.as_str().strip_prefix(prefix.as_str())?).ok()
}

/// A scan that keeps its prefix.
///
/// A scan borrows its prefix, and this one was made on the way: a future owns both and hands the items over.
fn scan_owned<S: Store>(store: &S, prefix: String) -> BoxStream<'_, Result<(StoreKey, Version), StoreError>> {
    let (sender, receiver) = mpsc::channel(1);
    let drive = async move {
        let mut scan = store.scan(&prefix);
        while let Some(item) = scan.next().await {
            if sender.send(item).await.is_err() {
                return;
            }
        }
    };
    let driven = stream::once(drive).filter_map(|()| future::ready(None));
    let items = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|item| (item, receiver))
    });
    stream::select(driven, items).boxed()
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for PrefixStore<S> {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.inner.get(&self.inner_key(key, Operation::Get)?).await
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        self.inner.head(&self.inner_key(key, Operation::Head)?).await
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        let key = self.inner_key(key, Operation::Put)?;
        self.inner.put(&key, payload, options).await
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        let key = self.inner_key(key, Operation::Delete)?;
        self.inner.delete(&key, expected).await
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        scan_owned(&self.inner, format!("{}{prefix}", self.prefix))
            .filter_map(|item| {
                future::ready(match item {
                    Ok((key, version)) => outer_key(&self.prefix, &key).map(|key| Ok((key, version))),
                    Err(error) => Some(Err(error)),
                })
            })
            .boxed()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn watch(&self) -> Option<&dyn Watch> {
        self.inner.watch().map(|_| self as &dyn Watch)
    }
}

impl<S: Store> Watch for PrefixStore<S> {
    fn subscribe(&self) -> BoxStream<'static, WatchEvent> {
        let Some(watch) = self.inner.watch() else {
            return stream::pending().boxed();
        };
        let prefix = self.prefix.clone();
        watch
            .subscribe()
            .filter_map(move |event| {
                future::ready(match event {
                    WatchEvent::Changed(key, version) => {
                        outer_key(&prefix, &key).map(|key| WatchEvent::Changed(key, version))
                    }
                    WatchEvent::Lost => Some(WatchEvent::Lost),
                })
            })
            .boxed()
    }
}
