//! What is in a record of proof keys, and its bytes.

use std::fmt;

use zeroize::Zeroizing;

use crate::secret::{Secret, SecretBytes};

/// Which layout of the bytes this is.
pub(super) const SCHEMA: u16 = 1;

/// How many keys of sign-ins a record keeps beside the one in use. More than that many sign-ins of one account would have to end
/// within the time of one for a key to be lost that is needed, and then the user is asked once more.
const MOST_NEW: usize = 8;

/// A software key that tokens are bound to.
#[derive(Clone)]
pub struct ProofKey {
    /// What names the key in tokens: its thumbprint (RFC 7638).
    pub key_id: String,
    /// The private key, in whatever form its owner understands; PKCS#8 for the keys of `flows`.
    pub material: SecretBytes,
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProofKey")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: ProofKey,
    /// The hash of the refresh token that a sign-in brought with this key; `None` once that was spent, or for a key that no
    /// sign-in brought: it is then the one in use.
    pub(super) granted: Option<[u8; 32]>,
}

/// The keys of one owner, newest first.
#[derive(Clone, Default)]
pub(super) struct Keys(pub(super) Vec<Entry>);

impl Keys {
    /// The key that `refresh_token` is bound to: that of the sign-in that brought it, else the one in use. Without a refresh token
    /// the newest.
    pub(super) fn choose(&self, refresh_token: Option<&Secret>) -> Option<&Entry> {
        let Some(token) = refresh_token else {
            return self.0.first();
        };
        let hash = token.sha256();
        let brought = self.0.iter().find(|entry| entry.granted == Some(hash));
        brought.or_else(|| self.in_use())
    }

    pub(super) fn by_id(&self, key_id: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key.key_id == key_id)
    }

    /// Adds the key of a sign-in, unless it is there.
    pub(super) fn add(&mut self, key: &ProofKey, granted: [u8; 32]) {
        if self.by_id(&key.key_id).is_some() {
            return;
        }
        let entry = Entry {
            key: key.clone(),
            granted: Some(granted),
        };
        self.0.insert(0, entry);
        let mut new = 0;
        self.0.retain(|entry| {
            new += usize::from(entry.granted.is_some());
            entry.granted.is_none() || new <= MOST_NEW
        });
    }

    /// Makes `key_id` the key in use, in place of the one before. `false` when it was already.
    pub(super) fn settle(&mut self, key_id: &str) -> bool {
        let is_new = |entry: &Entry| entry.key.key_id == key_id && entry.granted.is_some();
        if !self.0.iter().any(is_new) {
            return false;
        }
        self.0.retain(|entry| entry.granted.is_some());
        for entry in self.0.iter_mut().filter(|entry| entry.key.key_id == key_id) {
            entry.granted = None;
        }
        true
    }

    pub(super) fn in_use(&self) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.granted.is_none())
    }

    /// Owner, then each key: whether it is in use, the hash, ID and material, each part behind its length.
    pub(super) fn encode(&self, owner: &[u8]) -> Zeroizing<Vec<u8>> {
        let bytes = |entry: &Entry| 48 + entry.key.key_id.len() + entry.key.material.len();
        let length = 8 + owner.len() + self.0.iter().map(bytes).sum::<usize>();
        // Allocated in full: growing would leave copies of keys in freed memory.
        let mut out = Zeroizing::new(Vec::with_capacity(length));
        append(&mut out, owner);
        for entry in &self.0 {
            append(&mut out, entry.granted.as_ref().map_or(&[][..], |hash| &hash[..]));
            append(&mut out, entry.key.key_id.as_bytes());
            append(&mut out, entry.key.material.expose());
        }
        out
    }

    /// Whether all of `others` are among these.
    pub(super) fn include(&self, others: &Self) -> bool {
        let has = |entry: &Entry| {
            self.by_id(&entry.key.key_id)
                .is_some_and(|held| held.key.material == entry.key.material)
        };
        others.0.iter().all(has)
    }

    /// Whose record these bytes are.
    pub(super) fn owner(mut bytes: &[u8]) -> Option<&[u8]> {
        take(&mut bytes)
    }

    /// `None` for bytes that are no such record, or another owner's.
    pub(super) fn decode(mut bytes: &[u8], owner: &[u8]) -> Option<Self> {
        if take(&mut bytes)? != owner {
            return None;
        }
        let mut keys = Vec::new();
        while !bytes.is_empty() {
            let granted = match take(&mut bytes)? {
                [] => None,
                hash => Some(hash.try_into().ok()?),
            };
            let key_id = std::str::from_utf8(take(&mut bytes)?).ok()?.to_owned();
            let material = SecretBytes::new(take(&mut bytes)?.to_vec());
            keys.push(Entry {
                key: ProofKey { key_id, material },
                granted,
            });
        }
        Some(Self(keys))
    }
}

fn append(out: &mut Vec<u8>, part: &[u8]) {
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(part);
}

fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (part, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> ProofKey {
        ProofKey {
            key_id: id.to_owned(),
            material: SecretBytes::new(format!("canary {id}").into_bytes()),
        }
    }

    fn hash(token: &str) -> [u8; 32] {
        Secret::new(token).sha256()
    }

    fn ids(keys: &Keys) -> Vec<&str> {
        keys.0.iter().map(|entry| &*entry.key.key_id).collect()
    }

    #[test]
    fn a_record_comes_back_as_it_was_and_only_for_its_owner() {
        let mut keys = Keys::default();
        keys.add(&key("a"), hash("1"));
        keys.settle("a");
        keys.add(&key("b"), hash("2"));
        let bytes = keys.encode(b"owner");
        let read = Keys::decode(&bytes, b"owner").unwrap();
        assert_eq!(ids(&read), ["b", "a"]);
        assert_eq!(read.0[0].granted, Some(hash("2")));
        assert_eq!(read.in_use().unwrap().key.material, key("a").material);
        assert!(Keys::decode(&bytes, b"other").is_none());
        for length in 0..bytes.len() {
            let cut = Keys::decode(&bytes[..length], b"owner");
            assert!(cut.is_none_or(|cut| cut.0.len() < 2), "{length}");
        }
        assert!(!format!("{:?}", key("a")).contains("canary"));
    }

    #[test]
    fn a_sign_in_s_key_counts_for_its_own_token_until_it_is_settled() {
        let mut keys = Keys::default();
        keys.add(&key("a"), hash("1"));
        assert!(keys.settle("a") && !keys.settle("a"));
        keys.add(&key("b"), hash("2"));
        let chosen = |keys: &Keys, token: &str| {
            keys.choose(Some(&Secret::new(token)))
                .map(|entry| entry.key.key_id.clone())
        };
        assert_eq!(chosen(&keys, "2").as_deref(), Some("b"));
        assert_eq!(
            chosen(&keys, "1 rotated").as_deref(),
            Some("a"),
            "the sign-in was never stored"
        );
        assert!(keys.settle("b"));
        assert_eq!(chosen(&keys, "2 rotated").as_deref(), Some("b"));
        assert_eq!(ids(&keys), ["b"]);
    }

    #[test]
    fn a_record_does_not_grow_for_ever_and_keeps_the_key_in_use() {
        let mut keys = Keys::default();
        keys.add(&key("used"), hash("0"));
        keys.settle("used");
        for number in 0..20 {
            keys.add(&key(&number.to_string()), hash(&number.to_string()));
        }
        assert_eq!(keys.0.len(), MOST_NEW + 1);
        assert!(keys.in_use().is_some() && keys.by_id("19").is_some());
    }
}
