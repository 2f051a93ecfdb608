//! A keychain in memory, as narrow as that of Windows, which dies or hangs when it is told to.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex};

use cache_core::random::{OsRandom, random_bytes};
use cache_core::time::{Clock, SystemClock};
use cache_keychain::{Keychain, KeychainConfig, KeychainLimits, KeychainStore, KeychainStoreConfig};
use keyring_core::api::{CredentialApi, CredentialPersistence, CredentialStoreApi};
use keyring_core::{Credential, Entry, Error, Result};

/// Where the items are, whoever opens it.
#[derive(Clone)]
pub(crate) struct Cabinet {
    pub(crate) service: String,
    items: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    limits: KeychainLimits,
    total_bytes: usize,
}

impl Cabinet {
    /// As narrow as the Windows Credential Manager.
    pub(crate) fn narrow() -> Self {
        Self::with_limits(KeychainLimits::WINDOWS)
    }

    /// As wide as the Secret Service.
    pub(crate) fn wide() -> Self {
        Self::with_limits(KeychainLimits::SECRET_SERVICE)
    }

    fn with_limits(limits: KeychainLimits) -> Self {
        let number = u64::from_le_bytes(random_bytes(&OsRandom).unwrap());
        Self {
            service: format!("tokenkeep-test-{number:x}"),
            items: Arc::default(),
            limits,
            total_bytes: usize::MAX,
        }
    }

    /// Takes no more than `bytes` in all.
    pub(crate) fn total_bytes(mut self, bytes: usize) -> Self {
        self.total_bytes = bytes;
        self
    }

    pub(crate) fn keychain(&self, plan: &Arc<Plan>, clock: Arc<dyn Clock>) -> Keychain {
        let (cabinet, plan) = (self.clone(), Arc::clone(plan));
        Keychain::with_store(KeychainConfig::new(&self.service).clock(clock), move || {
            Ok(Arc::new(Connection {
                cabinet: cabinet.clone(),
                plan: Arc::clone(&plan),
            }))
        })
    }

    /// The store in it, from which nothing goes wrong.
    pub(crate) async fn open(&self) -> KeychainStore {
        self.open_with(&Arc::default(), Arc::new(SystemClock)).await
    }

    pub(crate) async fn open_with(&self, plan: &Arc<Plan>, clock: Arc<dyn Clock>) -> KeychainStore {
        let config = KeychainStoreConfig::new().limits(self.limits);
        KeychainStore::open(self.keychain(plan, clock), config)
            .await
            .unwrap()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.items.lock().unwrap().keys().cloned().collect()
    }

    pub(crate) fn item(&self, name: &str) -> Option<Vec<u8>> {
        self.items.lock().unwrap().get(name).cloned()
    }

    pub(crate) fn set_item(&self, name: &str, content: &[u8]) {
        self.items
            .lock()
            .unwrap()
            .insert(name.to_owned(), content.to_vec());
    }

    pub(crate) fn remove_item(&self, name: &str) {
        self.items.lock().unwrap().remove(name);
    }
}

/// What goes wrong for one client.
#[derive(Default)]
pub(crate) struct Plan {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    changes: usize,
    dies_at: Option<usize>,
    hangs_at: Option<usize>,
    hanging: bool,
    /// How many reads found a manifest in the middle of a change, once reads do.
    torn: Option<u8>,
}

impl Plan {
    /// Lets `changes` more changes through; the client's program ends with the next one, before it is made.
    pub(crate) fn die_after(&self, changes: usize) {
        let mut state = self.state.lock().unwrap();
        state.dies_at = Some(state.changes + changes);
    }

    /// Lets `changes` more changes through; the next one hangs until it is released, and is made then.
    pub(crate) fn hang_after(&self, changes: usize) {
        let mut state = self.state.lock().unwrap();
        state.hangs_at = Some(state.changes + changes);
    }

