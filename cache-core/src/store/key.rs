//! Names of records and of their writes.

use std::fmt;
use std::sync::Arc;

use crate::random::{Random, RandomError, random_bytes};

/// The name of a record: 1 to 512 bytes of printable ASCII without spaces.
///
/// That is the intersection of what SQL, Redis, HTTP and file systems accept without quoting.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey(Arc<str>);

impl StoreKey {
    /// The longest key, in bytes.
    pub const MAX_BYTES: usize = 512;

    /// Checks and takes `text`.
    ///
    /// # Errors
    /// [`InvalidStoreKey`] when it is empty, too long, or has a byte outside `!`..=`~`.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidStoreKey> {
        let text = text.as_ref();
        if text.is_empty() || text.len() > Self::MAX_BYTES || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidStoreKey { length: text.len() });
        }
        Ok(Self(text.into()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A text that cannot be a [`StoreKey`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a store key has 1 to 512 bytes of printable ASCII without spaces; this text has {length} bytes or others"
)]
pub struct InvalidStoreKey {
    length: usize,
}

/// Which write a record comes from: 16 opaque bytes that never recur for a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version([u8; 16]);

impl Version {
    /// A version from its bytes; only a backend makes one.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A version of 128 random bits, which is what makes it never recur, even after delete and recreate.
    ///
    /// # Errors
    /// When no random bytes can be had.
    pub fn random(random: &dyn Random) -> Result<Self, RandomError> {
        random_bytes(random).map(Self)
    }

    /// The version's bytes, to store beside the record.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({self})")
    }
}
