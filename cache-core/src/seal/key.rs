//! Keys, their names, and how one key is derived from another.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroizing, zeroize_stack};

use crate::random::{Random, RandomError, random_bytes};

/// A secret of 256 uniformly random (or strongly derived) bits. Redacted in `Debug`, wiped when dropped.
pub struct SecretKey(Box<Zeroizing<[u8; Self::BYTES]>>);

/// More than hashes and key derivations use of the stack, in bytes.
pub(super) const USED_STACK: usize = 16 << 10;

impl SecretKey {
    /// The length of a key, in bytes.
    pub const BYTES: usize = 32;

    /// Copies `bytes`; the caller should wipe its own copy.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        // Boxed first and filled in place: moving the key later moves a pointer and leaves no copy behind.
        let mut key = Self::zero();
        key.0.copy_from_slice(bytes);
        key
    }

    /// A new key from `random`.
    ///
    /// # Errors
    /// When no random bytes can be had.
    pub fn random(random: &dyn Random) -> Result<Self, RandomError> {
        let mut key = Self::zero();
        random.fill(key.0.as_mut_slice())?;
        Ok(key)
    }

    /// The key itself. Keep the borrow short and never log it.
    #[must_use]
    pub fn expose(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// HKDF-SHA-256 (RFC 5869) of this key with `salt` (empty for none) and the label `info`.
    pub(super) fn derive(&self, salt: &[u8], info: &str) -> Self {
        let mut derived = Self::zero();
        self.derive_into(salt, info, derived.0.as_mut_slice());
        derived
    }

    /// The value that names this key without revealing it, so that a wrong key is told from a damaged record.
    ///
    /// GCM accepts one record under several keys; a commitment that is checked first takes that away
    /// ("partitioning oracle" attacks). It is constant per key and label, so it costs nothing per record.
    pub(super) fn commitment(&self, salt: &[u8], info: &str) -> [u8; 32] {
        let mut commitment = [0; 32];
        self.derive_into(salt, info, &mut commitment);
        commitment
    }

    pub(super) fn copy(&self) -> Self {
        Self::from_bytes(self.expose())
    }

    pub(super) fn zero() -> Self {
        Self(Box::new(Zeroizing::new([0; Self::BYTES])))
    }

    fn derive_into(&self, salt: &[u8], info: &str, output: &mut [u8]) {
        let expanded = Hkdf::<Sha256>::new(Some(salt), self.expose()).expand(info.as_bytes(), output);
        debug_assert!(expanded.is_ok(), "32 bytes are always within HKDF's limit");
        // HKDF leaves what it derived on the stack.
        zeroize_stack::<USED_STACK>();
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Constant time.
impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for SecretKey {}

/// The public name of a data key: 8 random bytes, in the header of every record that the key sealed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; Self::BYTES]);

impl KeyId {
    /// The length of a key ID, in bytes.
    pub const BYTES: usize = 8;

    /// A key ID from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Reads the 16 hexadecimal digits that [`Display`](fmt::Display) writes; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: [u8; Self::BYTES * 2] = text.as_bytes().try_into().ok()?;
        let mut bytes = [0; Self::BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// A new random key ID.
    ///
    /// # Errors
    /// When no random bytes can be had.
    pub fn random(random: &dyn Random) -> Result<Self, RandomError> {
        random_bytes(random).map(Self)
    }

    /// The ID's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Equality in constant time, so that a forger cannot search for a valid ID byte by byte.
    pub(super) fn matches(self, other: Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_keys_differ_by_label_and_salt() {
        let key = SecretKey::from_bytes(&[7; 32]);
        assert_ne!(key.derive(b"", "a"), key.derive(b"", "b"));
        assert_ne!(key.derive(b"", "a"), key.derive(b"salt", "a"));
        assert_eq!(key.derive(b"", "a"), key.derive(b"", "a"));
        assert_eq!(key.derive(b"", "a").expose(), &key.commitment(b"", "a"));
    }

    #[test]
    fn hkdf_agrees_with_an_independent_computation() {
        // HKDF-SHA-256 of 32 bytes 0x0b with no salt and no info,
        // computed with another language's HMAC.
        let key = SecretKey::from_bytes(&[0x0b; 32]);
        let shown: String = key
            .derive(b"", "")
            .expose()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(
            shown,
            "27488977d7c845fa17e618b4e225651a0a417521175396f455da2c465679eea8"
        );
    }

    #[test]
    fn key_ids_print_and_parse() {
        let id = KeyId::from_bytes([0, 1, 2, 0xab, 0xcd, 0xef, 0xff, 9]);
        assert_eq!(id.to_string(), "000102abcdefff09");
        assert_eq!(KeyId::parse("000102abcdefff09"), Some(id));
        assert_eq!(KeyId::parse("000102ABcdefff09"), None);
        assert_eq!(KeyId::parse("000102abcdefff0"), None);
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", SecretKey::from_bytes(&[0x41; 32])), "[redacted]");
    }
}
