//! Where the file is, and whether it is a place to keep tokens in.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use cache_core::store::error::{ErrorKind, Retry};
use rustix::process::geteuid;

use super::error::Failure;

/// As many links in a row as Linux follows.
const MAX_LINKS: usize = 40;

const WRITABLE_BY_OTHERS: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// The file of a store.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// As it was named, which is what MSAL programs put `.lockfile` to.
    named: PathBuf,
    /// Where that leads: all links followed.
    target: PathBuf,
}

impl Place {
    /// Finds the file and checks whose it is. With `create` a missing directory is made, and the file may be missing.
    pub(super) fn locate(path: &Path, create: bool) -> Result<Self, Failure> {
        let Some(name) = path.file_name() else {
            let context = format!("the path {} names no file", path.display());
            return Err(Failure::new(ErrorKind::InvalidArgument, context));
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if create {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
            made.map_err(|error| Failure::io(parent, "make the directory", error))?;
        }
        let missing = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound if !create => not_there(path),
            _ => Failure::io(parent, "find the directory", error),
        };
        let named = fs::canonicalize(parent).map_err(missing)?.join(name);
        let target = follow(&named)?;
        let place = Self { named, target };
        place.check()?;
        match fs::metadata(&place.target) {
            Ok(found) => check_file(&place.target, &found)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && create => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not_there(path)),
            Err(error) => return Err(Failure::io(&place.target, "look at", error)),
        }
        Ok(place)
    }

    /// To read from, and to look at: whatever it leads to now.
    pub(super) fn named(&self) -> &Path {
        &self.named
    }

    /// To write to.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// The directory that the file is in.
    pub(super) fn directory(&self) -> &Path {
        self.target.parent().unwrap_or(Path::new("/"))
    }

    /// Where temporary files are made: beside the file, and beside each lock file.
    pub(super) fn directories(&self) -> [&Path; 2] {
        [self.directory(), self.named.parent().unwrap_or(Path::new("/"))]
    }

    /// The lock files: the one of those who use the same path, and the one of those who go to the file itself.
    pub(super) fn lock_files(&self) -> Vec<PathBuf> {
        [&self.named, &self.target]
            .map(|path| {
                let mut name = OsString::from(path);
                name.push(".lockfile");
                PathBuf::from(name)
            })
            .into()
    }

    /// Checks, before each write, what may have changed since the store was opened.
    pub(super) fn check(&self) -> Result<(), Failure> {
        for directory in self.directories() {
            let found = fs::metadata(directory).map_err(|error| Failure::io(directory, "look at", error))?;
            check_directory(directory, &found)?;
        }
        if follow(&self.named)? != self.target {
            let context = format!(
                "{} leads to another file than when it was opened; open the store again",
                self.named.display()
            );
            return Err(Failure::new(ErrorKind::Unavailable, context).with_retry(Retry::No));
        }
        Ok(())
    }
}

/// Where `path` leads to, which need not be there. The path's directory is canonical, and so is the result's.
fn follow(path: &Path) -> Result<PathBuf, Failure> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let is_link = fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink());
        if !is_link {
            return Ok(path);
        }
        let failed = |error| Failure::io(&path, "follow the link", error);
        let directory = path.parent().unwrap_or(Path::new("/"));
        let target = directory.join(fs::read_link(&path).map_err(failed)?);
        let (Some(directory), Some(name)) = (target.parent(), target.file_name()) else {
            let context = format!("{} leads to no file", path.display());
            return Err(Failure::new(ErrorKind::InvalidArgument, context));
        };
        path = fs::canonicalize(directory).map_err(failed)?.join(name);
    }
    let context = format!("{} leads from link to link without end", path.display());
    Err(Failure::new(ErrorKind::InvalidArgument, context))
}

/// In a directory of others, or one where others may rename what is in it, no check of the file lasts.
fn check_directory(path: &Path, found: &Metadata) -> Result<(), Failure> {
    let me = geteuid().as_raw();
    if found.uid() != me && found.uid() != 0 {
        return Err(Failure::refusal(
            path,
            &format!(
                "belongs to user {} and this process runs as {me}; use a directory of your own",
                found.uid()
            ),
        ));
    }
    if found.mode() & WRITABLE_BY_OTHERS != 0 && found.mode() & STICKY == 0 {
        return Err(Failure::refusal(
            path,
            "may be written by everybody; use a directory of your own",
        ));
    }
    Ok(())
}

/// What somebody else put there are not our tokens. Root may keep another user's file up, in a directory of its own.
pub(super) fn check_file(path: &Path, found: &Metadata) -> Result<(), Failure> {
    if !found.is_file() {
        let context = format!("{} is not a regular file", path.display());
        return Err(Failure::new(ErrorKind::InvalidArgument, context));
    }
    let me = geteuid().as_raw();
    if found.uid() != me && me != 0 {
        return Err(Failure::refusal(
            path,
            &format!(
                "belongs to user {} and this process runs as {me}; use a file of your own, or change its owner",
                found.uid()
            ),
        ));
    }
    Ok(())
}

fn not_there(path: &Path) -> Failure {
    let context = format!(
        "there is no cache file at {}; sign in with the program that keeps it, check the path, or allow its creation",
        path.display()
    );
    Failure::new(ErrorKind::Unavailable, context).with_retry(Retry::No)
}
