//! Encoded rows without the names that another buffer has.

use std::ops::Range;

use super::Span;
use crate::codec::key_of;
use crate::secret::{SecretBytes, SecretText};

/// An encoding from which names were cut that stand in the text of the access tokens.
///
/// Behind the encoding stands the list of cuts: how far from the one before, where in the text, how long; each a number
/// of as many bytes as it needs. No name is cut from the tail, so it can be read in place.
pub(super) struct Packed {
    bytes: SecretBytes,
    tail: Span,
    /// Where the list of cuts begins, which goes to the end; [`NO_CUTS`] in an encoding that is whole.
    cuts_at: u32,
}

/// No list begins there: what is packed is shorter.
const NO_CUTS: u32 = u32::MAX;

impl Packed {
    pub(super) fn new(bytes: SecretBytes, tail: Span, cuts_at: u32) -> Self {
        Self { bytes, tail, cuts_at }
    }

    /// An encoding from which nothing was cut, the access tokens included.
    pub(super) fn of_whole(bytes: SecretBytes, tail: Range<usize>) -> Self {
        Self {
            bytes,
            tail: Span::of(tail),
            cuts_at: NO_CUTS,
        }
    }

    /// The encoding, if it is [whole](Self::of_whole).
    pub(super) fn whole(&self) -> Option<&[u8]> {
        (self.cuts_at == NO_CUTS).then(|| self.bytes.expose())
    }

    /// What follows the rows.
    pub(super) fn tail(&self) -> &[u8] {
        self.part(self.tail)
    }

    pub(super) fn part(&self, span: Span) -> &[u8] {
        &self.bytes.expose()[span.start as usize..(span.start + span.length) as usize]
    }

    /// How many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The whole encoding.
    pub(super) fn unpack(&self, text: &SecretText) -> SecretBytes {
        let end = (self.tail.start + self.tail.length) as usize;
        let length = end + self.cuts().map(|cut| cut.name.length as usize).sum::<usize>();
        // Allocated in full: growing would leave a copy behind.
        let mut whole = Vec::with_capacity(length);
        let mut from = 0;
        for cut in self.cuts() {
            whole.extend_from_slice(&self.bytes.expose()[from..cut.at]);
            whole.extend_from_slice(name(text, cut.name).as_bytes());
            from = cut.at;
        }
        whole.extend_from_slice(&self.bytes.expose()[from..end]);
        SecretBytes::new(whole)
    }

    /// The canonical key of the partition, which stands first.
    pub(super) fn key(&self) -> &[u8] {
        key_of(self.bytes.expose()).unwrap_or_default()
    }

    fn cuts(&self) -> Cuts<'_> {
        Cuts {
            list: &self.bytes.expose()[self.cuts_at as usize..],
            at: 0,
        }
    }
}

struct Cut {
    /// Where the name belongs, in the bytes without names.
    at: usize,
    /// In the text.
    name: Span,
}

struct Cuts<'a> {
    list: &'a [u8],
    at: usize,
}

impl Cuts<'_> {
    fn number(&mut self) -> Option<u32> {
        let mut number = 0;
        for shift in (0..32).step_by(7) {
            let (byte, rest) = self.list.split_first()?;
            self.list = rest;
            number |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

impl Iterator for Cuts<'_> {
    type Item = Cut;

    fn next(&mut self) -> Option<Cut> {
        self.at += self.number()? as usize;
        let name = Span {
            start: self.number()?,
            length: self.number()?,
        };
        Some(Cut { at: self.at, name })
    }
}

/// Adds a number to a list of cuts.
pub(super) fn push_number(list: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        list.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    list.push(number.to_le_bytes()[0]);
}

fn name(text: &SecretText, span: Span) -> &str {
    &text.expose()[span.start as usize..(span.start + span.length) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_lengths_are_read_back() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u32::MAX] {
            let mut list = Vec::new();
            push_number(&mut list, number);
            let mut cuts = Cuts { list: &list, at: 0 };
            assert_eq!(cuts.number(), Some(number));
            assert!(cuts.list.is_empty());
        }
    }
}
