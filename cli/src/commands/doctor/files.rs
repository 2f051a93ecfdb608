//! Who can read and write the files.

use std::path::{Path, PathBuf};

use super::Check;
use crate::writing_place::require_writable;

/// The database and the files that SQLite keeps beside it.
pub(super) fn store(path: &Path) -> Vec<Check> {
    if path.symlink_metadata().is_err() {
        let detail = format!(
            "{} does not exist yet; the first sign-in makes it",
            path.display()
        );
        return vec![Check::warning("store file", detail), writing(path)];
    }
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let mut checks = vec![private("store file", path), writing(path)];
    let others = [beside("-wal"), beside("-shm")];
    checks.extend(
        others
            .iter()
            .filter(|file| file.exists())
            .map(|file| private("store file", file)),
    );
    checks
}

/// Whether this user can write in the folder of the file, told without writing: programs make other files beside it, or replace it.
pub(super) fn writing(path: &Path) -> Check {
    const NAME: &str = "writing";
    match require_writable(path) {
        Ok(()) => Check::good(NAME, "files can be made in the folder"),
        Err(failure) => Check::failed(NAME, &failure),
    }
}

/// Whether only its owner can use the file, and the owner is this user.
#[cfg(unix)]
pub(super) fn private(name: &'static str, path: &Path) -> Check {
    use std::os::unix::fs::MetadataExt;

    use crate::exit::Exit;

    let shown = path.display();
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) => {
            return Check::problem(
                name,
                Exit::Storage,
                format!("{shown} cannot be examined: {error}"),
            );
        }
    };
    if metadata.is_symlink() {
        return Check::problem(
            name,
            Exit::Storage,
            format!("{shown} is a symbolic link; give the file itself"),
        );
    }
    if !metadata.is_file() {
        return Check::problem(name, Exit::Storage, format!("{shown} is not a regular file"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Check::problem(name, Exit::Storage, format!("{shown} belongs to another user"));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        let detail = format!("{shown} has mode {mode:04o}, so others can use it; run chmod 600 on it");
        return Check::problem(name, Exit::Storage, detail);
    }
    Check::good(name, format!("{shown} has mode {mode:04o} and is yours"))
}

/// Whether only its owner can use the file, and the owner is this user.
#[cfg(not(unix))]
pub(super) fn private(name: &'static str, path: &Path) -> Check {
    Check::warning(
        name,
        format!("who can use {} is not checked on this system", path.display()),
    )
}
