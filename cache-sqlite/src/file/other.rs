//! Systems without Unix permissions: the directory's access control list is what protects the file.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use crate::error::Failure;

/// The time of creation, which is what the standard library tells of a file's identity here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity(Option<std::time::SystemTime>);

pub(super) fn identity(found: &fs::Metadata) -> Identity {
    Identity(found.created().ok())
}

pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

pub(super) fn create_new(path: &Path) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map(drop)
}

pub(super) fn check_directory(_: &Path, _: &fs::Metadata) -> Result<(), Failure> {
    Ok(())
}

pub(super) fn check_owner(_: &Path, _: &fs::Metadata) -> Result<(), Failure> {
    Ok(())
}

pub(super) fn tighten(_: &Path, _: &fs::Metadata) -> Result<(), Failure> {
    Ok(())
}
