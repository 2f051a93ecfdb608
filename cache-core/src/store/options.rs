//! How a record is to be written.

use crate::store::Version;
use crate::time::UnixMillis;

/// The arguments of [`Store::put`](crate::store::Store::put) beside the key and the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutOptions {
    /// On what condition to write.
    pub mode: PutMode,
    /// When the record ceases to exist; `None` for never. A moment that has passed already is accepted: the
    /// write applies and the record is absent at once.
    pub expires_at: Option<UnixMillis>,
    /// What must have happened before `put` returns.
    pub durability: Durability,
}

impl PutOptions {
    /// Write whatever is there; durable, never expiring.
    #[must_use]
    pub const fn overwrite() -> Self {
        Self {
            mode: PutMode::Overwrite,
            expires_at: None,
            durability: Durability::Durable,
        }
    }

    /// Write only a new record; durable, never expiring.
    #[must_use]
    pub const fn create() -> Self {
        Self {
            mode: PutMode::Create,
            ..Self::overwrite()
        }
    }

    /// Write only over `version`; durable, never expiring.
    #[must_use]
    pub const fn update(version: Version) -> Self {
        Self {
            mode: PutMode::Update(version),
            ..Self::overwrite()
        }
    }

    /// Sets when the record ceases to exist.
    #[must_use]
    pub const fn expires_at(mut self, moment: Option<UnixMillis>) -> Self {
        self.expires_at = moment;
        self
    }

    /// Sets what must have happened before `put` returns.
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }
}

/// On what condition to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutMode {
    /// Always. Never `Conflict`.
    Overwrite,
    /// Only where no live record is. `Conflict` when there is one.
    Create,
    /// Only over exactly this version. `Conflict` when another is there, or none.
    Update(Version),
}

/// What must have happened before a write returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The write survives what [`Capabilities::persistence`](crate::store::Capabilities::persistence) promises.
    Durable,
    /// The write is visible to all readers; a crash may undo it, but never tear it.
    Relaxed,
}
