//! Where a record lives, and how that place is hidden and bound to the record.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::error::SealError;
use super::key::SecretKey;
use crate::store::StoreKey;

/// What a plaintext sealer appends to its namespace, so that it never meets a sealed record.
const PLAINTEXT_SUFFIX: &str = ".plaintext";
/// The length of a location tag, in bytes.
pub(super) const LOCATION_TAG_BYTES: usize = 16;

/// The first part of every key of one cache: 1 to 32 characters of `a`–`z`, `0`–`9`, `-`, `_` and `.`, beginning
/// with a letter or digit.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The longest namespace that a caller may choose, in bytes.
    pub const MAX_BYTES: usize = 32;

    /// Checks and takes `text`.
    ///
    /// # Errors
    /// [`InvalidNamespace`] when it is empty, too long, has other characters, or ends in `.plaintext`, which is
    /// reserved for the unsealed twin of a namespace.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidNamespace> {
        let text = text.as_ref();
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        let begins = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        if !begins
            || text.len() > Self::MAX_BYTES
            || !text.bytes().all(allowed)
            || text.ends_with(PLAINTEXT_SUFFIX)
        {
            return Err(InvalidNamespace { length: text.len() });
        }
        Ok(Self(text.into()))
    }

    /// The namespace as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What every key of this namespace starts with, to scan for.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("{self}/")
    }

    /// Whether only unsealed records may lie here.
    pub(super) fn is_plaintext(&self) -> bool {
        self.0.ends_with(PLAINTEXT_SUFFIX)
    }

    /// The twin that holds unsealed records; itself, if it is that already.
    pub(super) fn plaintext_twin(&self) -> Self {
        if self.is_plaintext() {
            return self.clone();
        }
        Self(format!("{self}{PLAINTEXT_SUFFIX}").into())
    }
}

/// `tokenkeep`.
impl Default for Namespace {
    fn default() -> Self {
        Self("tokenkeep".into())
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A text that cannot be a [`Namespace`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a namespace has 1 to 32 characters of a-z, 0-9, '-', '_' and '.', begins with a letter or digit and does not \
     end in \".plaintext\"; this text of {length} bytes does not: choose another"
)]
pub struct InvalidNamespace {
    length: usize,
}

/// What a record holds. It stands in clear in the record's key, so that a scan can choose, and is bound to the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecordKind {
    /// The accounts and tokens of one home account.
    User,
    /// The client-credentials tokens of one client and authority.
    App,
    /// The tokens of one on-behalf-of assertion or web session.
    Session,
    /// Unknown sections of an imported cache, kept for their owner.
    Residue,
    /// The software key of a proof-of-possession signer.
    ProofKey,
    /// A page of the directory of accounts.
    Directory,
    /// The key ring.
    KeyRing,
    /// A record that was moved aside.
    Quarantine,
    /// A record that is on its way from another cache.
    Migration,
}

impl RecordKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::User,
        Self::App,
        Self::Session,
        Self::Residue,
        Self::ProofKey,
        Self::Directory,
        Self::KeyRing,
        Self::Quarantine,
        Self::Migration,
    ];

    /// The kind's clear text in a key.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::App => "app",
            Self::Session => "session",
            Self::Residue => "residue",
            Self::ProofKey => "proof-key",
            Self::Directory => "directory",
            Self::KeyRing => "keyring",
            Self::Quarantine => "quarantine",
            Self::Migration => "migration",
        }
    }

    /// The kind of a clear text; `None` when there is none.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.tag() == tag)
    }

    /// The kind that the key of a record in `namespace` names; `None` for a key that is not of this layout.
    #[must_use]
    pub fn of(namespace: &Namespace, key: &StoreKey) -> Option<Self> {
        let rest = key.as_str().strip_prefix(namespace.as_str())?.strip_prefix('/')?;
        let (tag, name) = rest.split_once('/')?;
        if name.is_empty() {
            None
        } else {
            Self::from_tag(tag)
        }
    }
}

/// The place of one record: what its ciphertext and its tag are bound to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Location<'a> {
    namespace: &'a Namespace,
    kind: RecordKind,
    key: &'a StoreKey,
}

