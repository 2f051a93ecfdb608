//! What somebody put in the place of a file.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::MSAL_FILE;

/// Whom a file is given that is not ours. No user of any system that gates run on has this number.
const STRANGER: u32 = 54_321;
const THEIRS: &[u8] = b"somebody else's";
/// A key file that is one.
const KEY: &[u8] = b"tokenkeep key-encryption key 1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
/// SQLite takes an empty file for a new database.
const NEW: &[u8] = b"";

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
    obstacle: Obstacle,
    /// What is in the way.
    path: PathBuf,
    before: Found,
    /// A file that is not the cache's.
    victim: PathBuf,
    victim_before: Found,
    /// Where a dangling link leads.
    nowhere: PathBuf,
}

/// What is at a path: its number, mode, owners and content, or where it leads to.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    inode: u64,
    mode: u32,
    owners: (u32, u32),
    content: Vec<u8>,
}

impl Found {
    fn at(path: &Path) -> io::Result<Self> {
        let status = fs::symlink_metadata(path)?;
        let content = match status.file_type() {
            kind if kind.is_symlink() => fs::read_link(path)?.into_os_string().into_encoded_bytes(),
            kind if kind.is_file() => fs::read(path)?,
            // What is made in a folder is judged by itself.
            _ => Vec::new(),
        };
        Ok(Self {
            inode: status.ino(),
            mode: status.mode(),
            owners: (status.uid(), status.gid()),
            content,
        })
    }
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

    /// Whether it can be in the place of a folder. One that is a link is its user's own business, and in one that nobody else may write to is
    /// nothing in the way.
    pub(super) fn is_for_folders(self) -> bool {
        !matches!(
            self,
            Self::Link | Self::DanglingLink | Self::HardLink | Self::Folder
        )
    }

    /// What it must be refused as, in the place of the file of this name or, where that is empty, of a folder: nothing may be kept in it or beside
    /// it. `None` where it is enough that nothing of others is changed.
    pub(super) fn must_be_refused_as(self, name: &str) -> Option<&'static str> {
        let is_folder = name.is_empty();
        // MSAL programs follow links to their files, and what they lock by is nobody's to read.
        let is_msal = name.starts_with(MSAL_FILE);
        match self {
            Self::OthersFile if !is_folder => Some("belongs to"),
            Self::FolderForAll if is_folder => Some("everybody"),
            Self::Link | Self::DanglingLink if !is_msal => Some("symbolic link"),
            Self::HardLink if !is_msal => Some("hard links"),
            _ => None,
        }
    }

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
    /// `None` where only root could put it there.
    pub(super) fn set(
        obstacle: Obstacle,
        root: &Path,
        path: &Path,
        is_folder: bool,
    ) -> io::Result<Option<Self>> {
        let victim = root.join("victim");
        let nowhere = root.join("nowhere");
        // Only what it is makes a link to it wrong, not what is in it or who may read it.
        let (content, mode) = match path.file_name() {
            _ if is_folder => (THEIRS, 0o640),
            Some(name) if name == "key" => (KEY, 0o600),
            Some(name) if name.as_encoded_bytes().starts_with(b"cache.db") => (NEW, 0o640),
            _ => (THEIRS, 0o640),
        };
        fs::write(&victim, content)?;
        fs::set_permissions(&victim, Permissions::from_mode(mode))?;
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
                    // All may write to it, and it could be taken for what belongs there.
                    fs::write(&path, if path.ends_with(MSAL_FILE) { "{}" } else { "" })?;
                    fs::set_permissions(&path, Permissions::from_mode(0o666))?;
                    age(&path)?;
                }
                chown(&path, Some(STRANGER), Some(STRANGER))?;
            }
            Obstacle::Folder => fs::create_dir(&path)?,
            Obstacle::FolderForAll => {
                fs::create_dir(&path)?;
                fs::set_permissions(&path, Permissions::from_mode(0o777))?;
            }
            Obstacle::Pipe => mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?,
        }
        Ok(Some(Self {
            obstacle,
            before: Found::at(&path)?,
            path,
            victim_before: Found::at(&victim)?,
            victim,
            nowhere,
        }))
    }

    /// What was done to files that are not the cache's, and to what is in the way if nothing was kept in it.
    pub(super) fn changed(&self, is_used: bool) -> Vec<String> {
        let mut changed = Vec::new();
        let mut compare = |what: &str, path: &Path, before: &Found| match Found::at(path) {
            Ok(found) if found == *before => {}
            found => changed.push(format!("{what} was changed, from {before:?} to {found:?}")),
        };
        compare("the file that is not its own", &self.victim, &self.victim_before);
        if !is_used || self.obstacle == Obstacle::OthersFile {
            compare("what was in the way", &self.path, &self.before);
        }
        if let Ok(status) = fs::symlink_metadata(&self.nowhere) {
            let is_followed = self.path.file_name().is_some_and(|name| name == MSAL_FILE);
            if !is_followed || status.mode() & 0o077 != 0 {
                changed.push(format!(
                    "a file of mode {:o} was made where a link led",
                    status.mode()
                ));
            }
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
