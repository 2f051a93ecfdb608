//! The keychains that operating systems have: each opened by its library's store, with a look before each call.
//!
//! The stores of the `keyring` family report most of what goes wrong as one error, and some ask the user by themselves. So this crate
//! looks first whether the keychain is there, the one that was opened, and unlocked.

#[cfg(all(target_os = "linux", feature = "keyutils"))]
mod keyutils;

#[cfg(not(all(target_os = "linux", feature = "keyutils", feature = "native")))]
mod missing;
#[cfg(all(target_os = "macos", feature = "native"))]
#[path = "macos.rs"]
mod system;
#[cfg(all(windows, feature = "native"))]
#[path = "windows.rs"]
mod system;
#[cfg(all(unix, not(target_vendor = "apple"), feature = "native"))]
#[path = "secret_service.rs"]
mod system;
#[cfg(not(all(target_os = "linux", feature = "keyutils")))]
use missing as keyutils;
#[cfg(not(all(
    any(unix, windows),
    any(not(target_vendor = "apple"), target_os = "macos"),
    feature = "native"
)))]
use missing as system;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use keyring_core::Entry;
use keyring_core::api::{CredentialPersistence, CredentialStore};

use crate::config::KeychainConfig;
use crate::error::{KeychainError, KeychainErrorKind};

/// Which keychain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeychainKind {
    /// The Secret Service of freedesktop.org: GNOME Keyring, KWallet, KeePassXC and others.
    SecretService,
    /// The keyrings of the Linux kernel.
    Keyutils,
    /// Keychain Services of macOS.
    MacosKeychain,
    /// The Credential Manager of Windows.
    WindowsCredentialManager,
    /// One that the program brought along: [`Keychain::with_store`](crate::Keychain::with_store).
    Injected,
}

impl KeychainKind {
    /// The number that stands for it in what is stored.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::SecretService => 1,
            Self::Keyutils => 2,
            Self::MacosKeychain => 3,
            Self::WindowsCredentialManager => 4,
            Self::Injected => 5,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [
            Self::SecretService,
            Self::Keyutils,
            Self::MacosKeychain,
            Self::WindowsCredentialManager,
            Self::Injected,
        ]
        .into_iter()
        .find(|kind| kind.code() == code)
    }
}

impl fmt::Display for KeychainKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SecretService => "the Secret Service",
            Self::Keyutils => "the kernel's keyrings",
            Self::MacosKeychain => "the macOS keychain",
            Self::WindowsCredentialManager => "the Windows Credential Manager",
            Self::Injected => "the given keychain",
        })
    }
}

/// How long a keychain keeps what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeychainPersistence {
    /// Until it is deleted: it is on disk.
    Disk,
    /// Until the machine is restarted, and not for ever without use: keyrings of the kernel that outlive a session, for three days
    /// after they were last used unless the administrator chose otherwise.
    UntilRestart,
    /// Until the user's session ends.
    Session,
    /// Until this process ends.
    Process,
    /// The keychain does not say.
    Unknown,
}

impl KeychainPersistence {
    pub(crate) fn of(store: &CredentialStore) -> Self {
        match store.persistence() {
            CredentialPersistence::UntilDelete => Self::Disk,
            CredentialPersistence::UntilReboot => Self::UntilRestart,
            CredentialPersistence::UntilLogout => Self::Session,
            CredentialPersistence::ProcessOnly | CredentialPersistence::EntryOnly => Self::Process,
            _ => Self::Unknown,
        }
    }
}

/// A keychain that was opened.
pub(crate) struct Connection {
    pub(crate) store: Arc<CredentialStore>,
    pub(crate) look: Box<dyn Look>,
    /// What items are made with, beside service and name.
    modifiers: Vec<(&'static str, String)>,
}

impl Connection {
    pub(crate) fn injected(store: Arc<CredentialStore>) -> Self {
        Self {
            store,
            look: Box::new(NoLook),
            modifiers: Vec::new(),
        }
    }

    /// The item `name`, there or not.
    pub(crate) fn item(&self, service: &str, name: &str) -> Result<Entry, KeychainError> {
        self.look.check_items(service, Some(name))?;
        let modifiers: HashMap<&str, &str> = self
            .modifiers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let modifiers = (!modifiers.is_empty()).then_some(&modifiers);
        self.store
            .build(service, name, modifiers)
            .map_err(KeychainError::of_keyring)
    }

    /// The names of the service's items.
    pub(crate) fn names(&self, service: &str) -> Result<Vec<String>, KeychainError> {
        self.look.check_items(service, None)?;
        if let Some(names) = self.look.names(service) {
            return names;
        }
        let found = self.store.search(&HashMap::from([("service", service)]));
        let found = found.map_err(KeychainError::of_keyring)?;
        Ok(found
            .iter()
            .filter_map(Entry::get_specifiers)
            .filter(|(its_service, _)| its_service == service)
            .map(|(_, name)| name)
            .collect())
    }
}

/// What is seen of a keychain without using an item of it, and without asking its user.
pub(crate) trait Look: Send {
    /// Whether what was opened is what the next call would meet. If not, it is opened anew.
    fn is_current(&self) -> bool {
        true
    }

    /// Whether it can be used now.
    fn check(&self) -> Result<(), KeychainError> {
        Ok(())
    }

    /// Whether the item `name`, or every item of the service, can be used now: it may be in another place than where new ones are put.
    fn check_items(&self, _service: &str, _name: Option<&str>) -> Result<(), KeychainError> {
        Ok(())
    }

    /// Has the user unlock it, and waits for that.
    fn unlock(&self) -> Result<(), KeychainError> {
        Ok(())
    }

    /// The program that keeps the items.
    fn program(&self) -> Option<String> {
        None
    }

    /// Where it is known better than the library's store does.
    fn persistence(&self) -> Option<KeychainPersistence> {
        None
    }

    /// The names of the service's items, where the library's store cannot search.
    fn names(&self, _service: &str) -> Option<Result<Vec<String>, KeychainError>> {
        None
    }
}

struct NoLook;

impl Look for NoLook {}

/// What opens a keychain, on its thread.
pub(crate) type Open = Box<dyn Fn() -> Result<Connection, KeychainError> + Send + Sync>;

/// The keychain of the system.
pub(crate) fn native(config: &KeychainConfig) -> (KeychainKind, Open) {
    let kind = if cfg!(target_vendor = "apple") {
        KeychainKind::MacosKeychain
    } else if cfg!(windows) {
        KeychainKind::WindowsCredentialManager
    } else {
        KeychainKind::SecretService
    };
    (kind, system::opener(config))
}

/// The keyrings of the Linux kernel.
pub(crate) fn keyutils(config: &KeychainConfig) -> (KeychainKind, Open) {
    (KeychainKind::Keyutils, keyutils::opener(config))
}

/// What an error of a platform's library means; `None` where it is not one that is known.
pub(crate) fn meaning_of(
    error: &(dyn std::error::Error + Send + Sync + 'static),
) -> Option<KeychainErrorKind> {
    system::meaning_of(error).or_else(|| keyutils::meaning_of(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_for_one_kind_each() {
        for code in 0..=u8::MAX {
            if let Some(kind) = KeychainKind::from_code(code) {
                assert_eq!(kind.code(), code);
            }
        }
        assert_eq!(KeychainKind::from_code(0), None);
        assert_eq!(KeychainKind::from_code(1), Some(KeychainKind::SecretService));
        assert_eq!(KeychainKind::from_code(6), None);
    }
}
