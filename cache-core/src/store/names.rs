//! Names in a folder, forced to the disk.

use std::io;
use std::path::Path;

/// Forces the names in `folder` to the disk, for backends that keep files: what was forced into a file that has no name yet is lost when the
/// power is.
///
/// Does nothing where the system cannot: on Windows, in a folder that may be entered and not listed, and on file systems that refuse to force a
/// folder (some that are shared over a network). Blocks as long as the disk takes.
///
/// # Errors
/// That the disk failed, or is full: the names may be lost.
pub fn sync_names(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let folder = match std::fs::File::open(folder) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            opened => opened?,
        };
        match folder.sync_all() {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
                ) =>
            {
                Ok(())
            }
            synced => synced,
        }
    }
    #[cfg(not(unix))]
    {
        _ = folder;
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_folder_is_forced_where_that_can_be_done() {
        let folder = tempfile::tempdir().unwrap();
        sync_names(folder.path()).unwrap();
        // The kernel's own files refuse it with `EINVAL`.
        sync_names(Path::new("/proc/self")).unwrap();
        let missing = sync_names(&folder.path().join("missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
