//! Why a migration did not begin, or could not go on.

use super::report::{MigrationProgress, NotKept};
use crate::cache::CacheError;

/// Why a migration did not begin, or could not go on. Nothing is lost in either case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// Both caches are the same.
    #[error("source and target are the same store; name another target")]
    SamePlace,
    /// The source is sealed and the target is not. Nothing was moved.
    #[error(
        "the target is not encrypted: whoever can read it will be able to use every token; allow that explicitly, or choose \
         another target"
    )]
    PlaintextTarget,
    /// The target has no place for some of the source's records. Nothing was moved.
    #[error(
        "the target cannot keep {} of the source's records; leave them behind explicitly, or choose another target",
        .0.len()
    )]
    NotKept(Vec<NotKept>),
    /// A store failed on the way. What was moved until then is in the target; another run goes on.
    #[error("the migration stopped after {} of {} records; run it again to go on", .progress.done, .progress.total)]
    Stopped {
        /// How far it was.
        progress: MigrationProgress,
        /// What failed.
        #[source]
        source: CacheError,
    },
}
