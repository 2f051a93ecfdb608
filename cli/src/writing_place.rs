//! Whether a file of MSAL programs can be written, told without writing.

use std::path::Path;

use crate::exit::Exit;
use crate::failure::Failure;

/// Fails where the file at `path` cannot be replaced: that takes a new file, and one for the lock, in the folder. A folder that is missing
/// would be made in the nearest one that is there.
pub(crate) fn require_writable(path: &Path) -> Result<(), Failure> {
    let named = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let target = named.canonicalize().unwrap_or_else(|_| named.clone());
    for file in [&named, &target] {
        let Some(folder) = file.ancestors().skip(1).find(|folder| folder.is_dir()) else {
            continue;
        };
        if let Err(error) = access(folder) {
            let message = format!("nothing can be written in {}", folder.display());
            return Err(
                Failure::caused("store_permission_denied", Exit::Storage, message, error).next(format!(
                    "let this user write there (`ls -ld {}`, `chmod u+w`); a file is replaced by a new one, so the folder must be \
                     writable too",
                    folder.display()
                )),
            );
        }
    }
    Ok(())
}

#[cfg(unix)]
fn access(folder: &Path) -> std::io::Result<()> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};

    // With the rights that writing has, not those of who started the program.
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    Ok(accessat(CWD, folder, wanted, AtFlags::EACCESS)?)
}

#[cfg(not(unix))]
fn access(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}
