//! The bytes of the manifest. All numbers are little-endian.
//!
//! ```text
//! manifest   "TKKS"  format u8 = 1  length u32 (of all)  pending u16  names 16 each  index: content
//! content    0 u8  length u32  bytes               here
//!            1 u8  length u32  count u16  names 16 each   in items of their own
//! index      count u32  records
//! record     key length u16  key  version 16  0 u8 | 1 u8 expiry i64 (milliseconds)  value: content
//! ```
//!
//! The length of all tells a manifest that was read in the middle of its replacement, or cut by a keychain, from a whole one.

use bytes::Bytes;
use cache_core::store::{StoreKey, Version};
use cache_core::time::UnixMillis;

use super::manifest::{ChunkName, Content, Entry, Index, Root};

const MAGIC: &[u8; 4] = b"TKKS";
const FORMAT: u8 = 1;
const INLINE: u8 = 0;
const CHUNKS: u8 = 1;

/// Why bytes are no manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// They are something else.
    Foreign,
    /// A newer program wrote them.
    Newer,
    /// They are cut, or changed.
    Malformed,
}

/// How long a manifest is that names as many pending items and has an index of the length in it.
pub(super) fn root_length(pending: usize, index: usize) -> usize {
    MAGIC.len() + 1 + 4 + 2 + pending * ChunkName::BYTES + 1 + 4 + index
}

impl Root {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.push(FORMAT);
        out.extend_from_slice(&[0; 4]);
        put_names(&mut out, &self.pending);
        put_content(&mut out, &self.index);
        let length = to_u32(out.len()).to_le_bytes();
        out[5..9].copy_from_slice(&length);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let mut rest = Reader(bytes);
        if rest.take(MAGIC.len()).map_err(|_| Damage::Foreign)? != MAGIC {
            return Err(Damage::Foreign);
        }
        match rest.u8()? {
            FORMAT => {}
            newer if newer > FORMAT => return Err(Damage::Newer),
            _ => return Err(Damage::Malformed),
        }
        if rest.u32()? != bytes.len() {
            return Err(Damage::Malformed);
        }
        let pending = rest.names()?;
        let index = rest.content()?;
        rest.end()?;
        Ok(Self { pending, index })
    }
}

impl Index {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&to_u32(self.records.len()).to_le_bytes());
        for (key, entry) in &self.records {
            put_u16(&mut out, key.as_str().len());
            out.extend_from_slice(key.as_str().as_bytes());
            out.extend_from_slice(entry.version.as_bytes());
            match entry.expires_at {
                None => out.push(0),
                Some(expires_at) => {
                    out.push(1);
                    out.extend_from_slice(&expires_at.0.to_le_bytes());
                }
            }
            put_content(&mut out, &entry.content);
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let mut rest = Reader(bytes);
        let mut index = Self::default();
        for _ in 0..rest.u32()? {
            let length = rest.u16()?;
            let key = std::str::from_utf8(rest.take(length)?).map_err(|_| Damage::Malformed)?;
            let key = StoreKey::new(key).map_err(|_| Damage::Malformed)?;
            let version = Version::from_bytes(rest.array()?);
            let expires_at = match rest.u8()? {
                0 => None,
                1 => Some(UnixMillis(i64::from_le_bytes(rest.array()?))),
                _ => return Err(Damage::Malformed),
            };
            let content = rest.content()?;
            let entry = Entry {
                version,
                expires_at,
                content,
            };
            if index.records.insert(key, entry).is_some() {
                return Err(Damage::Malformed);
            }
        }
        rest.end()?;
        Ok(index)
    }
}

fn put_content(out: &mut Vec<u8>, content: &Content) {
    match content {
        Content::Inline(bytes) => {
            out.push(INLINE);
            out.extend_from_slice(&to_u32(bytes.len()).to_le_bytes());
            out.extend_from_slice(bytes);
        }
        Content::Chunks { length, names } => {
            out.push(CHUNKS);
            out.extend_from_slice(&to_u32(*length).to_le_bytes());
            put_names(out, names);
        }
    }
}

