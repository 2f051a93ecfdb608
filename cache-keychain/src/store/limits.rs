//! How much a keychain takes.

use super::wire;
use crate::platform::KeychainKind;

/// Of how many bytes a value is kept beside its key at most, rather than in items of its own.
const MAX_INLINE_BYTES: usize = 4096;

/// How many items the list of records itself may be divided into.
pub(super) const MAX_INDEX_CHUNKS: usize = 8;

/// How much a keychain takes, in bytes. A [`KeychainStore`](super::KeychainStore) finds it out by itself; set it for a keychain that is
/// not listed here, which otherwise is taken to be as narrow as the narrowest.
///
/// ```
/// use cache_keychain::KeychainLimits;
///
/// let roomy = KeychainLimits { item_bytes: 64 << 10, value_bytes: 256 << 10 };
/// assert!(roomy.item_bytes > KeychainLimits::WINDOWS.item_bytes);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeychainLimits {
    /// The longest content of one item.
    pub item_bytes: usize,
    /// The longest value that a record may have, in as many items as it needs. A keychain whose size as a whole is limited must have room
    /// for it twice, because a value is replaced only when the next one is complete.
    pub value_bytes: usize,
}

impl KeychainLimits {
    /// The Secret Service. It names no limit; 1 MiB was tried with GNOME Keyring.
    pub const SECRET_SERVICE: Self = Self {
        item_bytes: 256 << 10,
        value_bytes: 1 << 20,
    };

    /// The keyrings of the Linux kernel: 32,767 bytes a key, but by default 20,000 bytes, names included, for all keys of a user
    /// (`/proc/sys/kernel/keys/maxbytes`).
    pub const KEYUTILS: Self = Self {
        item_bytes: 16_000,
        value_bytes: 8_000,
    };

    /// The Windows Credential Manager: 2,560 bytes a credential (`CRED_MAX_CREDENTIAL_BLOB_SIZE`).
    pub const WINDOWS: Self = Self {
        item_bytes: 2_560,
        value_bytes: 64 << 10,
    };

    /// The macOS keychain, which names no limit. Not tried.
    pub const MACOS: Self = Self {
        item_bytes: 64 << 10,
        value_bytes: 1 << 20,
    };

    /// Those of the keychain, which a library that calls itself `vendor` opened; of one that is not known, the narrowest.
    pub(super) fn of(kind: KeychainKind, vendor: &str) -> Self {
        match kind {
            KeychainKind::SecretService => Self::SECRET_SERVICE,
            KeychainKind::Keyutils => Self::KEYUTILS,
            KeychainKind::MacosKeychain => Self::MACOS,
            KeychainKind::WindowsCredentialManager => Self::WINDOWS,
            KeychainKind::Injected => Self::of_vendor(vendor),
        }
    }

    fn of_vendor(vendor: &str) -> Self {
        let known = [
            ("Secret Service", Self::SECRET_SERVICE),
            ("Linux keyutils", Self::KEYUTILS),
            ("macOS Keychain", Self::MACOS),
        ];
        let found = known.iter().find(|(name, _)| vendor.starts_with(name));
        found.map_or(Self::WINDOWS, |(_, limits)| *limits)
    }

    /// Whether the manifest has room for what the longest value needs of it.
    pub(super) fn are_usable(self) -> bool {
        self.item_bytes > 0 && wire::root_length(self.reserve(), 0) < self.item_bytes / 2
    }

    /// The longest value that is kept beside its key.
    pub(super) fn inline_bytes(self) -> usize {
        MAX_INLINE_BYTES.min(self.item_bytes / 4)
    }

    /// The longest list of records that is kept in the manifest's own item.
    pub(super) fn inline_index_bytes(self) -> usize {
        self.item_bytes - wire::root_length(self.reserve(), 0)
    }

    /// How many items may be on their way at once, which the manifest always has room to name: those of the longest value and of the
    /// longest list of records.
    pub(super) fn reserve(self) -> usize {
        self.value_bytes.div_ceil(self.item_bytes) + MAX_INDEX_CHUNKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_keychain_has_room_for_the_manifest_of_its_longest_value() {
        for limits in [
            KeychainLimits::SECRET_SERVICE,
            KeychainLimits::KEYUTILS,
            KeychainLimits::WINDOWS,
            KeychainLimits::MACOS,
        ] {
            assert!(limits.are_usable(), "{limits:?}");
            assert!(limits.inline_index_bytes() > limits.inline_bytes(), "{limits:?}");
        }
        let narrow = KeychainLimits {
            item_bytes: 64,
            value_bytes: 64,
        };
        assert!(!narrow.are_usable());
        let empty = KeychainLimits {
            item_bytes: 0,
            value_bytes: 0,
        };
        assert!(!empty.are_usable());
    }

    #[test]
    fn an_unknown_keychain_is_taken_to_be_narrow() {
        assert_eq!(
            KeychainLimits::of(KeychainKind::Injected, "something new"),
            KeychainLimits::WINDOWS
        );
        assert_eq!(
            KeychainLimits::of(KeychainKind::Injected, "Linux keyutils, https://example.com"),
            KeychainLimits::KEYUTILS
        );
    }
}
