//! What a keychain can fail with.

use std::fmt;

use crate::platform;

/// Why a call of the keychain failed. `Display` says what failed and what to do next; the cause is in
/// [`source`](std::error::Error::source). It never holds a secret.
#[derive(Debug)]
pub struct KeychainError {
    kind: KeychainErrorKind,
    context: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeychainErrorKind {
    /// There is no keychain: no session bus, no service on it, no default keyring, or a kernel without keyrings.
    Absent,
    /// The keychain is locked, and nobody unlocked it.
    Locked,
    /// The keychain did not answer in time. A write may have been made.
    TimedOut,
    /// The keychain, or the system, does not allow it.
    Denied,
    /// The connection to the keychain ended during the call: its daemon was stopped or replaced. A write may have been made.
    Disconnected,
    /// There is no such item.
    Missing,
    /// Several items bear the name.
    Ambiguous,
    /// The item is too long, or the keychain is full.
    TooLarge,
    /// What the keychain holds under the name is not what this program put there.
    Malformed,
    /// This keychain, or this platform, cannot do it.
    Unsupported,
    /// Anything else.
    Other,
}

impl KeychainErrorKind {
    /// Whether there is no keychain for this program: none at all, none that the system allows, or none that it was built with. Only then does
    /// [`KeyPolicy::PreferKeychain`](crate::KeyPolicy::PreferKeychain) take the other key; a keychain that is locked or hangs is there.
    #[must_use]
    pub fn means_no_keychain(self) -> bool {
        matches!(self, Self::Absent | Self::Denied | Self::Unsupported)
    }

    /// What makes a keychain usable that is not, in the words that a sentence begins with.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Absent => "start a keychain in this session",
            Self::Locked => "unlock your login keyring",
            Self::TimedOut => "see why the keychain does not answer",
            Self::Denied => "have this program allowed to use the keychain",
            Self::Unsupported => "use a program that was built with the keychain",
            Self::TooLarge => "remove what is no longer needed from the keychain",
            _ => "try again",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Absent => "there is no keychain: nobody offers one on the session bus",
            Self::Locked => "the keychain is locked; unlock your login keyring",
            Self::TimedOut => {
                "the keychain did not answer in time; it may be waiting to be unlocked, or hang"
            }
            Self::Denied => "the keychain, or the system, does not allow it",
            Self::Disconnected => {
                "the keychain ended during the call, and another may have taken its place; try again"
            }
            Self::Missing => "the keychain has no such item",
            Self::Ambiguous => "the keychain has several items of this name; remove all but one",
            Self::TooLarge => {
                "the keychain is full, or takes no item of this length; remove what is no longer needed"
            }
            Self::Malformed => "the keychain's item is not what this program wrote",
            Self::Unsupported => "this keychain cannot do it",
            Self::Other => "the keychain failed",
        }
    }
}

impl KeychainError {
    pub(crate) fn new(kind: KeychainErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            source: None,
        }
    }

    /// With the words that say of the kind what there is to say.
    pub(crate) fn of_kind(kind: KeychainErrorKind) -> Self {
        Self::new(kind, kind.sentence())
    }

    /// What a platform's library says; of the kind `otherwise` where it is not known what that means.
    pub(crate) fn of_library(
        source: Box<dyn std::error::Error + Send + Sync>,
        otherwise: KeychainErrorKind,
    ) -> Self {
        let kind = platform::meaning_of(&*source).unwrap_or(otherwise);
        Self::of_kind(kind).with_source(source)
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What a library of the `keyring` family says. Errors of it may hold the secret itself, which goes no further.
    pub(crate) fn of_keyring(error: keyring_core::Error) -> Self {
        use keyring_core::Error as Keyring;
        match error {
            Keyring::NoEntry => Self::of_kind(KeychainErrorKind::Missing),
            Keyring::Ambiguous(_) => Self::of_kind(KeychainErrorKind::Ambiguous),
            Keyring::NoStorageAccess(source) => Self::of_library(source, KeychainErrorKind::Locked),
            Keyring::PlatformFailure(source) => Self::of_library(source, KeychainErrorKind::Other),
            Keyring::TooLong(what, limit) => Self::new(
                KeychainErrorKind::TooLarge,
                format!("the keychain takes at most {limit} bytes as {what}"),
            ),
            Keyring::BadEncoding(_) | Keyring::BadDataFormat(..) | Keyring::BadStoreFormat(_) => {
                Self::of_kind(KeychainErrorKind::Malformed)
            }
            Keyring::NotSupportedByStore(what) => Self::new(KeychainErrorKind::Unsupported, what),
            Keyring::Invalid(what, why) => Self::new(
                KeychainErrorKind::Unsupported,
                format!("the keychain does not take {what}: {why}"),
            ),
            _ => Self::of_kind(KeychainErrorKind::Other),
        }
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> KeychainErrorKind {
        self.kind
    }

    /// Whether the keychain as such cannot be used now, so that it is not known what it holds.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        use KeychainErrorKind::{Absent, Disconnected, Locked, TimedOut};
        matches!(self.kind, Absent | Locked | TimedOut | Disconnected)
    }
}

impl fmt::Display for KeychainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl std::error::Error for KeychainError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
