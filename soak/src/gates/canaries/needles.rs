//! The search for many byte strings at once.

use std::collections::{BTreeSet, HashMap};

/// Byte strings to be found. Each has two bytes or more.
#[derive(Debug)]
pub(super) struct Needles {
    pub(super) forms: Vec<Vec<u8>>,
    /// Those that begin with the same two bytes.
    beginning: HashMap<[u8; 2], Vec<usize>>,
    /// Whether one begins with this byte. (Looking in a map at each byte takes minutes for a process's memory without optimisation.)
    is_first: [bool; 256],
}

impl Needles {
    pub(super) fn new(forms: Vec<Vec<u8>>) -> Self {
        let mut beginning = HashMap::<_, Vec<_>>::new();
        let mut is_first = [false; 256];
        for (index, form) in forms.iter().enumerate() {
            beginning.entry([form[0], form[1]]).or_default().push(index);
            is_first[usize::from(form[0])] = true;
        }
        Self {
            forms,
            beginning,
            is_first,
        }
    }

    /// How many of them are in the bytes.
    pub(super) fn found(&self, bytes: &[u8]) -> u64 {
        let mut found = BTreeSet::new();
        self.find(bytes, &mut found);
        found.len() as u64
    }

    /// Adds those that are in the bytes.
    pub(super) fn find(&self, bytes: &[u8], found: &mut BTreeSet<usize>) {
        for at in 0..bytes.len().saturating_sub(1) {
            if !self.is_first[usize::from(bytes[at])] {
                continue;
            }
            let Some(candidates) = self.beginning.get(&[bytes[at], bytes[at + 1]]) else {
                continue;
            };
            let here = candidates
                .iter()
                .filter(|index| bytes[at..].starts_with(&self.forms[**index]));
            found.extend(here);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_once_wherever_it_is() {
        let forms = [&b"abc"[..], b"abd", b"ca", b"xx"].map(<[u8]>::to_vec);
        let needles = Needles::new(forms.into());
        assert_eq!(needles.found(b"abcabc-abd"), 3);
        assert_eq!(needles.found(b"ab"), 0);
        assert_eq!(needles.found(b"---xx"), 1);
        assert_eq!(needles.found(b""), 0);
    }
}
