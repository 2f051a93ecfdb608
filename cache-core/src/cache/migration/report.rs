//! What a migration says: beforehand, on its way, and in the end.

use std::ops::ControlFlow;

use crate::cache::CacheError;
use crate::seal::RecordKind;
use crate::store::StoreKey;

/// What whoever [copies](super::Migration::keep_source) a cache should read first.
pub const COPY_WARNING: &str = "the source keeps what is copied. Refresh tokens are left out unless you ask for them: an authority that \
     rotates them takes a token that is used from two places for stolen, and signs the user out of both";

/// What a migration would do.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct MigrationPlan {
    /// How many records of each kind would be moved.
    pub records: Vec<(RecordKind, u64)>,
    /// Their length in the source, in bytes.
    pub bytes: u64,
    /// What the target holds already with the same content, so that only the source's record would be removed.
    pub already_there: u64,
    /// Records that an interrupted run has in its journal.
    pub unfinished: u64,
    /// Records that interrupted runs from other sources, or from this one by another [name](super::Migration::source_name), have in the journal.
    /// Run those again.
    pub unfinished_of_others: u64,
    /// What the target has no place for.
    pub not_kept: Vec<NotKept>,
    /// Records that cannot be opened. They would stay as they are.
    pub unreadable: Vec<(StoreKey, CacheError)>,
    /// Records of the target that are in the way.
    pub conflicts: Vec<MigrationConflict>,
    /// What is in the source and never moves.
    pub stays: Vec<StayingRecords>,
}

impl MigrationPlan {
    /// How many records would be moved.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.records.iter().map(|(_, count)| count).sum()
    }
}

/// Records of a kind that belong to their store and do not move: the key ring, what is in quarantine, the pages of the directory (which is
/// rebuilt), and what no kind is known of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StayingRecords {
    /// The kind; `None` for names that are none of ours.
    pub kind: Option<RecordKind>,
    /// How many.
    pub count: u64,
}

/// A record that the target has no place for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotKept {
    /// Its key in the source.
    pub key: StoreKey,
    /// What it holds.
    pub kind: RecordKind,
    /// Why it cannot move.
    pub because: NotKeptBecause,
}

/// Why the target has no place for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotKeptBecause {
    /// MSAL programs have no place for this kind of record.
    #[error("MSAL programs have no place for it")]
    NoPlace,
    /// MSAL's rows cannot say everything that is in it.
    #[error("MSAL's rows cannot hold all of it")]
    Lossy,
    /// It is longer than what the target takes.
    #[error("it is too large for the target")]
    TooLarge,
    /// The keys that the account's tokens are bound to cannot move, and without them its tokens are worth nothing.
    #[error("the proof keys of its tokens cannot move")]
    ItsProofKeys,
    /// Sessions that act for the account cannot move, and without it they would end.
    #[error("sessions that act for it cannot move")]
    ItsSessions,
}

/// How far a migration is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationProgress {
    /// How many records there are to see to. It may grow: programs that still use the source make new ones.
    pub total: u64,
    /// How many have been seen to, whatever became of them.
    pub done: u64,
    /// How many bytes were moved, in the length that they had in the source.
    pub bytes: u64,
}

/// Is told how far a migration is, and may end it.
pub trait MigrationObserver: Send + Sync {
    /// Called before the first record and after each. On [`ControlFlow::Break`] the migration ends cleanly between two records; a later run goes on.
    /// It must not block.
    fn progress(&self, progress: &MigrationProgress) -> ControlFlow<()>;
}

/// What a migration did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct MigrationReport {
    /// Records that were moved, or copied where the source is kept.
    pub moved: u64,
    /// Records that the target had already, with the same content or because an earlier run had put it there.
    pub already_there: u64,
    /// Records that were gone from the source when their turn came.
    pub gone: u64,
    /// The length of what was moved, in bytes, as it was in the source.
    pub bytes: u64,
    /// Records that stay in the source, and why.
    pub left: Vec<LeftRecord>,
    /// Records that differ from what the target has in their place. Both are as they were.
    pub conflicts: Vec<MigrationConflict>,
    /// Records that interrupted runs from other sources, or from this one by another [name](super::Migration::source_name), have in the journal.
    /// Run those again.
    pub unfinished_of_others: u64,
    /// What is in the source and never moves.
    pub stays: Vec<StayingRecords>,
    /// Whether the observer ended it.
    pub interrupted: bool,
}

impl MigrationReport {
    /// Whether nothing is left that a migration could move.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.left.is_empty() && self.conflicts.is_empty() && !self.interrupted
    }
}

/// A record that stays in the source.
#[derive(Debug)]
pub struct LeftRecord {
    /// Its key in the source.
    pub key: StoreKey,
    /// What it holds.
    pub kind: RecordKind,
    /// Why it stays.
    pub because: LeftBecause,
}

/// Why a record stays in the source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeftBecause {
    /// It cannot be opened.
    #[error(
        "it cannot be opened, and stays as it is; if its key is lost, put it in quarantine and sign in anew"
    )]
    Unreadable(#[source] CacheError),
    /// It is older than one that this process has seen; none of its tokens is used.
    #[error("it was rolled back to an earlier state; sign in there anew, and run the migration again")]
    RolledBack,
    /// A program is spending its refresh token, and did not end in time.
    #[error("a program is refreshing its tokens at this moment; run the migration again")]
    BeingSpent,
    /// Others kept changing it.
    #[error("other programs keep changing it; stop them, or run the migration again")]
    Contended,
    /// The target has no place for it.
    #[error("the target cannot keep it: {0}; move it to a target that can")]
    NotKept(NotKeptBecause),
    /// The target refused it. It was put back.
    #[error("the target refused it; see to the cause, and run the migration again")]
    Refused(#[source] CacheError),
    /// The store that it was written to did not acknowledge it, and has nothing there. It may have been signed out as soon as it was there. The
    /// content is in the source or in the journal, or it was signed out.
    #[error("nobody knows whether it was stored, and nothing is there by now; run the migration again")]
    Unheard,
    /// The target gave back something else than what was written. The content is in the source or in the journal.
    #[error("the target did not give back what was written to it; do not use that store")]
    NotVerified,
    /// The proof keys of the account are in conflict, and its tokens are bound to them.
    #[error("its proof keys could not be moved; see to them, and run the migration again")]
    ProofKeysStay,
    /// The account that it belongs to stays, or came back.
    #[error(
        "the account that it belongs to is still in the source; see to that one, and run the migration again"
    )]
    AccountStays,
}

/// A record that differs from what the target has in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationConflict {
    /// Its key in the source.
    pub key: StoreKey,
    /// What it holds.
    pub kind: RecordKind,
    /// How they differ.
    pub cause: ConflictCause,
}

/// What is in a record's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConflictCause {
    /// The target has something else there, such as another sign-in. Sign out in one of the two places, and run the migration again.
    #[error(
        "the target has something else there, such as another sign-in; sign out in one of the two, and run the migration again"
    )]
    TargetDiffers,
    /// As before, and the source has a new record too: what was on its way stays in the journal.
    #[error(
        "both stores have other sign-ins there by now; what was on its way is kept in the journal: sign out in both, and run \
         the migration again"
    )]
    BothDiffer,
    /// A migration from another source has the record in its journal.
    #[error("an unfinished migration from another source holds it; finish that one first")]
    OtherMigration,
    /// Both have proof keys of the owner, and they are not the same. Those of an application itself stay for good; both caches go on with their own.
    #[error(
        "the target has other proof keys of the same owner; sign out in one of the two, and run the migration again"
    )]
    ProofKeysDiffer,
}
