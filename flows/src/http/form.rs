//! Forms as bytes that are wiped.

use std::fmt;

use cache_core::secret::{Secret, SecretBytes};
use url::form_urlencoded;
use zeroize::Zeroizing;

/// An `application/x-www-form-urlencoded` body that may hold secrets.
///
/// It is wiped when dropped, also where it had to grow.
#[derive(Clone, Default)]
pub struct Form {
    encoded: Zeroizing<Vec<u8>>,
    secrets: Vec<Secret>,
}

impl Form {
    /// An empty form.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter.
    pub fn push(&mut self, name: &str, value: &str) {
        // Three bytes an encoded byte is the worst case. Growing by hand wipes the bytes that are left behind.
        self.reserve(name.len() * 3 + value.len() * 3 + 2);
        if !self.encoded.is_empty() {
            self.encoded.push(b'&');
        }
        self.encode(name);
        self.encoded.push(b'=');
        self.encode(value);
    }

    /// Adds a secret parameter.
    pub fn push_secret(&mut self, name: &str, value: &Secret) {
        self.push(name, value.expose());
        self.secrets.push(value.clone());
    }

    /// Adds a parameter unless it is empty.
    pub fn push_unless_empty(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.push(name, value);
        }
    }

    /// The parameters as they are encoded, which tells them apart as well and leaves no decoded copy behind.
    pub(crate) fn encoded_pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.encoded
            .split(|byte| *byte == b'&')
            .filter_map(|pair| {
                pair.iter()
                    .position(|byte| *byte == b'=')
                    .map(|at| pair.split_at(at))
            })
            .map(|(name, value)| (name, &value[1..]))
    }

    /// The encoded form.
    #[must_use]
    pub fn into_bytes(self) -> SecretBytes {
        self.into_parts().0
    }

    /// The encoded form, and the values of its secret parameters.
    pub(crate) fn into_parts(mut self) -> (SecretBytes, Vec<Secret>) {
        let encoded = std::mem::take(&mut *self.encoded);
        (SecretBytes::new(encoded), self.secrets)
    }

    fn encode(&mut self, text: &str) {
        for piece in form_urlencoded::byte_serialize(text.as_bytes()) {
            self.encoded.extend_from_slice(piece.as_bytes());
        }
    }

    fn reserve(&mut self, additional: usize) {
        if self.encoded.capacity() - self.encoded.len() >= additional {
            return;
        }
        let mut larger = Vec::with_capacity(
            (self.encoded.len() + additional)
                .max(self.encoded.capacity() * 2)
                .max(512),
        );
        larger.extend_from_slice(&self.encoded);
        self.encoded = Zeroizing::new(larger);
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Form([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_smuggle_parameters() {
        let mut form = Form::new();
        form.push("grant_type", "client_credentials");
        form.push("scope", "a&b=c d+e%é");
        form.push_unless_empty("claims", "");
        form.push_secret("client_secret", &Secret::new("s=1&x"));
        assert_eq!(
            std::str::from_utf8(form.into_bytes().expose()).unwrap(),
            "grant_type=client_credentials&scope=a%26b%3Dc+d%2Be%25%C3%A9&client_secret=s%3D1%26x"
        );
    }
}
