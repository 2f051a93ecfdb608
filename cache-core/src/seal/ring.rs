//! The key ring: which keys seal, which only open, and which are gone. Pure; the store is in `ring_record`.
//!
//! ```text
//!   add             promote            promote another         retire
//!  ─────▶ Pending ──────────▶ Primary ─────────────────▶ ReadOnly ──────▶ Retired
//!            └───────────────────────────────────────────────────────────▶
//! ```
//!
//! The byte table of the serialised ring is in [`format`](super::format).

use std::time::Duration;

use zeroize::Zeroizing;

use super::envelope::{FormatError, Reader};
use super::key::{KeyId, SecretKey};
use crate::random::{Random, RandomError, random_bytes};
use crate::time::UnixSeconds;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 38;
const KEY_BYTES: usize = 73;
const NOT_YET: i64 = i64::MIN;

/// The most keys of a ring, retired ones included. The oldest retired key makes room for a new one.
pub const MAX_KEYS: usize = 64;

/// The longest serialised ring, in bytes.
pub(super) const MAX_RING_BYTES: usize = HEAD_BYTES + MAX_KEYS * KEY_BYTES;

/// How long a sealer may seal without looking at the ring in the store; retiring a key waits twice as long.
pub const WRITER_WINDOW: Duration = Duration::from_secs(60);

/// What a key of the ring is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Added and being distributed: opens, does not seal yet.
    Pending,
    /// Seals every new record. There is exactly one.
    Primary,
    /// Was primary: opens, and waits for its records to be resealed.
    ReadOnly,
    /// Wiped. Only its name and dates are left.
    Retired,
}

impl KeyState {
    const fn code(self) -> u8 {
        match self {
            Self::Pending => 1,
            Self::Primary => 2,
            Self::ReadOnly => 3,
            Self::Retired => 4,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Pending),
            2 => Some(Self::Primary),
            3 => Some(Self::ReadOnly),
            4 => Some(Self::Retired),
            _ => None,
        }
    }
}

impl std::fmt::Display for KeyState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Primary => "primary",
            Self::ReadOnly => "read-only",
            Self::Retired => "retired",
        })
    }
}

/// One key of the ring as it may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// The key's name.
    pub id: KeyId,
    /// What it is for.
    pub state: KeyState,
    /// When it was made.
    pub created_at: UnixSeconds,
    /// When it became primary.
    pub promoted_at: Option<UnixSeconds>,
    /// When another key became primary in its place.
    pub demoted_at: Option<UnixSeconds>,
    /// When it was wiped.
    pub retired_at: Option<UnixSeconds>,
}

/// Why the ring cannot be changed as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// No key has this ID.
    #[error("the key ring has no key {0}; list the keys for their IDs")]
    NoSuchKey(KeyId),
    /// The key is in a state from which the change is not possible.
    #[error("key {id} is {state}, so it cannot be {change}")]
    WrongState {
        /// The key.
        id: KeyId,
        /// Its state.
        state: KeyState,
        /// What was asked for.
        change: &'static str,
    },
    /// Writers that have not looked at the ring lately may still seal under the key.
    #[error("key {id} was primary until just now and writers may still seal under it; retire it in {} s", wait.as_secs())]
    TooSoon {
        /// The key.
        id: KeyId,
        /// How long to wait.
        wait: Duration,
    },
    /// Records name the key.
    #[error(
        "{records} records are still sealed under key {id}; reseal them, quarantine what cannot be opened, and retire the key again"
    )]
    StillUsed {
        /// The key.
        id: KeyId,
        /// How many records name it.
        records: u64,
    },
    /// The ring is full of keys that are in use.
    #[error("the key ring holds {MAX_KEYS} keys that are not retired; reseal and retire old keys first")]
    Full,
    /// The generation cannot be counted further.
    #[error("the key ring's generation is exhausted")]
    Exhausted,
}

/// The serialised ring is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MalformedRing(pub(super) &'static str);

#[derive(Debug, PartialEq, Eq)]
pub(super) struct RingKey {
    pub(super) status: KeyStatus,
    pub(super) key: SecretKey,
}

