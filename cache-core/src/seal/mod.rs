//! Sealing.

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// A user partition.
    User,
    /// An app partition.
    App,
    /// A session partition.
    Session,
    /// The residue.
    Residue,
}
