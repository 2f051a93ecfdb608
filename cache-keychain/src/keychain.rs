//! One keychain, however many use it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache_core::secret::SecretBytes;
use cache_core::time::with_deadline;
use keyring_core::Entry;
use keyring_core::api::CredentialStore;
use tokio::sync::Mutex;

use crate::config::{KeychainConfig, Prompt};
use crate::error::{KeychainError, KeychainErrorKind};
use crate::platform::{self, Connection, KeychainKind, Open};
use crate::worker::Worker;

/// One keychain, however many use it: cheap to clone. All calls are made on one thread of its own, each with a deadline.
///
/// Nothing is opened before the first call, and it is opened anew whenever its connection ended or another program took its place.
/// Each call looks first whether the keychain is there and unlocked, without asking its user:
/// [`KeychainConfig::prompt`] says whether a locked one may ask.
///
/// ```no_run
/// use cache_keychain::{Keychain, KeychainConfig};
///
/// # async fn example() {
/// let keychain = Keychain::native(KeychainConfig::new("example"));
/// let report = keychain.examine().await;
/// println!("{report}");
/// # }
/// ```
#[derive(Clone)]
pub struct Keychain {
    pub(crate) config: KeychainConfig,
    kind: KeychainKind,
    worker: Arc<Worker<Connection>>,
    prompts: Arc<Prompts>,
}

/// Has the user be asked once for all calls that wait.
#[derive(Default)]
struct Prompts {
    turn: Mutex<()>,
    answered: AtomicU64,
}

impl Keychain {
    /// The keychain of the system: the Secret Service on Linux and the BSDs, Keychain Services on macOS, the Credential Manager on
    /// Windows. Elsewhere, and without the feature `native`, every call is
    /// [`Unsupported`](KeychainErrorKind::Unsupported).
    #[must_use]
    pub fn native(config: KeychainConfig) -> Self {
        let (kind, open) = platform::native(&config);
        Self::new(config, kind, open)
    }

    /// The keyrings of the Linux kernel, which keep items in memory: see [`KeychainPersistence`](crate::KeychainPersistence) in
    /// the report. Elsewhere, and without the feature `keyutils`, every call is [`Unsupported`](KeychainErrorKind::Unsupported).
    #[must_use]
    pub fn keyutils(config: KeychainConfig) -> Self {
        let (kind, open) = platform::keyutils(&config);
        Self::new(config, kind, open)
    }

    /// A keychain of the `keyring` family, which `open` opens on the keychain's thread, and anew whenever its connection ended.
    ///
    /// It is never made the process's default of `keyring-core`: that one is opened once, and a failure would be for good.
    pub fn with_store(
        config: KeychainConfig,
        open: impl Fn() -> keyring_core::Result<Arc<CredentialStore>> + Send + Sync + 'static,
    ) -> Self {
        let open = move || {
            open()
                .map(Connection::injected)
                .map_err(KeychainError::of_keyring)
        };
        Self::new(config, KeychainKind::Injected, Box::new(open))
    }

    fn new(config: KeychainConfig, kind: KeychainKind, open: Open) -> Self {
        let is_current = |connection: &Connection| connection.look.is_current();
        let worker = Worker::new(config.deadline, Arc::clone(&config.clock), open, is_current);
        Self {
            config,
            kind,
            worker: Arc::new(worker),
            prompts: Arc::default(),
        }
    }

    /// Which keychain.
    #[must_use]
    pub fn kind(&self) -> KeychainKind {
        self.kind
    }

    /// The name that its items are under.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.config.service
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

    /// The names of all items of the service.
    pub(crate) async fn names(&self) -> Result<Vec<String>, KeychainError> {
        let service = self.config.service.clone();
        self.on_connection(move |connection| connection.names(&service))
            .await
    }