impl<'a> Location<'a> {
    /// The location of `key`, which must be a key of `kind` in `namespace`.
    pub(super) fn new(
        namespace: &'a Namespace,
        kind: RecordKind,
        key: &'a StoreKey,
    ) -> Result<Self, SealError> {
        if RecordKind::of(namespace, key) != Some(kind) {
            return Err(SealError::WrongLocation { key: key.clone() });
        }
        Ok(Self { namespace, kind, key })
    }

    /// Appends namespace, kind and key, each behind its length (4 bytes, big-endian), so that no two locations
    /// give the same bytes.
    pub(super) fn append_to(&self, bytes: &mut Vec<u8>) {
        for part in self.parts() {
            append_prefixed(bytes, part.as_bytes());
        }
    }

    fn parts(&self) -> [&'a str; 3] {
        [self.namespace.as_str(), self.kind.tag(), self.key.as_str()]
    }
}

pub(super) fn append_prefixed(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&length_prefix(part));
    bytes.extend_from_slice(part);
}

/// As [`append_prefixed`], into a hash.
fn hash_prefixed(hash: &mut Hmac<Sha256>, part: &[u8]) {
    hash.update(&length_prefix(part));
    hash.update(part);
}

fn length_prefix(part: &[u8]) -> [u8; 4] {
    // Parts are namespaces, tags and keys of at most 512 bytes.
    u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// `{namespace}/{kind}/{base64url(name)}`.
fn stored_text(namespace: &Namespace, kind: RecordKind, name: &[u8]) -> String {
    let (namespace, tag) = (namespace.as_str(), kind.tag());
    let mut text = String::with_capacity(namespace.len() + tag.len() + 6 + name.len() * 4 / 3);
    for part in [namespace, "/", tag, "/"] {
        text.push_str(part);
    }
    URL_SAFE_NO_PAD.encode_string(name, &mut text);
    text
}

/// The two keyed hashes that hide logical keys and bind records to their place.
///
/// They come from the ring's location key, which rotation leaves alone: otherwise every record would have to move.
#[derive(Clone)]
pub(super) struct LocationKeys {
    blinding: Hmac<Sha256>,
    tagging: Hmac<Sha256>,
}

impl LocationKeys {
    pub(super) fn new(location_key: &SecretKey) -> Self {
        Self {
            blinding: keyed(&location_key.derive(b"", "tokenkeep v1 stored key")),
            tagging: keyed(&location_key.derive(b"", "tokenkeep v1 location tag")),
        }
    }

    /// The keys that anyone can compute, for unsealed caches: uniform keys, but nothing is hidden.
    pub(super) fn public() -> Self {
        Self::new(&SecretKey::from_bytes(b"tokenkeep public location key v1"))
    }

    /// `{namespace}/{kind}/{base64url(HMAC-SHA-256(length-prefixed kind ‖ logical key))}`.
    pub(super) fn stored_key(&self, namespace: &Namespace, kind: RecordKind, logical_key: &[u8]) -> StoreKey {
        #[expect(
            clippy::expect_used,
            reason = "at most 42 + 1 + 10 + 1 + 43 bytes, all of them printable ASCII"
        )]
        StoreKey::new(stored_text(namespace, kind, &self.blinded(kind, logical_key)))
            .expect("a stored key is a store key")
    }

    /// `HMAC-SHA-256(length-prefixed kind ‖ logical key)`.
    pub(super) fn blinded(&self, kind: RecordKind, logical_key: &[u8]) -> [u8; 32] {
        let mut hash = self.blinding.clone();
        hash_prefixed(&mut hash, kind.tag().as_bytes());
        hash.chain_update(logical_key).finalize().into_bytes().into()
    }

    /// `{namespace}/{kind}/{base64url(logical key)}`, from which [`read_legible`] gets the logical key back; hidden where that
    /// would be too long for a store.
    pub(super) fn legible_key(
        &self,
        namespace: &Namespace,
        kind: RecordKind,
        logical_key: &[u8],
    ) -> StoreKey {
        StoreKey::new(stored_text(namespace, kind, logical_key))
            .unwrap_or_else(|_| self.stored_key(namespace, kind, logical_key))
    }

    /// The tag of a header: tells a record that was moved from one that was damaged.
    pub(super) fn tag(&self, location: &Location<'_>) -> [u8; LOCATION_TAG_BYTES] {
        let mut hash = self.tagging.clone();
        for part in location.parts() {
            hash_prefixed(&mut hash, part.as_bytes());
        }
        let hash = hash.finalize().into_bytes();
        let mut tag = [0; LOCATION_TAG_BYTES];
        tag.copy_from_slice(&hash[..LOCATION_TAG_BYTES]);
        tag
    }

    /// Whether `tag` is the tag of `location`, in constant time.
    pub(super) fn tag_matches(&self, location: &Location<'_>, tag: &[u8; LOCATION_TAG_BYTES]) -> bool {
        self.tag(location).ct_eq(tag).into()
    }
}

