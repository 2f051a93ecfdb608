//! Owners, links and permission bits.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::refusal;
use crate::error::Failure;

const GROUP_AND_OTHERS: u32 = 0o077;
const WRITABLE_BY_OTHERS: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Device and inode.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

pub(super) fn identity(found: &fs::Metadata) -> Identity {
    Identity(found.dev(), found.ino())
}

pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// SQLite gives the log and the index beside a database the permissions of the database, under any umask.
pub(super) fn create_new(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    // A umask that takes the owner's own bits would leave a file that nobody can use.
    file.set_permissions(Permissions::from_mode(0o600))
}

/// In a directory where anybody may rename files, no check of the file lasts.
pub(super) fn check_directory(path: &Path, found: &fs::Metadata) -> Result<(), Failure> {
    if found.mode() & WRITABLE_BY_OTHERS != 0 && found.mode() & STICKY == 0 {
        return Err(refusal(
            path,
            "may be written by everybody; use a directory of your own",
        ));
    }
    Ok(())
}

pub(super) fn check_owner(path: &Path, found: &fs::Metadata) -> Result<(), Failure> {
    let me = rustix::process::geteuid().as_raw();
    if found.uid() != me {
        return Err(refusal(
            path,
            &format!(
                "belongs to user {} and this process runs as {me}; use a file of your own",
                found.uid()
            ),
        ));
    }
    // Another name may be in a place that others can read, and SQLite's log would be looked for beside each.
    if found.nlink() > 1 {
        return Err(refusal(path, "has several hard links; remove the others"));
    }
    Ok(())
}

pub(super) fn tighten(path: &Path, found: &fs::Metadata) -> Result<(), Failure> {
    let mode = found.mode() & 0o7777;
    if mode & GROUP_AND_OTHERS == 0 {
        return Ok(());
    }
    tracing::warn!(
        path = %path.display(),
        mode = format_args!("{mode:o}"),
        "the database was open to other users; taking their permissions away"
    );
    fs::set_permissions(path, Permissions::from_mode(mode & !GROUP_AND_OTHERS))
        .map_err(|error| Failure::io(path, "take other users' permissions from", error))
}
