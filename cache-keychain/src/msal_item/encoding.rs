//! What programs put into their items, and how.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cache_core::secret::SecretBytes;
use cache_core::store::Version;
use sha2::{Digest, Sha256};

/// What a deleted record leaves: a cache without anything. The item stays, because it is not ours to remove, and because programs that
/// find none go on with what they have in memory.
pub(super) const DELETED: &[u8] = b"{}\n";

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How a program writes its cache into an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ItemEncoding {
    /// The JSON itself: MSAL Node and MSAL Python.
    Json,
    /// Base64 of the JSON: MSAL .NET, Go and Java.
    Base64,
}

impl ItemEncoding {
    /// The content of an item that holds the document.
    pub(super) fn encode(self, json: &[u8]) -> SecretBytes {
        SecretBytes::new(match self {
            Self::Json => json.to_vec(),
            Self::Base64 => STANDARD.encode(json).into_bytes(),
        })
    }
}

/// What an item holds.
pub(super) enum Content {
    /// No document: there is no item, or it holds nothing.
    Absent {
        /// How the item is written, where there is one that shows it.
        encoding: Option<ItemEncoding>,
    },
    /// A document, so far as can be seen without reading it.
    Document { json: Bytes, encoding: ItemEncoding },
    /// Something else.
    Foreign,
}

impl Content {
    pub(super) fn of(secret: &SecretBytes) -> Self {
        let bytes = secret.expose();
        let Some(first) = first_byte(bytes) else {
            return Self::Absent { encoding: None };
        };
        if first == b'{' {
            return Self::document(bytes.to_vec(), ItemEncoding::Json);
        }
        // Some wrap the lines.
        let text = SecretBytes::new(
            bytes
                .iter()
                .copied()
                .filter(|byte| !byte.is_ascii_whitespace())
                .collect(),
        );
        match STANDARD.decode(text.expose()) {
            Ok(json) if first_byte(&json) == Some(b'{') => Self::document(json, ItemEncoding::Base64),
            _ => Self::Foreign,
        }
    }

    fn document(json: Vec<u8>, encoding: ItemEncoding) -> Self {
        if json == DELETED {
            return Self::Absent {
                encoding: Some(encoding),
            };
        }
        Self::Document {
            json: json.into(),
            encoding,
        }
    }

    /// The version of the document: the beginning of its hash, because items have no place for another.
    pub(super) fn version(&self) -> Option<Version> {
        match self {
            Self::Document { json, .. } => Some(version_of(json)),
            Self::Absent { .. } | Self::Foreign => None,
        }
    }

    pub(super) fn encoding(&self) -> Option<ItemEncoding> {
        match self {
            Self::Absent { encoding } => *encoding,
            Self::Document { encoding, .. } => Some(*encoding),
            Self::Foreign => None,
        }
    }
}

pub(super) fn version_of(json: &[u8]) -> Version {
    let hash: [u8; 32] = Sha256::digest(json).into();
    let mut version = [0; 16];
    version.copy_from_slice(&hash[..16]);
    Version::from_bytes(version)
}

/// Whether the bytes are a JSON object.
pub(super) fn is_object(bytes: &[u8]) -> bool {
    first_byte(bytes) == Some(b'{') && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

/// The first that is neither white space nor part of a byte order mark.
fn first_byte(bytes: &[u8]) -> Option<u8> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    bytes.iter().copied().find(|byte| !byte.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(bytes: &[u8]) -> Content {
        Content::of(&SecretBytes::new(bytes.to_vec()))
    }

    #[test]
    fn both_encodings_are_told_apart_and_give_the_same_document() {
        let json = b"{\"Account\":{}}";
        for (bytes, expected) in [
            (json.to_vec(), ItemEncoding::Json),
            (
                ItemEncoding::Base64.encode(json).expose().to_vec(),
                ItemEncoding::Base64,
            ),
            (b"eyJBY2Nv\r\ndW50Ijp7fX0=\n".to_vec(), ItemEncoding::Base64),
        ] {
            let found = content(&bytes);
            assert_eq!(found.encoding(), Some(expected));
            assert_eq!(found.version(), Some(version_of(json)));
        }
    }

    #[test]
    fn what_is_no_document_is_told_apart_from_nothing() {
        for nothing in [&b""[..], b" \n", b"\xef\xbb\xbf", b"{}\n", b"e30K"] {
            assert!(matches!(content(nothing), Content::Absent { .. }), "{nothing:?}");
        }
        assert_eq!(content(b"e30K").encoding(), Some(ItemEncoding::Base64));
        for foreign in [&b"hunter2"[..], b"[]", b"\0\x01", b"aHVudGVyMg=="] {
            assert!(matches!(content(foreign), Content::Foreign), "{foreign:?}");
        }
    }

    #[test]
    fn only_an_object_is_written() {
        assert!(is_object(b" {\"a\":1} "));
        for other in [&b"[]"[..], b"{", b"{} {}", b"", b"eyJ9"] {
            assert!(!is_object(other), "{other:?}");
        }
    }
}
