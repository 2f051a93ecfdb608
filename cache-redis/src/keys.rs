//! From store keys to Redis keys and back.
//!
//! ```text
//! PREFIX{3f}:KEY      the record                    hash  v, d, e
//! PREFIX{3f}          index of the bucket           sorted set of store keys, all of score 0
//! PREFIX{3f}!         expiries of the bucket        sorted set of store keys by the server's removal time
//! PREFIXchanges:DB    where changes are announced   channel
//! ```
//!
//! A key belongs to one of 256 buckets by its hash. The bucket is the hash tag, so that a record and its index
//! live in one slot of a Cluster and one script may touch both, and so that no index becomes a big key.

use cache_core::store::error::ErrorKind;
use cache_core::store::{StoreKey, Version, WatchEvent};

use crate::error::Failure;

/// The slots of a Cluster.
pub(crate) const SLOTS: u16 = 16_384;

/// One of the 256 parts that the keys of a prefix are divided into. Part of the layout: never change their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket(u8);

impl Bucket {
    pub(crate) fn of(key: &StoreKey) -> Self {
        let [_, low] = crc16(key.as_str().as_bytes()).to_be_bytes();
        Self(low)
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }

    /// Its name in Redis' keys: two hexadecimal digits.
    fn digits(self) -> [u8; 2] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        [DIGITS[usize::from(self.0 >> 4)], DIGITS[usize::from(self.0 & 15)]]
    }

    /// The Cluster slot of everything in this bucket.
    pub(crate) fn slot(self) -> u16 {
        crc16(&self.digits()) % SLOTS
    }
}

/// The beginning of all Redis keys and channels of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeySpace {
    prefix: String,
    channel: String,
}

impl KeySpace {
    const MAX_PREFIX_BYTES: usize = 128;

    /// # Errors
    /// `InvalidArgument` when the prefix is too long, or has a byte that Redis gives a meaning to.
    pub(crate) fn new(prefix: &str, database: u32) -> Result<Self, Failure> {
        let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}');
        if prefix.len() > Self::MAX_PREFIX_BYTES || !prefix.bytes().all(allowed) {
            return Err(Failure::new(
                ErrorKind::InvalidArgument,
                "a key prefix has at most 128 bytes of printable ASCII without spaces and braces",
            ));
        }
        Ok(Self {
            prefix: prefix.to_owned(),
            // Redis' channels know no databases.
            channel: format!("{prefix}changes:{database}"),
        })
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    pub(crate) fn record(&self, key: &StoreKey) -> String {
        self.name(Bucket::of(key), ":", key.as_str())
    }

    pub(crate) fn index(&self, bucket: Bucket) -> String {
        self.name(bucket, "", "")
    }

    pub(crate) fn expiries(&self, bucket: Bucket) -> String {
        self.name(bucket, "!", "")
    }

    fn name(&self, bucket: Bucket, separator: &str, rest: &str) -> String {
        let mut name = String::with_capacity(self.prefix.len() + 5 + rest.len());
        name.push_str(&self.prefix);
        name.push('{');
        name.extend(bucket.digits().map(char::from));
        name.push('}');
        name.push_str(separator);
        name.push_str(rest);
        name
    }
}

/// What a store publishes when it opens, to learn whether it may. It means nothing.
pub(crate) const GREETING: &str = "+";

/// What is published of a change: the version or `-`, a space, the store key.
pub(crate) fn announcement(key: &StoreKey, version: Option<Version>) -> String {
    match version {
        Some(version) => format!("{version} {key}"),
        None => format!("- {key}"),
    }
}

/// What a message on the channel means to whoever listens, if anything.
pub(crate) fn announced(message: &[u8]) -> Option<WatchEvent> {
    if message == GREETING.as_bytes() {
        return None;
    }
    // Somebody else writes to the channel, or somebody newer; whatever it means, assume the worst.
    Some(change(message).unwrap_or(WatchEvent::Lost))
}