    /// Every read finds another part of a manifest from now on, as if others wrote all the time.
    pub(crate) fn tear_reads(&self) {
        self.state.lock().unwrap().torn = Some(0);
    }

    fn torn_read(&self) -> Option<Vec<u8>> {
        let mut state = self.state.lock().unwrap();
        let count = state.torn.as_mut()?;
        *count += 1;
        Some([b"TKKS\x01", [*count].as_slice()].concat())
    }

    /// Waits until a change hangs.
    pub(crate) fn wait_until_it_hangs(&self) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| !state.hanging).unwrap());
    }

    pub(crate) fn release(&self) {
        let mut state = self.state.lock().unwrap();
        state.hangs_at = None;
        self.changed.notify_all();
    }

    fn before_a_change(&self) -> Result<()> {
        let mut state = self.state.lock().unwrap();
        if state.dies_at.is_some_and(|at| state.changes >= at) {
            return Err(Error::PlatformFailure("the program has ended".into()));
        }
        let number = state.changes;
        state.changes += 1;
        if state.hangs_at == Some(number) {
            state.hanging = true;
            self.changed.notify_all();
            state = self
                .changed
                .wait_while(state, |state| state.hangs_at == Some(number))
                .unwrap();
            state.hanging = false;
        }
        Ok(())
    }
}

struct Connection {
    cabinet: Cabinet,
    plan: Arc<Plan>,
}

impl CredentialStoreApi for Connection {
    fn vendor(&self) -> String {
        "in memory".to_owned()
    }

    fn id(&self) -> String {
        self.cabinet.service.clone()
    }

    fn build(&self, service: &str, user: &str, _: Option<&HashMap<&str, &str>>) -> Result<Entry> {
        assert_eq!(service, self.cabinet.service);
        Ok(Entry::new_with_credential(Arc::new(Item {
            cabinet: self.cabinet.clone(),
            plan: Arc::clone(&self.plan),
            name: user.to_owned(),
        })))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn persistence(&self) -> CredentialPersistence {
        CredentialPersistence::ProcessOnly
    }

    fn debug_fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

struct Item {
    cabinet: Cabinet,
    plan: Arc<Plan>,
    name: String,
}

impl CredentialApi for Item {
    fn set_secret(&self, secret: &[u8]) -> Result<()> {
        self.plan.before_a_change()?;
        let limit = self.cabinet.limits.item_bytes;
        if secret.len() > limit {
            return Err(Error::TooLong("secret".to_owned(), limit.try_into().unwrap()));
        }
        // As the kernel's keyrings.
        if secret.is_empty() {
            return Err(Error::Invalid("secret".to_owned(), "cannot be empty".to_owned()));
        }
        let mut items = self.cabinet.items.lock().unwrap();
        let others = items.iter().filter(|(name, _)| **name != self.name);
        let total: usize = others.map(|(_, content)| content.len()).sum();
        if total + secret.len() > self.cabinet.total_bytes {
            let total = self.cabinet.total_bytes.try_into().unwrap();
            return Err(Error::TooLong("all secrets".to_owned(), total));
        }
        items.insert(self.name.clone(), secret.to_vec());
        Ok(())
    }

    fn get_secret(&self) -> Result<Vec<u8>> {
        let torn = self.plan.torn_read();
        torn.or_else(|| self.cabinet.item(&self.name))
            .ok_or(Error::NoEntry)
    }

    fn delete_credential(&self) -> Result<()> {
        self.plan.before_a_change()?;
        let removed = self.cabinet.items.lock().unwrap().remove(&self.name);
        removed.map(|_| ()).ok_or(Error::NoEntry)
    }

    fn get_credential(&self) -> Result<Option<Arc<Credential>>> {
        Ok(None)
    }

    fn get_specifiers(&self) -> Option<(String, String)> {
        Some((self.cabinet.service.clone(), self.name.clone()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn debug_fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Item")
    }
}
