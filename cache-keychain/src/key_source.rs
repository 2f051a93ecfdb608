//! The key of a cache, in a keychain.

use std::fmt;

use async_trait::async_trait;
use cache_core::random::{Random, random_bytes};
use cache_core::seal::{KeySource, KeySourceError, SealError, Sealer, SecretKey, SourceDescription};
use cache_core::secret::SecretBytes;
use zeroize::Zeroizing;

use crate::error::{KeychainError, KeychainErrorKind};
use crate::keychain::Keychain;
use crate::platform::KeychainKind;

/// In the item: readable, as KWallet keeps text only, and named, so that nothing else is taken for a key.
const HEADER: &[u8] = b"tokenkeep key-encryption key 1 ";
const ITEM_BYTES: usize = HEADER.len() + SecretKey::BYTES * 2;
const NAME_PREFIX: &str = "key-";
const NAME_BYTES: usize = 16;

/// The layout of the parameters: this number, the keychain's, the name.
const PARAMETERS_VERSION: u8 = 1;
const PARAMETER_BYTES: usize = 2 + NAME_BYTES;

/// Keeps the key-encryption key in a keychain, as an item of its own for each ring.
///
/// The item has a random name of 128 bits, which the ring names. So of racing first starts each makes a key of its own, and the ones
/// whose rings were not stored remove theirs; a keychain that comes back, or that is another, is never asked for a key that it does not
/// have and never given a second one in its place. A key is made when a ring is made or wrapped anew, and at no other time: where the
/// item is missing the error says so.
///
/// ```no_run
/// use std::sync::Arc;
/// use cache_core::random::OsRandom;
/// use cache_core::seal::{Namespace, Sealer};
/// use cache_core::store::MemoryStore;
/// use cache_core::time::SystemClock;
/// use cache_keychain::{Keychain, KeychainConfig, KeychainKeySource};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let source = KeychainKeySource::new(Keychain::native(KeychainConfig::new("example")));
/// let sealer = Sealer::open(
///     Arc::new(MemoryStore::new()),
///     Namespace::new("example")?,
///     Arc::new(source.clone()),
///     Arc::new(SystemClock),
///     Arc::new(OsRandom),
/// )
/// .await?;
///
/// // Years later: a new key, and the former one kept until nothing can bring its ring back.
/// let former = source.rotate(&sealer).await?;
/// for former in former {
///     source.delete_former(&former, &sealer).await?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Cancellation safety
///
/// A dropped [`create`](KeySource::create) may leave an item that no ring names: see [`unused`](Self::unused).
#[derive(Clone)]
pub struct KeychainKeySource {
    keychain: Keychain,
}

impl KeychainKeySource {
    /// The kind that the ring record names.
    pub const KIND: &str = "keychain";

    /// A source that keeps its keys in `keychain`.
    #[must_use]
    pub fn new(keychain: Keychain) -> Self {
        Self { keychain }
    }

    /// The keychain.
    #[must_use]
    pub fn keychain(&self) -> &Keychain {
        &self.keychain
    }

    /// Seals the ring of `sealer` under a new key, and tells what the former one is named, if it is in a keychain.
    ///
    /// The former key stays: processes that run have the ring that it opens, and a backup of the store, a replica that takes over or a
    /// snapshot may bring that ring back. Remove it by [`delete_former`](Self::delete_former) once none of them can.
    ///
    /// Not cancellation safe: the ring may be sealed under the new key or not. [`Sealer::key_source`] tells.
    ///
    /// # Errors
    /// As [`Sealer::rewrap`]. The new key is removed again, unless the ring may have been stored.
    pub async fn rotate(&self, sealer: &Sealer) -> Result<Option<SourceDescription>, SealError> {
        sealer.reload().await?;
        let former = sealer.key_source().await;
        sealer.rewrap(std::sync::Arc::new(self.clone())).await?;
        Ok(former.filter(|former| former.kind() == Self::KIND))
    }

    /// Removes the key `former`, after looking in the store that the ring of `sealer` is sealed under another. Whether it was there.
    ///
    /// It cannot know of other rings: those of other stores and namespaces under one keychain, and of outage copies.
    ///
    /// # Errors
    /// [`KeySourceError::Parameters`] when the ring still needs it, or when it is not the name of a key; otherwise as
    /// [`delete`](Self::delete). That the ring cannot be read is [`KeySourceError::Other`].
    pub async fn delete_former(
        &self,
        former: &SourceDescription,
        sealer: &Sealer,
    ) -> Result<bool, KeySourceError> {
        sealer.reload().await.map_err(|error| KeySourceError::Other {
            what: "the ring could not be read, so it is not known which key it needs; nothing was removed"
                .to_owned(),
            source: Some(error.into()),
        })?;
        if sealer.key_source().await.as_ref() == Some(former) {
            return Err(KeySourceError::Parameters {
                what: "the ring is sealed under this key; rotate first".to_owned(),
            });
        }
        self.delete(former).await
    }

