//! What is done to a record, and which check has to find it.

use std::fmt;

use cache_core::seal::SealError;

/// What was done to a record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Damage {
    Flipped { bit: usize },
    Cut { length: usize },
}

impl Damage {
    /// What it is called in the results.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Flipped { .. } => "flips",
            Self::Cut { .. } => "cuts",
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flipped { bit } => write!(f, "bit {bit} flipped"),
            Self::Cut { length } => write!(f, "cut to {length} bytes"),
        }
    }
}

/// Every record that differs from `good` in one bit, and every beginning of it.
pub(super) fn damaged(good: &[u8]) -> impl Iterator<Item = (Damage, Vec<u8>)> {
    let flipped = (0..good.len() * 8).map(|bit| {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        (Damage::Flipped { bit }, bytes)
    });
    let cut = (0..good.len()).map(|length| (Damage::Cut { length }, good[..length].to_vec()));
    flipped.chain(cut)
}

/// Which of the errors it is: one for each check.
pub(super) fn name(error: &SealError) -> String {
    let shown = format!("{error:?}");
    let end = shown.find(|c: char| !c.is_ascii_alphanumeric());
    shown[..end.unwrap_or(shown.len())].to_owned()
}

/// The errors of which one must come, by the byte tables of [`cache_core::seal::format`].
pub(super) type Checks = fn(Damage) -> &'static [&'static str];

/// Those of a sealed record.
pub(super) fn of_sealed(damage: Damage) -> &'static [&'static str] {
    match damage {
        Damage::Flipped { bit } => match bit / 8 {
            0..4 => &["NotSealed"],
            4..6 => &["UnsupportedFormat"],
            33..41 => &["UnknownKey"],
            41..73 => &["WrongKey"],
            73..89 => &["WrongLocation"],
            113..117 => &["WrongLength"],
            _ => &["Tampered"],
        },
        Damage::Cut { length: 0..4 } => &["NotSealed"],
        Damage::Cut { .. } => &["WrongLength"],
    }
}

/// Those of a record without encryption. It says nothing of its length.
pub(super) fn of_unsealed(damage: Damage) -> &'static [&'static str] {
    match damage {
        Damage::Flipped { bit } => match bit / 8 {
            0..4 => &["NotSealed"],
            4 => &["UnsupportedFormat"],
            32..48 => &["WrongLocation"],
            _ => &["Tampered"],
        },
        Damage::Cut { length: 0..64 } => &["NotSealed"],
        Damage::Cut { .. } => &["Tampered"],
    }
}

/// The length of the name of the golden ring's key source.
const SOURCE: usize = "fixed".len();

/// Those of the golden key ring. Whose ring it is and the commitment are looked at by the key that is given, before anything is believed.
pub(super) fn of_ring(damage: Damage) -> &'static [&'static str] {
    // Behind its name is the length of what it says of itself, which is nothing here.
    const SOURCE_ENDS: usize = 31 + SOURCE + 2;
    match damage {
        Damage::Flipped { bit } => match bit / 8 {
            6..22 => &["WrongKeySource"],
            // Another description of a source may be none, or one that is not the given one's.
            30..SOURCE_ENDS => &["KeySource", "RingUnreadable"],
            byte if (SOURCE_ENDS..SOURCE_ENDS + 32).contains(&byte) => &["WrongKeySource"],
            _ => &["RingUnreadable"],
        },
        Damage::Cut { .. } => &["RingUnreadable"],
    }
}
