//! What the operating system says about a file, as kinds of errors.

use std::io;
use std::path::Path;

use super::error::ErrorKind;

/// The kind of `error`, which a call on a file gave, and what to do about it in words that follow a semicolon; empty where there is nothing to
/// advise. For backends that keep files, so that all of them tell the same want alike.
#[must_use]
pub fn classify_file_error(error: &io::Error) -> (ErrorKind, &'static str) {
    if is_lack_of_descriptors(error) {
        return (
            ErrorKind::Unavailable,
            "no file descriptor is left; close some, or raise their limit (ulimit -n)",
        );
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied => (
            ErrorKind::PermissionDenied,
            "check the permissions of the file and of its directory",
        ),
        io::ErrorKind::ReadOnlyFilesystem => (ErrorKind::ReadOnly, "its file system is read-only"),
        io::ErrorKind::StorageFull => (ErrorKind::Full, "free some space"),
        io::ErrorKind::QuotaExceeded => (ErrorKind::Full, "free some space, or raise the quota"),
        io::ErrorKind::FileTooLarge => (
            ErrorKind::Full,
            "the file may not grow; raise the limit on the size of files (ulimit -f)",
        ),
        io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidFilename => (ErrorKind::InvalidArgument, "check the path"),
        _ => (ErrorKind::Other, ""),
    }
}

/// As [`classify_file_error`], in a sentence that says what failed: `doing` and the path, and then what to do about it.
#[must_use]
pub fn describe_file_error(doing: &str, path: &Path, error: &io::Error) -> (ErrorKind, String) {
    let (kind, advice) = classify_file_error(error);
    let separator = if advice.is_empty() { "" } else { "; " };
    (
        kind,
        format!("cannot {doing} {}{separator}{advice}", path.display()),
    )
}

#[cfg(unix)]
fn is_lack_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;

    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(not(unix))]
fn is_lack_of_descriptors(_: &io::Error) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn what_the_system_says_has_its_kind() {
        for (said, kind) in [
            (Errno::MFILE, ErrorKind::Unavailable),
            (Errno::NFILE, ErrorKind::Unavailable),
            (Errno::ROFS, ErrorKind::ReadOnly),
            (Errno::NOSPC, ErrorKind::Full),
            (Errno::DQUOT, ErrorKind::Full),
            (Errno::FBIG, ErrorKind::Full),
            (Errno::ACCESS, ErrorKind::PermissionDenied),
            (Errno::PERM, ErrorKind::PermissionDenied),
            (Errno::ISDIR, ErrorKind::InvalidArgument),
            (Errno::IO, ErrorKind::Other),
        ] {
            assert_eq!(classify_file_error(&said.into()).0, kind, "{said}");
        }
    }

    #[test]
    fn an_error_says_what_failed_where_and_what_to_do() {
        let said = |error: Errno| describe_file_error("open", Path::new("/c/cache.db"), &error.into()).1;
        assert_eq!(
            said(Errno::ROFS),
            "cannot open /c/cache.db; its file system is read-only"
        );
        assert_eq!(said(Errno::IO), "cannot open /c/cache.db");
    }
}
