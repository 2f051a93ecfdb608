//! What programs put into their items, and how.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cache_core::secret::SecretBytes;
use cache_core::store::Version;

use crate::msal_file::json::Shape;
use crate::msal_file::reading::{DELETED, version_of, wiped};

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
    /// A JSON object, which is wiped when the last who reads it is done.
    Document { json: Bytes, encoding: ItemEncoding },
    /// Something else.
    Foreign,
}

impl Content {
    pub(super) fn of(secret: SecretBytes) -> Self {
        match Shape::of(secret.expose()) {
            Shape::Empty => return Self::Absent { encoding: None },
            Shape::Whole => return Self::document(secret, ItemEncoding::Json),
            // Items are written as a whole.
            Shape::Cut => return Self::Foreign,
            Shape::Foreign => {}
        }
        // Some wrap the lines.
        let text = SecretBytes::new(
            secret
                .expose()
                .iter()
                .copied()
                .filter(|byte| !byte.is_ascii_whitespace())
                .collect(),
        );
        let json = STANDARD.decode(text.expose()).map(SecretBytes::new);
        match json {
            Ok(json) if Shape::of(json.expose()) == Shape::Whole => {
                Self::document(json, ItemEncoding::Base64)
            }
            _ => Self::Foreign,
        }
    }

    fn document(json: SecretBytes, encoding: ItemEncoding) -> Self {
        if json.expose() == DELETED {
            return Self::Absent {
                encoding: Some(encoding),
            };
        }
        Self::Document {
            json: wiped(json),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn content(bytes: &[u8]) -> Content {
        Content::of(SecretBytes::new(bytes.to_vec()))
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
        for foreign in [
            &b"hunter2"[..],
            b"[]",
            b"\0\x01",
            b"aHVudGVyMg==",
            // Of programs with a form of their own that begins as JSON does: UTF-16, a template, Base64 of half an object.
            b"{\0}\0",
            b"{password}",
            b"{} {}",
            b"eyJhIjo=",
        ] {
            assert!(matches!(content(foreign), Content::Foreign), "{foreign:?}");
        }
    }
}
