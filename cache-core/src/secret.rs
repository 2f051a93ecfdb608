//! Values that must never be seen: tokens, keys, passwords.
//!
//! [`Secret`] and [`SecretBytes`] print as `[redacted]`, are wiped when dropped, and compare in constant
//! time. The only way to read one is an `expose` call, which is easy to find in a review.

use std::fmt;

use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// A secret string: an access token, a refresh token, a client secret.
#[derive(Clone, Default)]
pub struct Secret(String);

impl Secret {
    /// Takes ownership of `value`; the caller should keep no copy.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself. Keep the borrow short and never log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the secret is the empty string, which no token may be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// SHA-256 of the secret: names a token in markers and comparisons without revealing it.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        wipe_bytes(&mut std::mem::take(&mut self.0).into_bytes());
    }
}

/// Constant time in the content; the length is not hidden.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl<'a> From<&'a Secret> for SecretRef<'a> {
    fn from(secret: &'a Secret) -> Self {
        Self::new(secret.expose())
    }
}

/// A secret string that lives in a larger buffer, which is wiped when it is dropped.
#[derive(Clone, Copy, Default)]
pub struct SecretRef<'a>(&'a str);

impl<'a> SecretRef<'a> {
    /// `value` must lie in memory that is wiped.
    pub(crate) fn new(value: &'a str) -> Self {
        Self(value)
    }

    /// The secret itself. Keep the borrow short and never log it.
    #[must_use]
    pub fn expose(self) -> &'a str {
        self.0
    }

    /// Whether the secret is the empty string, which no token may be.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// SHA-256 of the secret: names a token in markers and comparisons without revealing it.
    #[must_use]
    pub fn sha256(self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// A copy that may outlive the buffer.
    #[must_use]
    pub fn to_secret(self) -> Secret {
        Secret::new(self.0)
    }
}

impl fmt::Debug for SecretRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Constant time in the content; the length is not hidden.
impl PartialEq for SecretRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SecretRef<'_> {}

/// As between two [`Secret`]s.
impl PartialEq<Secret> for SecretRef<'_> {
    fn eq(&self, other: &Secret) -> bool {
        *self == SecretRef::from(other)
    }
}

/// As between two [`Secret`]s.
impl PartialEq<SecretRef<'_>> for Secret {
    fn eq(&self, other: &SecretRef<'_>) -> bool {
        *other == *self
    }
}

/// A text that holds secrets among other things, of exactly its length in memory.
#[derive(Default)]
pub(crate) struct SecretText(Box<str>);

impl SecretText {
    /// `text` should have no spare capacity, else it is copied.
    pub(crate) fn new(text: String) -> Self {
        if text.len() == text.capacity() {
            return Self(text.into_boxed_str());
        }
        let text = Zeroizing::new(text);
        Self(Box::from(text.as_str()))
    }

    /// The text itself.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for SecretText {
    fn drop(&mut self) {
        wipe_bytes(&mut String::from(std::mem::take(&mut self.0)).into_bytes());
    }
}

/// Overwrites all that was allocated, at the speed of a copy: `zeroize` does it byte by byte, which takes longer than to open a record.
fn wipe_bytes(bytes: &mut Vec<u8>) {
    let capacity = bytes.capacity();
    bytes.clear();
    bytes.resize(capacity, 0);
    // The compiler must believe that somebody looks at the zeros.
    zeroize::optimization_barrier(bytes.as_slice());
    bytes.clear();
}

/// Secret bytes: a key, a decrypted record.
#[derive(Clone, Default)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes ownership of `value`; the caller should keep no copy.
    #[must_use]
    pub fn new(value: Vec<u8>) -> Self {
        Self(value)
    }

    /// The secret itself. Keep the borrow short and never log it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes the secret has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        wipe_bytes(&mut self.0);
    }
}

/// Constant time in the content; the length is not hidden.
impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for SecretBytes {}

impl From<Vec<u8>> for SecretBytes {
    fn from(value: Vec<u8>) -> Self {
        Self::new(value)
    }
}

/// A JSON object of unknown meaning, kept for somebody else. It may hold secrets, so it is treated as one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretJson(serde_json::Map<String, Value>);

impl SecretJson {
    /// Takes ownership of `fields`.
    #[must_use]
    pub fn new(fields: serde_json::Map<String, Value>) -> Self {
        Self(fields)
    }

    /// The fields themselves. Keep the borrow short and never log them.
    #[must_use]
    pub fn expose(&self) -> &serde_json::Map<String, Value> {
        &self.0
    }

    /// The fields, to change.
    pub fn expose_mut(&mut self) -> &mut serde_json::Map<String, Value> {
        &mut self.0
    }

    /// Whether there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for SecretJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Drop for SecretJson {
    fn drop(&mut self) {
        for (_, mut value) in std::mem::take(&mut self.0) {
            wipe(&mut value);
        }
    }
}

/// Wipes the texts of a JSON value, which does not do so itself when it is dropped.
pub(crate) fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_content() {
        let fields = serde_json::json!({ "a": "canary" });
        let shown = format!(
            "{:?} {:?} {:?} {:?}",
            Secret::new("canary"),
            SecretRef::new("canary"),
            SecretBytes::new(b"canary".to_vec()),
            SecretJson::new(fields.as_object().cloned().unwrap())
        );
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn all_that_was_allocated_is_overwritten() {
        let mut bytes = b"canary canary".to_vec();
        bytes.truncate(3);
        let (capacity, address) = (bytes.capacity(), bytes.as_ptr());
        wipe_bytes(&mut bytes);
        assert!(bytes.is_empty());
        bytes.resize(capacity, 1);
        assert_eq!(bytes.as_ptr(), address, "in place, without another allocation");
    }

    #[test]
    fn equality_is_of_the_content() {
        assert_eq!(Secret::new("a"), Secret::new("a"));
        assert_ne!(Secret::new("a"), Secret::new("b"));
        assert_ne!(Secret::new("a"), Secret::new("aa"));
        assert_eq!(SecretRef::new("a"), Secret::new("a"));
        assert_ne!(Secret::new("a"), SecretRef::new("b"));
        assert_eq!(
            SecretRef::new("a").sha256(),
            SecretRef::new("a").to_secret().sha256()
        );
    }
}
