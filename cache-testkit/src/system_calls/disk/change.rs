//! What was changed and not forced to the disk yet.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a disk writes in one piece, in bytes. The drives that write more at once tear less.
const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) synced: Vec<u8>,
    pub(super) unsynced: Vec<(u64, DataChange)>,
}

#[derive(Clone, Debug)]
pub(super) enum DataChange {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Add(PathBuf, usize),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, usize),
}

/// What is kept of the changes that nobody forced to the disk.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kept {
    Nothing,
    Everything,
    /// Those before this one.
    First(usize),
    /// Each, or each sector of each, with this chance of 16.
    Some(u64),
}

impl Kept {
    pub(super) fn chosen(choose: &mut dyn FnMut(u64) -> u64, changes: usize) -> Self {
        match choose(8) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 | 3 => Self::First(usize::try_from(choose(changes as u64 + 1)).unwrap_or_default()),
            _ => Self::Some(choose(15) + 1),
        }
    }

    pub(super) fn keeps(self, place: usize, choose: &mut dyn FnMut(u64) -> u64) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::First(number) => place < number,
            Self::Some(chance) => choose(16) < chance,
        }
    }
}

impl File {
    pub(super) fn length(&self) -> usize {
        self.unsynced
            .iter()
            .fold(self.synced.len(), |length, (_, change)| match change {
                DataChange::Write { offset, bytes } => length.max(offset + bytes.len()),
                DataChange::Length(length) => *length,
            })
    }

    pub(super) fn content(&self, choose: &mut dyn FnMut(u64) -> u64, kept: Kept) -> Vec<u8> {
        let mut content = self.synced.clone();
        for (place, (_, change)) in self.unsynced.iter().enumerate() {
            change.apply(&mut content, &mut |_| kept.keeps(place, choose));
        }
        if matches!(kept, Kept::First(_) | Kept::Some(_)) && choose(2) == 1 {
            self.lengthen(&mut content, choose);
        }
        content
    }

    /// A file may be as long as a write made it, without what was written: that reads as zeros then.
    fn lengthen(&self, content: &mut Vec<u8>, choose: &mut dyn FnMut(u64) -> u64) {
        let chosen = usize::try_from(choose(self.unsynced.len().max(1) as u64)).unwrap_or_default();
        if let Some((_, DataChange::Write { offset, bytes })) = self.unsynced.get(chosen)
            && content.len() < offset + bytes.len()
        {
            content.resize(offset + bytes.len(), 0);
        }
    }
}

impl DataChange {
    /// Applies the sectors that `keeps` names.
    pub(super) fn apply(&self, content: &mut Vec<u8>, keeps: &mut dyn FnMut(usize) -> bool) {
        match self {
            Self::Write { offset, bytes } => {
                let mut start = *offset;
                let end = offset + bytes.len();
                while start < end {
                    let next = end.min((start / SECTOR + 1) * SECTOR);
                    if keeps(start / SECTOR) {
                        if content.len() < next {
                            content.resize(next, 0);
                        }
                        content[start..next].copy_from_slice(&bytes[start - offset..next - offset]);
                    }
                    start = next;
                }
            }
            Self::Length(length) => {
                if keeps(0) {
                    content.resize(*length, 0);
                }
            }
        }
    }
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Add(path, file) => _ = names.insert(path.clone(), *file),
            Self::Remove(path) => _ = names.remove(path),
            Self::Rename(from, to, file) => {
                // The old name may have come to mean another file where its making was lost.
                names.remove(from);
                names.insert(to.clone(), *file);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_tears_between_sectors() {
        let mut content = vec![0; 2 * SECTOR];
        let change = DataChange::Write {
            offset: 0,
            bytes: vec![1; 2 * SECTOR],
        };
        change.apply(&mut content, &mut |sector| sector == 1);
        assert_eq!(content, [vec![0; SECTOR], vec![1; SECTOR]].concat());
    }

    #[test]
    fn a_length_may_be_there_without_its_data() {
        let bytes = vec![1; 2 * SECTOR];
        let file = File {
            synced: vec![2; SECTOR],
            unsynced: vec![(1, DataChange::Write { offset: 0, bytes })],
        };
        let content = file.content(&mut |below| below - 1, Kept::First(0));
        assert_eq!(content, [vec![2; SECTOR], vec![0; SECTOR]].concat());
        let content = file.content(&mut |_| 0, Kept::First(0));
        assert_eq!(content, vec![2; SECTOR]);
    }
}