/// The ring with its keys. Redacted in `Debug`, wiped when dropped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyRing {
    pub(super) id: [u8; 16],
    pub(super) generation: u64,
    pub(super) writer_window: Duration,
    pub(super) location_key: SecretKey,
    pub(super) keys: Vec<RingKey>,
}

impl KeyRing {
    /// A ring of generation 1 with one primary key.
    pub(super) fn generate(random: &dyn Random, now: UnixSeconds) -> Result<Self, RandomError> {
        let mut ring = Self {
            id: random_bytes(random)?,
            generation: 1,
            writer_window: WRITER_WINDOW,
            location_key: SecretKey::random(random)?,
            keys: vec![new_key(random, now)?],
        };
        ring.keys[0].status.state = KeyState::Primary;
        ring.keys[0].status.promoted_at = Some(now);
        Ok(ring)
    }

    /// Adds a pending key.
    pub(super) fn add(&mut self, key: RingKey) -> Result<KeyId, RingError> {
        if self.keys.len() >= MAX_KEYS {
            let oldest = self
                .keys
                .iter()
                .position(|key| key.status.state == KeyState::Retired);
            self.keys.remove(oldest.ok_or(RingError::Full)?);
        }
        let id = key.status.id;
        self.keys.push(key);
        Ok(id)
    }

    /// Makes the pending key `id` primary, and the primary read-only.
    pub(super) fn promote(&mut self, id: KeyId, now: UnixSeconds) -> Result<(), RingError> {
        self.expect_state(id, &[KeyState::Pending], "promoted")?;
        for RingKey { status, .. } in &mut self.keys {
            if status.state == KeyState::Primary {
                status.state = KeyState::ReadOnly;
                status.demoted_at = Some(now);
            }
            if status.id == id {
                status.state = KeyState::Primary;
                status.promoted_at = Some(now);
            }
        }
        Ok(())
    }

    /// Whether `id` may be retired at `now`, leaving aside the records that name it.
    pub(super) fn check_retirable(&self, id: KeyId, now: UnixSeconds) -> Result<(), RingError> {
        self.expect_state(id, &[KeyState::Pending, KeyState::ReadOnly], "retired")?;
        let demoted = self
            .keys
            .iter()
            .find(|key| key.status.id == id)
            .and_then(|key| key.status.demoted_at);
        // Twice the window: writers measure one window on their own clocks, which may differ from ours by another.
        let wait = demoted.map_or(Duration::ZERO, |at| {
            (self.writer_window * 2).saturating_sub(now.duration_since(at))
        });
        if wait.is_zero() {
            Ok(())
        } else {
            Err(RingError::TooSoon { id, wait })
        }
    }

    /// Wipes key `id`. The caller has verified that no record names it.
    pub(super) fn retire(&mut self, id: KeyId, now: UnixSeconds) -> Result<(), RingError> {
        self.check_retirable(id, now)?;
        for key in &mut self.keys {
            if key.status.id == id {
                key.status.state = KeyState::Retired;
                key.status.retired_at = Some(now);
                key.key = SecretKey::zero();
            }
        }
        Ok(())
    }

