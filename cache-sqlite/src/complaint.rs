//! What the operating system has against a file, where SQLite says only that it failed.
//!
//! Its result codes have one word for a lack of descriptors, a read-only mount and a lack of permission, and its driver does not hand out the
//! system's own number. So the system is asked again: by path, and with a file beside the database. The database itself is not opened, as
//! closing it would drop the locks that SQLite has on it.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What SQLite may want at once, for the index of its log or for a page that it adds to it, in bytes.
const ROOM: u64 = 64 << 10;

/// The database, its log, its index and their directory, less the file that is made here.
const DESCRIPTORS: usize = 3;

/// Why nothing can be written at `path`, which is a database, or beside it; `None` where the system would let this process do so.
pub(crate) fn about(path: &Path) -> Option<io::Error> {
    ask(path).err()
}

fn ask(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    may_write(path)?;
    let beside = beside(path);
    let made = write_to(&beside);
    // A second time where it was removed already, which then fails.
    _ = std::fs::remove_file(&beside);
    made
}

fn write_to(path: &Path) -> io::Result<()> {
    use std::io::Write;

    let mut options = std::fs::OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.write(true).create_new(true).open(path)?;
    // At once, so that nothing is left of it if this process is killed.
    #[cfg(unix)]
    std::fs::remove_file(path)?;
    for _ in 0..ROOM / 4096 {
        file.write_all(&[0; 4096])?;
    }
    // SQLite has let go of those that it got by now.
    let mut held = Vec::with_capacity(DESCRIPTORS);
    for _ in 0..DESCRIPTORS {
        held.push(file.try_clone()?);
    }
    Ok(())
}

/// A name that nothing else has.
fn beside(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{count}.room", std::process::id()));
    path.with_file_name(name)
}

#[cfg(unix)]
fn may_write(path: &Path) -> io::Result<()> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    use rustix::process::{Resource, getrlimit};

    let wanted = Access::READ_OK | Access::WRITE_OK;
    accessat(CWD, path, wanted, AtFlags::EACCESS)?;
    // Asked and not tried: who goes beyond it is killed, unless that signal is ignored.
    let most = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.to_owned().into_os_string();
        name.push(suffix);
        let length = std::fs::metadata(name).map_or(0, |found| found.len());
        if length.saturating_add(ROOM) > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn the_system_has_nothing_against_a_file_of_ours_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.db");
        std::fs::write(&path, "").unwrap();
        assert!(about(&path).is_none());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(about(&path).unwrap().kind(), io::ErrorKind::NotFound);
    }
}
