//! What somebody put in the place of a file.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rustix::fs::{CWD, FileType, Mode, mknodat};

/// Whom a file is given that is not ours.
const NOBODY: u32 = 65_534;
const THEIRS: &[u8] = b"somebody else's";

/// What is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    Link,
    DanglingLink,
    HardLink,
    FileForAll,
    EmptyFileForAll,
    OthersFile,
    Folder,
    FolderForAll,
    Pipe,
}

/// It is in the way, and this knows how it was.
pub(super) struct Trap {
    /// A file that is not the cache's.
    victim: PathBuf,
    /// Where a dangling link leads.
    nowhere: PathBuf,
}

impl Obstacle {
    pub(super) const ALL: [Self; 9] = [
        Self::Link,
        Self::DanglingLink,
        Self::HardLink,
        Self::FileForAll,
        Self::EmptyFileForAll,
        Self::OthersFile,
        Self::Folder,
        Self::FolderForAll,
        Self::Pipe,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Link => "a link",
            Self::DanglingLink => "a link to nothing",
            Self::HardLink => "a hard link",
            Self::FileForAll => "a file that all may write",
            Self::EmptyFileForAll => "an empty file that all may write",
            Self::OthersFile => "another user's file",
            Self::Folder => "a folder",
            Self::FolderForAll => "a folder that all may write",
            Self::Pipe => "a pipe",
        }
    }
}

impl Trap {
    /// `None` where it cannot be, or is not in the way.
    pub(super) fn set(
        obstacle: Obstacle,
        root: &Path,
        path: &Path,
        is_folder: bool,
    ) -> io::Result<Option<Self>> {
        let victim = root.join("victim");
        let nowhere = root.join("nowhere");
        fs::write(&victim, THEIRS)?;
        fs::set_permissions(&victim, Permissions::from_mode(0o640))?;
        age(&victim)?;
        let path = if is_folder {
            path.parent()
                .map(|parent| parent.join("cache"))
                .unwrap_or_default()
        } else {
            path.to_owned()
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match obstacle {
            // A folder that is a link is the user's own business, and one that nobody else may write is none.
            Obstacle::Link | Obstacle::DanglingLink | Obstacle::HardLink | Obstacle::Folder if is_folder => {
                return Ok(None);
            }
            Obstacle::Link => symlink(&victim, &path)?,
            Obstacle::DanglingLink => symlink(&nowhere, &path)?,
            Obstacle::HardLink => fs::hard_link(&victim, &path)?,
            Obstacle::FileForAll => {
                fs::write(&path, THEIRS)?;
                fs::set_permissions(&path, Permissions::from_mode(0o666))?;
                age(&path)?;
            }
            Obstacle::EmptyFileForAll => {
                fs::write(&path, "")?;
                fs::set_permissions(&path, Permissions::from_mode(0o666))?;
                age(&path)?;
            }
            Obstacle::OthersFile => {
                if !rustix::process::geteuid().is_root() {
                    return Ok(None);
                }
                if is_folder {
                    fs::create_dir(&path)?;
                } else {
                    fs::write(&path, THEIRS)?;
                }
                chown(&path, Some(NOBODY), Some(NOBODY))?;
            }
            Obstacle::Folder => fs::create_dir(&path)?,
            Obstacle::FolderForAll => {
                fs::create_dir(&path)?;
                fs::set_permissions(&path, Permissions::from_mode(0o777))?;
            }
            Obstacle::Pipe => mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?,
        }
        Ok(Some(Self { victim, nowhere }))
    }

    /// What was done to files that are not the cache's.
    pub(super) fn changed(&self) -> Vec<String> {
        let mut changed = Vec::new();
        match fs::read(&self.victim) {
            Ok(content) if content == THEIRS => {}
            _ => changed.push("the file that is not its own was changed".to_owned()),
        }
        match fs::metadata(&self.victim) {
            Ok(status) if status.mode() & 0o7777 == 0o640 => {}
            _ => changed.push("the mode of the file that is not its own was changed".to_owned()),
        }
        if fs::symlink_metadata(&self.nowhere).is_ok_and(|status| status.mode() & 0o077 != 0) {
            changed.push("a file was made where a link led, open to all".to_owned());
        }
        changed
    }
}

/// Makes a file old, so that nobody waits for it as for another program's lock.
fn age(path: &Path) -> io::Result<()> {
    fs::File::options()
        .write(true)
        .open(path)?
        .set_modified(UNIX_EPOCH)
}