    /// Removes the key that `description` names, **without looking whether a ring needs it**: a cache that does cannot be opened any
    /// more. Whether it was there.
    ///
    /// # Errors
    /// [`KeySourceError::Mismatch`] and [`KeySourceError::Parameters`] when it does not name a key of this keychain;
    /// [`KeySourceError::Unavailable`] when the keychain cannot be used.
    pub async fn delete(&self, description: &SourceDescription) -> Result<bool, KeySourceError> {
        let name = self.name_in(description)?;
        self.keychain
            .remove(&name.item())
            .await
            .map_err(|error| self.failed(error, REMOVING))
    }

    /// What the item of the key that `description` names is called in the keychain's own program: `key-` and 32 hexadecimal digits.
    ///
    /// # Errors
    /// [`KeySourceError::Mismatch`] and [`KeySourceError::Parameters`] when it does not name a key of this keychain.
    pub fn item_name(&self, description: &SourceDescription) -> Result<String, KeySourceError> {
        Ok(self.name_in(description)?.item())
    }

    /// All keys of this application in the keychain, for [`delete`](Self::delete): those that rings name and those that none does.
    ///
    /// # Errors
    /// [`KeySourceError::Unavailable`] when the keychain cannot be used; [`KeySourceError::Unsupported`] where it cannot search, as on
    /// Windows.
    pub async fn list(&self) -> Result<Vec<SourceDescription>, KeySourceError> {
        let names = self.keychain.names().await.map_err(|error| match error.kind() {
            KeychainErrorKind::Unsupported => KeySourceError::Unsupported {
                what: "this keychain cannot list its items; look at them in its program",
            },
            _ => self.failed(error, LISTING),
        })?;
        let names = names.iter().filter_map(|name| Name::of_item(name));
        names.map(|name| name.describe(self.keychain.kind())).collect()
    }

    /// The keys of this application that none of `needed` is, where `needed` is what *all* its rings say
    /// ([`Sealer::key_source`]): of every store, every namespace and every outage copy. They are left by processes that ended
    /// while they made a ring, by rotation, and by rings that were removed.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn unused(
        &self,
        needed: &[SourceDescription],
    ) -> Result<Vec<SourceDescription>, KeySourceError> {
        let mut keys = self.list().await?;
        keys.retain(|key| !needed.contains(key));
        Ok(keys)
    }

    /// Checks every bound of what a ring says: anyone who can write to the store may have written it.
    fn name_in(&self, description: &SourceDescription) -> Result<Name, KeySourceError> {
        description.expect_kind(Self::KIND)?;
        let parameters: &[u8; PARAMETER_BYTES] = description.parameters().try_into().map_err(|_| {
            let what = format!(
                "{} bytes in place of {PARAMETER_BYTES}",
                description.parameters().len()
            );
            KeySourceError::Parameters { what }
        })?;
        let [version, code, name @ ..] = parameters;
        if *version != PARAMETERS_VERSION {
            let what = format!("version {version} of the name of a key; use a newer program");
            return Err(KeySourceError::Parameters { what });
        }
        let kind = KeychainKind::from_code(*code).ok_or_else(|| KeySourceError::Parameters {
            what: format!("keychain {code} is not known; use a newer program"),
        })?;
        if kind != self.keychain.kind() {
            return Err(KeySourceError::Mismatch {
                ring: format!("{} ({kind})", Self::KIND),
                given: format!("{} ({})", Self::KIND, self.keychain.kind()),
            });
        }
        Ok(Name(*name))
    }

    fn place(&self) -> String {
        format!("the key in {}", self.keychain.kind())
    }

    fn failed(&self, error: KeychainError, next: &str) -> KeySourceError {
        use KeychainErrorKind as Kind;
        match error.kind() {
            Kind::Absent
            | Kind::Locked
            | Kind::TimedOut
            | Kind::Disconnected
            | Kind::Denied
            | Kind::Unsupported => KeySourceError::Unavailable {
                place: self.place(),
                what: format!("{}{next}", error.kind().advice()),
                source: Some(error.into()),
            },
            Kind::Ambiguous | Kind::Malformed => KeySourceError::Malformed {
                place: self.place(),
                what: "the keychain has something else, or several items, under its name",
            },
            Kind::Missing | Kind::TooLarge | Kind::Other => KeySourceError::Other {
                what: format!("{} could not be kept or found", self.place()),
                source: Some(error.into()),
            },
        }
    }

    /// The key in what was read, with what to say where that failed.
    fn key_in(
        &self,
        read: Result<Option<SecretBytes>, KeychainError>,
        next: &str,
    ) -> Result<SecretKey, KeySourceError> {
        let content = read.map_err(|error| self.failed(error, next))?;
        let content = content.ok_or_else(|| KeySourceError::Missing { place: self.place() })?;
        decode(content.expose()).ok_or_else(|| KeySourceError::Malformed {
            place: self.place(),
            what: "the item is not what this program wrote",
        })
    }
}

/// What to say after the advice, where the keychain cannot be used.
const CREATING: &str = ", or start with `--key file:PATH`";
const READING: &str = ": the cache is sealed with a key that only the keychain has";
const LISTING: &str = ": only the keychain knows its keys";
const REMOVING: &str = ": it is not known what was removed";

