//! One keychain, however many use it.

use std::fmt;
use std::sync::Arc;

use cache_core::secret::SecretBytes;
use keyring_core::Entry;
use keyring_core::api::CredentialStore;

use crate::config::KeychainConfig;
use crate::error::{KeychainError, KeychainErrorKind};
use crate::worker::Worker;

/// One keychain, however many use it: cheap to clone. All calls are made on one thread of its own, each with a deadline.
#[derive(Clone)]
pub struct Keychain {
    pub(crate) config: KeychainConfig,
    pub(crate) worker: Arc<Worker<Arc<CredentialStore>>>,
}

impl Keychain {
    /// A keychain of the `keyring` family, which `open` opens on the keychain's thread, and anew whenever its connection ended.
    ///
    /// It is never made the process's default of `keyring-core`: that one is opened once, and a failure would be for good.
    pub fn with_store(
        config: KeychainConfig,
        open: impl Fn() -> keyring_core::Result<Arc<CredentialStore>> + Send + Sync + 'static,
    ) -> Self {
        let worker = Worker::new(config.deadline, Arc::clone(&config.clock), move || {
            open().map_err(KeychainError::of_keyring)
        });
        Self {
            config,
            worker: Arc::new(worker),
        }
    }
}

impl Keychain {
    /// What the item `name` holds, if it is there.
    pub(crate) async fn read(&self, name: &str) -> Result<Option<SecretBytes>, KeychainError> {
        let found = self.on_item(name, |item| item.get_secret()).await;
        match found {
            Err(error) if error.kind() == KeychainErrorKind::Missing => Ok(None),
            found => found.map(|bytes| Some(SecretBytes::new(bytes))),
        }
    }

    /// Makes the item `name`, or replaces what it holds.
    pub(crate) async fn write(&self, name: &str, content: SecretBytes) -> Result<(), KeychainError> {
        self.on_item(name, move |item| item.set_secret(content.expose()))
            .await
    }

    /// Removes the item `name`. Whether it was there.
    pub(crate) async fn remove(&self, name: &str) -> Result<bool, KeychainError> {
        match self.on_item(name, |item| item.delete_credential()).await {
            Err(error) if error.kind() == KeychainErrorKind::Missing => Ok(false),
            removed => removed.map(|()| true),
        }
    }

    async fn on_item<T: Send + 'static>(
        &self,
        name: &str,
        call: impl FnOnce(&Entry) -> keyring_core::Result<T> + Send + 'static,
    ) -> Result<T, KeychainError> {
        let (service, name) = (self.config.service.clone(), name.to_owned());
        let call = move |store: &Arc<CredentialStore>| {
            let item = store
                .build(&service, &name, None)
                .map_err(KeychainError::of_keyring)?;
            call(&item).map_err(KeychainError::of_keyring)
        };
        self.worker.run(call).await
    }
}

impl fmt::Debug for Keychain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keychain")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