    /// Makes one call whether the keychain is locked or not. It must not ask the user.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection) -> Result<T, KeychainError> + Send + 'static,
    ) -> Result<T, KeychainError> {
        self.worker.run(look).await
    }

    async fn on_item<T: Send + 'static>(
        &self,
        name: &str,
        call: impl FnOnce(&Entry) -> keyring_core::Result<T> + Send + 'static,
    ) -> Result<T, KeychainError> {
        let (service, name) = (self.config.service.clone(), name.to_owned());
        self.on_connection(move |connection| {
            let item = connection.item(&service, &name)?;
            call(&item).map_err(KeychainError::of_keyring)
        })
        .await
    }

    /// Makes one call, once the keychain is there and unlocked.
    ///
    /// It takes as long as the deadline at most, and where the user is asked, as long as that as well.
    pub(crate) async fn on_connection<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Connection) -> Result<T, KeychainError> + Send + 'static,
    ) -> Result<T, KeychainError> {
        let mut left = self.config.deadline;
        if let Prompt::WaitFor(longest) = self.config.prompt {
            let (seen, began) = (self.prompts.answered(), self.config.clock.monotonic());
            match self.check().await {
                Err(error) if error.kind() == KeychainErrorKind::Locked => self.unlock(longest, seen).await?,
                looked => {
                    looked?;
                    left = left.saturating_sub(self.config.clock.monotonic().saturating_sub(began));
                }
            }
        }
        let call = |connection: &Connection| {
            connection.look.check()?;
            call(connection)
        };
        self.worker.run_within(left, call).await
    }

    async fn check(&self) -> Result<(), KeychainError> {
        self.worker.run(|connection| connection.look.check()).await
    }

    /// Has the user be asked to unlock the keychain. The answer is one to all calls that waited for it: nobody is asked again for
    /// each. `seen` is how many answers there were before the keychain was found locked.
    async fn unlock(&self, longest: Duration, seen: u64) -> Result<(), KeychainError> {
        let (clock, began) = (&*self.config.clock, self.config.clock.monotonic());
        let turn = with_deadline(clock, longest, self.prompts.turn.lock()).await;
        let Some(_turn) = turn else {
            return Err(KeychainError::new(
                KeychainErrorKind::TimedOut,
                format!(
                    "the keychain is locked, and whoever was asked to unlock it did not within {longest:?}"
                ),
            ));
        };
        if self.prompts.answered() != seen {
            return self.check().await;
        }
        let left = longest.saturating_sub(clock.monotonic().saturating_sub(began));
        let asked = self
            .worker
            .run_within(left, |connection| connection.look.unlock())
            .await;
        self.prompts.answered.fetch_add(1, Ordering::AcqRel);
        asked
    }
}

impl Prompts {
    /// How many questions have had their answer.
    fn answered(&self) -> u64 {
        self.answered.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Keychain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keychain")
            .field("kind", &self.kind)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use cache_testkit::clock::ManualClock;
    use keyring_core::mock;

    use super::*;
    use crate::platform::Look;

    const DEADLINE: Duration = Duration::from_secs(5);

    /// A keychain that does not answer until the test lets it.
    struct Hung(Mutex<mpsc::Receiver<()>>);

    impl Look for Hung {
        fn check(&self) -> Result<(), KeychainError> {
            let _ = self.0.lock().unwrap().recv();
            Ok(())
        }
    }

    #[tokio::test]
    async fn calls_that_may_ask_the_user_end_by_their_deadline_together() {
        let clock = ManualClock::new();
        let (release, released) = mpsc::channel();
        let released = Mutex::new(Some(released));
        let open: Open = Box::new(move || {
            let mut connection = Connection::injected(mock::Store::new().unwrap());
            if let Some(released) = released.lock().unwrap().take() {
                connection.look = Box::new(Hung(Mutex::new(released)));
            }
            Ok(connection)
        });
        let config = KeychainConfig::new("test")
            .deadline(DEADLINE)
            .prompt(Prompt::WaitFor(DEADLINE * 10))
            .clock(Arc::new(clock.clone()));
        let keychain = Keychain::new(config, KeychainKind::Injected, open);
        let mut calls = Vec::new();
        for _ in 0..3 {
            let keychain = keychain.clone();
            calls.push(tokio::spawn(async move { keychain.read("item").await }));
            tokio::task::yield_now().await;
        }
        clock.advance(DEADLINE);
        for call in calls {
            let error = call.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), KeychainErrorKind::TimedOut, "{error}");
        }
        drop(release);
    }
}
