//! The database file as the operating system sees it: whose it is, and who else can reach it.
//!
//! Nothing here may open and close an existing database file: closing any descriptor of a file drops all POSIX
//! locks that this process has on it, SQLite's among them. So everything is asked by path.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cache_core::store::error::{ErrorKind, Retry};
use cache_core::store::sync_names;

use crate::error::Failure;

#[cfg(not(unix))]
#[path = "file/other.rs"]
mod platform;
#[cfg(unix)]
#[path = "file/unix.rs"]
mod platform;

/// What SQLite keeps beside the database.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// A database file that passed the checks.
#[derive(Debug)]
pub(crate) struct DatabaseFile {
    path: PathBuf,
    identity: platform::Identity,
}

impl DatabaseFile {
    /// Checks the file at `path` and what is beside it. With `create`, makes the directory (0700) and an empty file
    /// (0600) where there is none.
    pub(crate) fn prepare(path: &Path, create: bool) -> Result<Self, Failure> {
        let path = locate(path, create)?;
        if create {
            create_empty(&path)?;
        }
        let found = fs::symlink_metadata(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::new(
                ErrorKind::Unavailable,
                format!(
                    "there is no database at {}; check the path, or allow its creation",
                    path.display()
                ),
            )
            .with_retry(Retry::No),
            _ => Failure::io(&path, "look at", error),
        })?;
        check(&path, &found)?;
        // SQLite takes a file of one byte for an empty one, and would overwrite that byte.
        if found.len() == 1 {
            let context = format!("{} is not an SQLite database; move it aside", path.display());
            return Err(Failure::new(ErrorKind::Corrupt, context));
        }
        let file = Self {
            identity: platform::identity(&found),
            path,
        };
        file.companions(check)?;
        Ok(file)
    }

    /// Takes group's and others' permissions from the file and its companions.
    ///
    /// After the content was accepted, because a refused file is left as it was.
    pub(crate) fn tighten(&self) -> Result<(), Failure> {
        let found =
            fs::symlink_metadata(&self.path).map_err(|error| Failure::io(&self.path, "look at", error))?;
        platform::tighten(&self.path, &found)?;
        self.companions(platform::tighten)
    }

    /// Forces the names of the file and its log to the disk. SQLite tries it too, and says nothing when that fails: what is committed to a log
    /// without a name is lost when the power is.
    pub(crate) fn sync_names(&self) -> Result<(), Failure> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        sync_names(directory).map_err(|error| Failure::io(directory, "force to the disk", error))
    }

    /// Fails when the file was removed or another one took its place: what is written then would go to a file that
    /// nobody else sees and that vanishes with this process.
    pub(crate) fn verify(&self) -> Result<(), Failure> {
        match fs::symlink_metadata(&self.path) {
            Ok(found) if platform::identity(&found) == self.identity => Ok(()),
            Ok(_) => Err(self.gone("was replaced")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.gone("was removed")),
            Err(error) => Err(Failure::io(&self.path, "look at", error)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn gone(&self, how: &str) -> Failure {
        let context = format!(
            "{} {how} while it was open; open the store again",
            self.path.display()
        );
        Failure::new(ErrorKind::Unavailable, context).with_retry(Retry::No)
    }

    fn companions(&self, act: impl Fn(&Path, &fs::Metadata) -> Result<(), Failure>) -> Result<(), Failure> {
        for suffix in COMPANIONS {
            let mut name = self.path.clone().into_os_string();
            name.push(suffix);
            let path = PathBuf::from(name);
            match fs::symlink_metadata(&path) {
                Ok(found) => act(&path, &found)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Failure::io(&path, "look at", error)),
            }
        }
        Ok(())
    }
}

/// The absolute path: the real directory with the name of the file, which itself is not followed.
fn locate(path: &Path, create: bool) -> Result<PathBuf, Failure> {
    let invalid = |why: &str| {
        let context = format!("the database path {} {why}", path.display());
        Failure::new(ErrorKind::InvalidArgument, context)
    };
    let name = path.file_name().ok_or_else(|| invalid("names no file"))?;
    if path.to_str().is_none_or(|text| text.contains('\0')) {
        return Err(invalid("is not valid text"));
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if create && !directory.exists() {
        platform::create_directory(directory)
            .map_err(|error| Failure::io(directory, "create the directory", error))?;
    }
    let directory = match fs::canonicalize(directory) {
        Ok(directory) => directory,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Failure::new(
                ErrorKind::Unavailable,
                format!("there is no directory {}; check the path", directory.display()),
            )
            .with_retry(Retry::No));
        }
        Err(error) => return Err(Failure::io(directory, "find the directory", error)),
    };
    let found =
        fs::metadata(&directory).map_err(|error| Failure::io(&directory, "look at the directory", error))?;
    platform::check_directory(&directory, &found)?;
    Ok(directory.join(name))
}

/// Creates an empty file, unless something is there.
fn create_empty(path: &Path) -> Result<(), Failure> {
    // Another store of this process must not open the file before our descriptor of it is closed: see the module.
    static CREATING: Mutex<()> = Mutex::new(());
    let _creating = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    match platform::create_new(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // On a read-only file system an existing file may still be read.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem && path.exists() => Ok(()),
        Err(error) => Err(Failure::io(path, "create", error)),
    }
}

fn check(path: &Path, found: &fs::Metadata) -> Result<(), Failure> {
    if found.file_type().is_symlink() {
        return Err(refusal(path, "is a symbolic link; name the file itself"));
    }
    if !found.is_file() {
        let context = format!("{} is not a file", path.display());
        return Err(Failure::new(ErrorKind::InvalidArgument, context));
    }
    platform::check_owner(path, found)
}

fn refusal(path: &Path, why: &str) -> Failure {
    Failure::new(ErrorKind::PermissionDenied, format!("{} {why}", path.display()))
}
