//! The content of a folder.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The content of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Its files, by their names.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Image {
    /// What a folder holds.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let mut image = Self::default();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                image
                    .files
                    .insert(entry.file_name().into(), std::fs::read(entry.path())?);
            }
        }
        Ok(image)
    }

    /// Writes the files to a folder, for nobody but their owner.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub fn write_to(&self, folder: &Path) -> io::Result<()> {
        for (name, content) in &self.files {
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            io::Write::write_all(&mut options.open(folder.join(name))?, content)?;
        }
        Ok(())
    }
}