    /// Counts the change that is about to be stored.
    pub(super) fn advance(&mut self) -> Result<(), RingError> {
        self.generation = self.generation.checked_add(1).ok_or(RingError::Exhausted)?;
        Ok(())
    }

    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Allocated in full: growing would leave copies of keys in freed memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(HEAD_BYTES + self.keys.len() * KEY_BYTES));
        bytes.push(VERSION);
        let window = u32::try_from(self.writer_window.as_secs()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&window.to_be_bytes());
        bytes.extend_from_slice(self.location_key.expose());
        bytes.push(u8::try_from(self.keys.len()).unwrap_or(u8::MAX));
        for RingKey { status, key } in &self.keys {
            bytes.extend_from_slice(status.id.as_bytes());
            bytes.push(status.state.code());
            let dates = [
                Some(status.created_at),
                status.promoted_at,
                status.demoted_at,
                status.retired_at,
            ];
            for date in dates {
                bytes.extend_from_slice(&date.map_or(NOT_YET, |date| date.0).to_be_bytes());
            }
            bytes.extend_from_slice(key.expose());
        }
        bytes
    }

    pub(super) fn decode(id: [u8; 16], generation: u64, bytes: &[u8]) -> Result<Self, MalformedRing> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != VERSION {
            return Err(MalformedRing("has a version that this program does not know"));
        }
        let writer_window = Duration::from_secs(u32::from_be_bytes(reader.array()?).into());
        let location_key = SecretKey::from_bytes(reader.take_array()?);
        let count = usize::from(reader.byte()?);
        if reader.rest.len() != count * KEY_BYTES {
            return Err(MalformedRing("has a wrong length"));
        }
        let keys = (0..count)
            .map(|_| decode_key(&mut reader))
            .collect::<Result<Vec<_>, _>>()?;
        let ring = Self {
            id,
            generation,
            writer_window,
            location_key,
            keys,
        };
        ring.check()?;
        Ok(ring)
    }

    fn check(&self) -> Result<(), MalformedRing> {
        let statuses = || self.keys.iter().map(|key| key.status);
        if self.keys.len() > MAX_KEYS {
            return Err(MalformedRing("has too many keys"));
        }
        if statuses().filter(|key| key.state == KeyState::Primary).count() != 1 {
            return Err(MalformedRing("does not have exactly one primary key"));
        }
        let repeated =
            |(index, key): (usize, KeyStatus)| statuses().skip(index + 1).any(|other| other.id == key.id);
        if statuses().enumerate().any(repeated) {
            return Err(MalformedRing("has two keys of one name"));
        }
        let zero = SecretKey::zero();
        if self
            .keys
            .iter()
            .any(|key| (key.key == zero) != (key.status.state == KeyState::Retired))
        {
            return Err(MalformedRing("has a key that does not fit its state"));
        }
        Ok(())
    }

    fn expect_state(&self, id: KeyId, allowed: &[KeyState], change: &'static str) -> Result<(), RingError> {
        let key = self
            .keys
            .iter()
            .find(|key| key.status.id == id)
            .ok_or(RingError::NoSuchKey(id))?;
        if allowed.contains(&key.status.state) {
            return Ok(());
        }
        Err(RingError::WrongState {
            id,
            state: key.status.state,
            change,
        })
    }
}

impl From<FormatError> for MalformedRing {
    fn from(_: FormatError) -> Self {
        Self("is cut short")
    }
}

/// A pending key, to be added.
pub(super) fn new_key(random: &dyn Random, now: UnixSeconds) -> Result<RingKey, RandomError> {
    Ok(RingKey {
        status: KeyStatus {
            id: KeyId::random(random)?,
            state: KeyState::Pending,
            created_at: now,
            promoted_at: None,
            demoted_at: None,
            retired_at: None,
        },
        key: SecretKey::random(random)?,
    })
}

fn decode_key(reader: &mut Reader<'_>) -> Result<RingKey, MalformedRing> {
    let id = KeyId::from_bytes(reader.array()?);
    let state = KeyState::from_code(reader.byte()?).ok_or(MalformedRing("has a key in an unknown state"))?;
    let mut date = || -> Result<Option<UnixSeconds>, MalformedRing> {
        let seconds = i64::from_be_bytes(reader.array()?);
        Ok((seconds != NOT_YET).then_some(UnixSeconds(seconds)))
    };
    let created_at = date()?.ok_or(MalformedRing("has a key without a date"))?;
    let (promoted_at, demoted_at, retired_at) = (date()?, date()?, date()?);
    let dated = match state {
        KeyState::Pending => promoted_at.is_none() && demoted_at.is_none() && retired_at.is_none(),
        KeyState::Primary => promoted_at.is_some() && demoted_at.is_none() && retired_at.is_none(),
        KeyState::ReadOnly => promoted_at.is_some() && demoted_at.is_some() && retired_at.is_none(),
        KeyState::Retired => retired_at.is_some(),
    };
    if !dated {
        return Err(MalformedRing("has a key whose dates do not fit its state"));
    }
    let key = SecretKey::from_bytes(reader.take_array()?);
    let status = KeyStatus {
        id,
        state,
        created_at,
        promoted_at,
        demoted_at,
        retired_at,
    };
    Ok(RingKey { status, key })
}
#[cfg(test)]
mod tests;