fn put_names(out: &mut Vec<u8>, names: &[ChunkName]) {
    put_u16(out, names.len());
    for name in names {
        out.extend_from_slice(&name.0);
    }
}

/// Of what never comes near the limit: the sizes of values and of the index are checked before.
fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn put_u16(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes());
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Damage::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Damage::Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Damage> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<usize, Damage> {
        Ok(u16::from_le_bytes(self.array()?).into())
    }

    fn u32(&mut self) -> Result<usize, Damage> {
        usize::try_from(u32::from_le_bytes(self.array()?)).map_err(|_| Damage::Malformed)
    }

    fn names(&mut self) -> Result<Vec<ChunkName>, Damage> {
        (0..self.u16()?).map(|_| self.array().map(ChunkName)).collect()
    }

    fn content(&mut self) -> Result<Content, Damage> {
        let kind = self.u8()?;
        let length = self.u32()?;
        match kind {
            INLINE => Ok(Content::Inline(Bytes::copy_from_slice(self.take(length)?))),
            CHUNKS => Ok(Content::Chunks {
                length,
                names: self.names()?,
            }),
            _ => Err(Damage::Malformed),
        }
    }

    fn end(&self) -> Result<(), Damage> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Damage::Malformed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Root {
        let mut index = Index::default();
        for (name, expires_at, content) in [
            ("a", None, Content::Inline(Bytes::from_static(b"here"))),
            (
                "b",
                Some(UnixMillis(-1)),
                Content::Chunks {
                    length: 3000,
                    names: vec![ChunkName([3; 16]), ChunkName([4; 16])],
                },
            ),
        ] {
            let version = Version::from_bytes([9; 16]);
            let entry = Entry {
                version,
                expires_at,
                content,
            };
            index.records.insert(StoreKey::new(name).unwrap(), entry);
        }
        Root {
            pending: vec![ChunkName([1; 16])],
            index: Content::Inline(index.encode().into()),
        }
    }

    #[test]
    fn a_manifest_comes_back_as_it_was() {
        let bytes = sample().encode();
        let root = Root::decode(&bytes).unwrap();
        assert_eq!(root.encode(), bytes);
        assert_eq!(root.pending, [ChunkName([1; 16])]);
        let Content::Inline(index) = &root.index else {
            panic!("the index is in the manifest");
        };
        assert_eq!(bytes.len(), root_length(1, index.len()));
        let index = Index::decode(index).unwrap();
        let record = &index.records[&StoreKey::new("b").unwrap()];
        assert_eq!(record.expires_at, Some(UnixMillis(-1)));
        assert_eq!(record.content.chunks(), [ChunkName([3; 16]), ChunkName([4; 16])]);
    }

    #[test]
    fn the_format_is_fixed() {
        let hex: String = Root::empty()
            .encode()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, "544b4b5301140000000000000400000000000000");
    }

    #[test]
    fn no_part_of_a_manifest_is_one() {
        let bytes = sample().encode();
        for length in 0..bytes.len() {
            assert!(Root::decode(&bytes[..length]).is_err(), "{length} bytes");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Root::decode(&longer).err(), Some(Damage::Malformed));
        let mut newer = bytes;
        newer[4] = 2;
        assert_eq!(Root::decode(&newer).err(), Some(Damage::Newer));
        assert_eq!(Root::decode(b"a pass word").err(), Some(Damage::Foreign));
    }

    #[test]
    fn no_bytes_make_it_panic_or_take_memory_that_they_do_not_fill() {
        let bytes = sample().encode();
        for position in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[position] = value;
                if let Ok(Root {
                    index: Content::Inline(index),
                    ..
                }) = Root::decode(&changed)
                {
                    let _ = Index::decode(&index);
                }
            }
        }
    }
}