impl fmt::Debug for KeychainKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeychainKeySource")
            .field("keychain", &self.keychain)
            .finish()
    }
}

#[async_trait]
impl KeySource for KeychainKeySource {
    fn kind(&self) -> &str {
        Self::KIND
    }

    async fn create(&self, random: &dyn Random) -> Result<(SecretKey, SourceDescription), KeySourceError> {
        let key = SecretKey::random(random)?;
        let name = Name(random_bytes(random)?);
        let description = name.describe(self.keychain.kind())?;
        self.keychain
            .write(&name.item(), encode(&key))
            .await
            .map_err(|error| self.failed(error, CREATING))?;
        // Read back before anything depends on it: there are keychains that accept what they do not keep.
        let read = self.keychain.read(&name.item()).await;
        // It was there a moment ago, so this is no reason to take another key.
        let read = read.map_err(|error| match error.kind() {
            KeychainErrorKind::Absent => {
                KeychainError::of_kind(KeychainErrorKind::Disconnected).with_source(error)
            }
            _ => error,
        });
        match self.key_in(read, CREATING) {
            Ok(kept) if kept == key => Ok((key, description)),
            kept => {
                let _ = self.delete(&description).await;
                Err(kept.err().unwrap_or_else(|| KeySourceError::Malformed {
                    place: self.place(),
                    what: "the keychain gives back another key than it was given",
                }))
            }
        }
    }

    async fn load(&self, description: &SourceDescription) -> Result<SecretKey, KeySourceError> {
        let name = self.name_in(description)?;
        self.key_in(self.keychain.read(&name.item()).await, READING)
    }

    async fn discard(&self, description: &SourceDescription) -> Result<(), KeySourceError> {
        self.delete(description).await.map(drop)
    }
}

/// The random name of a key's item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name([u8; NAME_BYTES]);

impl Name {
    /// Of an item; `None` where the item is something else than a key.
    fn of_item(item: &str) -> Option<Self> {
        let mut name = [0; NAME_BYTES];
        read_hex(item.strip_prefix(NAME_PREFIX)?.as_bytes(), &mut name)?;
        Some(Self(name))
    }

    fn item(self) -> String {
        let digits = self.0.iter().map(|byte| format!("{byte:02x}"));
        std::iter::once(NAME_PREFIX.to_owned()).chain(digits).collect()
    }

    fn describe(self, keychain: KeychainKind) -> Result<SourceDescription, KeySourceError> {
        let parameters = [&[PARAMETERS_VERSION, keychain.code()], self.0.as_slice()].concat();
        SourceDescription::new(KeychainKeySource::KIND, parameters)
    }
}

fn encode(key: &SecretKey) -> SecretBytes {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // In full at once: no copy of the key stays behind in memory that was given back.
    let mut content = Vec::with_capacity(ITEM_BYTES);
    content.extend_from_slice(HEADER);
    for byte in key.expose() {
        content.push(DIGITS[usize::from(byte >> 4)]);
        content.push(DIGITS[usize::from(byte & 15)]);
    }
    SecretBytes::new(content)
}

fn decode(content: &[u8]) -> Option<SecretKey> {
    let mut key = Zeroizing::new([0; SecretKey::BYTES]);
    read_hex(content.strip_prefix(HEADER)?, key.as_mut_slice())?;
    Some(SecretKey::from_bytes(&key))
}

/// Lower-case digits of exactly the length.
fn read_hex(digits: &[u8], bytes: &mut [u8]) -> Option<()> {
    if digits.len() != bytes.len() * 2 {
        return None;
    }
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_and_names_are_read_back() {
        let key = SecretKey::from_bytes(&std::array::from_fn(|at| u8::try_from(at * 7).unwrap()));
        let content = encode(&key);
        assert_eq!(content.expose().len(), ITEM_BYTES);
        assert!(std::str::from_utf8(content.expose()).is_ok());
        assert_eq!(decode(content.expose()), Some(key));

        let name = Name([0xa5; NAME_BYTES]);
        assert_eq!(name.item(), format!("key-{}", "a5".repeat(16)));
        assert_eq!(Name::of_item(&name.item()), Some(name));
    }

    #[test]
    fn what_is_no_key_and_no_name_is_refused() {
        let content = encode(&SecretKey::from_bytes(&[7; 32]));
        let content = content.expose();
        for at in 0..content.len() {
            assert!(decode(&content[..at]).is_none(), "{at}");
        }
        assert!(decode(&[content, b"0".as_slice()].concat()).is_none());
        assert!(decode(&content.to_ascii_uppercase()).is_none());
        let mut damaged = content.to_vec();
        *damaged.last_mut().unwrap() = b'g';
        assert!(decode(&damaged).is_none());

        for item in ["", "key-", "key-a5", "probe-a5", "a5"] {
            assert_eq!(Name::of_item(item), None, "{item}");
        }
        assert_eq!(Name::of_item(&format!("key-{}", "A5".repeat(16))), None);
        assert_eq!(Name::of_item(&format!("probe-{}", "a5".repeat(16))), None);
    }
}
