//! The identifier that ties a request to the authority's own logs.

use std::fmt;

use cache_core::random::{Random, RandomError, random_bytes};

/// A random UUID (RFC 9562 version 4), sent as `client-request-id` to Microsoft authorities. It names one request
/// and says nothing of the user, so it may be logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CorrelationId([u8; 16]);

impl CorrelationId {
    /// A new identifier.
    ///
    /// # Errors
    /// [`RandomError`] when no random bytes can be had.
    pub fn random(random: &dyn Random) -> Result<Self, RandomError> {
        let mut bytes: [u8; 16] = random_bytes(random)?;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Ok(Self(bytes))
    }

    /// The identifier of a request that began elsewhere; `None` unless `text` is a UUID.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if !is_guid(text) {
            return None;
        }
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether `text` has the shape of a GUID: 8-4-4-4-12 hexadecimal digits.
pub(crate) fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cache_core::random::OsRandom;

    #[test]
    fn it_is_a_version_4_uuid() {
        let id = CorrelationId::random(&OsRandom).unwrap();
        let text = id.to_string();
        assert!(is_guid(&text), "{text}");
        assert_eq!(&text[14..15], "4");
        assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"));
        assert_eq!(CorrelationId::parse(&text), Some(id));
        assert_ne!(CorrelationId::random(&OsRandom).unwrap(), id);
    }

    #[test]
    fn other_text_is_no_uuid() {
        for text in [
            "",
            "common",
            "00000000-0000-0000-0000-00000000000g",
            "00000000000000000000000000000000-000",
        ] {
            assert_eq!(CorrelationId::parse(text), None, "{text}");
        }
    }
}
