//! Which failures leave open whether a transaction was applied.

use super::*;

/// As SQLite numbers them, with extended codes of the I/O error for a write and for a sync.
const BUSY: i32 = 5;
const READONLY: i32 = 8;
const FULL: i32 = 13;
const CORRUPT: i32 = 11;
const IOERR_WRITE: i32 = 10 | 3 << 8;
const IOERR_FSYNC: i32 = 10 | 4 << 8;
const NOMEM: i32 = 7;

#[test]
fn failed_commit_is_unknown_unless_it_certainly_did_nothing() {
    for (code, kind) in [
        (BUSY, ErrorKind::Unavailable),
        (READONLY, ErrorKind::ReadOnly),
        (FULL, ErrorKind::Full),
    ] {
        let failure = commit_failure(Failure::sqlite(code, "test"));
        assert_eq!(failure.kind(), kind);
        assert!(!is_unknown(&failure), "result code {code}");
    }
    for code in [CORRUPT, IOERR_WRITE, IOERR_FSYNC, NOMEM] {
        assert!(
            is_unknown(&commit_failure(Failure::sqlite(code, "test"))),
            "result code {code}"
        );
    }
    assert!(is_unknown(&commit_failure(sqlx::Error::WorkerCrashed.into())));
}