/// The logical key that [`LocationKeys::legible_key`] made `key` of; other bytes, or `None`, for any other key.
pub(super) fn read_legible(namespace: &Namespace, key: &StoreKey) -> Option<Vec<u8>> {
    RecordKind::of(namespace, key)?;
    let (_, name) = key.as_str().rsplit_once('/')?;
    URL_SAFE_NO_PAD.decode(name).ok()
}

fn keyed(key: &SecretKey) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    Hmac::new_from_slice(key.expose()).expect("a key of 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(text: &str) -> Namespace {
        Namespace::new(text).unwrap()
    }

    #[test]
    fn namespaces_are_short_lower_case_ascii() {
        for good in ["a", "tokenkeep", "web-1_x.y", &"n".repeat(32)] {
            assert!(Namespace::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "A",
            "a/b",
            "-a",
            ".a",
            "ä",
            "a b",
            "x.plaintext",
            &"n".repeat(33),
        ] {
            assert!(Namespace::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_longest_stored_key_fits_a_store() {
        let longest = namespace(&"n".repeat(Namespace::MAX_BYTES)).plaintext_twin();
        for kind in RecordKind::ALL {
            let key = LocationKeys::public().stored_key(&longest, kind, &[0; 10_000]);
            assert!(key.as_str().len() <= 120);
            assert_eq!(RecordKind::of(&longest, &key), Some(kind));
        }
    }

    #[test]
    fn stored_keys_depend_on_key_kind_and_location_key() {
        let ns = namespace("ns");
        let keys = LocationKeys::new(&SecretKey::from_bytes(&[1; 32]));
        let others = LocationKeys::new(&SecretKey::from_bytes(&[2; 32]));
        let key = keys.stored_key(&ns, RecordKind::User, b"alice");
        assert_eq!(key, keys.stored_key(&ns, RecordKind::User, b"alice"));
        assert_ne!(key, keys.stored_key(&ns, RecordKind::User, b"bob"));
        assert_ne!(key, others.stored_key(&ns, RecordKind::User, b"alice"));
        let name = |key: &StoreKey| key.as_str().rsplit('/').next().map(str::to_owned);
        assert_ne!(name(&key), name(&keys.stored_key(&ns, RecordKind::App, b"alice")));
        assert!(!key.as_str().contains("alice"));
    }

    #[test]
    fn a_legible_key_says_what_it_was_made_of() {
        let ns = namespace("ns");
        let key = LocationKeys::public().legible_key(&ns, RecordKind::User, b"alice");
        assert_eq!(read_legible(&ns, &key).as_deref(), Some(&b"alice"[..]));
        assert_eq!(read_legible(&namespace("other"), &key), None);
    }

    #[test]
    fn a_location_must_match_its_key() {
        let ns = namespace("ns");
        let key = LocationKeys::public().stored_key(&ns, RecordKind::User, b"alice");
        assert!(Location::new(&ns, RecordKind::User, &key).is_ok());
        assert!(
            Location::new(&ns, RecordKind::App, &key)
                .unwrap_err()
                .is_wrong_location()
        );
        assert!(Location::new(&namespace("n"), RecordKind::User, &key).is_err());
        assert!(Location::new(&namespace("ns2"), RecordKind::User, &key).is_err());
    }

    #[test]
    fn tags_tell_locations_apart() {
        let keys = LocationKeys::public();
        let ns = namespace("ns");
        let alice = keys.stored_key(&ns, RecordKind::User, b"alice");
        let bob = keys.stored_key(&ns, RecordKind::User, b"bob");
        let tag = keys.tag(&Location::new(&ns, RecordKind::User, &alice).unwrap());
        assert!(keys.tag_matches(&Location::new(&ns, RecordKind::User, &alice).unwrap(), &tag));
        assert!(!keys.tag_matches(&Location::new(&ns, RecordKind::User, &bob).unwrap(), &tag));
    }
}