fn change(message: &[u8]) -> Option<WatchEvent> {
    let (version, key) = std::str::from_utf8(message).ok()?.split_once(' ')?;
    let key = StoreKey::new(key).ok()?;
    let version = match version {
        "-" => None,
        hex => Some(version_of(hex)?),
    };
    Some(WatchEvent::Changed(key, version))
}

/// The version that is shown as `hex`.
pub(crate) fn version_of(hex: &str) -> Option<Version> {
    let mut bytes = [0; 16];
    if hex.len() != 32 || !hex.is_ascii() {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(Version::from_bytes(bytes))
}

/// The Cluster slot of a key: that of its hash tag, if it has one.
pub(crate) fn slot_of(name: &[u8]) -> u16 {
    let place = |bytes: &[u8], wanted| bytes.iter().position(|byte| *byte == wanted);
    let tag = place(name, b'{').and_then(|open| {
        let rest = &name[open + 1..];
        let close = place(rest, b'}').filter(|length| *length > 0)?;
        Some(&rest[..close])
    });
    crc16(tag.unwrap_or(name)) % SLOTS
}

/// CRC-16/XMODEM, which Cluster places keys by (Redis Cluster specification, "Key distribution model").
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        let [high, _] = crc.to_be_bytes();
        (crc << 8) ^ CRC16[usize::from(high ^ byte)]
    })
}

/// What each byte adds: every read and write takes the CRC of a whole key.
static CRC16: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte: u16 = 0;
    while byte < 256 {
        let mut crc = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_is_the_one_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(crc16(b"foo") % SLOTS, 12_182, "as CLUSTER KEYSLOT foo");
        for name in ["foo", "a{foo}b", "{foo}{bar}"] {
            assert_eq!(slot_of(name.as_bytes()), 12_182, "{name}");
        }
        assert_eq!(slot_of(b"a{}{foo}"), crc16(b"a{}{foo}") % SLOTS);
    }

    #[test]
    fn all_keys_of_a_bucket_have_one_hash_tag() {
        let space = KeySpace::new("app:", 0).unwrap();
        // The key's own braces come after the tag, and only the first pair counts.
        let key = StoreKey::new("user/{1}/x").unwrap();
        let bucket = Bucket::of(&key);
        let tag = format!("{{{:02x}}}", bucket.0);
        for name in [space.record(&key), space.index(bucket), space.expiries(bucket)] {
            let start = name.find('{').unwrap();
            assert_eq!(&name[start..=name.find('}').unwrap()], tag);
        }
        assert_eq!(bucket.slot(), crc16(&tag.as_bytes()[1..3]) % SLOTS);
    }

    #[test]
    fn buckets_spread_over_the_slots() {
        let thirds = Bucket::all().fold([0; 3], |mut thirds, bucket| {
            thirds[usize::from(bucket.slot() / 5462)] += 1;
            thirds
        });
        assert!(thirds.iter().all(|count| *count > 60), "{thirds:?}");
    }

    #[test]
    fn prefix_with_a_hash_tag_is_refused() {
        for prefix in ["a{b}", "a b", "ä", &"x".repeat(129)] {
            let refused = KeySpace::new(prefix, 0).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
        }
        assert!(KeySpace::new("", 0).is_ok());
    }

    #[test]
    fn announcements_are_read_as_they_were_written() {
        let key = StoreKey::new("user/1").unwrap();
        let version = Version::from_bytes(*b"0123456789abcdef");
        for version in [Some(version), None] {
            let message = announcement(&key, version);
            assert_eq!(
                announced(message.as_bytes()),
                Some(WatchEvent::Changed(key.clone(), version))
            );
        }
    }

    #[test]
    fn other_messages_are_not_taken_for_announcements() {
        let long = format!("{} k", "g".repeat(32));
        let inner = format!("{}é k", "0".repeat(30));
        for message in ["", "-", "- ", "k", "12 k", "- a b", &long, &inner] {
            let meaning = announced(message.as_bytes());
            assert_eq!(meaning, Some(WatchEvent::Lost), "{message:?}");
        }
        assert_eq!(announced(&[0xff, b' ', b'k']), Some(WatchEvent::Lost));
        assert_eq!(announced(GREETING.as_bytes()), None);
    }
}
