//! Files with a secret that others must not be able to read.

use std::path::Path;

use cache_core::secret::Secret;

use crate::failure::Failure;

/// More than any password or private key.
#[cfg(unix)]
const MAX_BYTES: u64 = 64 * 1024;

/// Reads a file that holds `what`: a regular file of this user's, which gives group and others no permission.
#[cfg(unix)]
pub(crate) fn read(path: &Path, what: &str) -> Result<Secret, Failure> {
    use std::fs::OpenOptions;
    use std::io::Read;
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

    use rustix::fs::OFlags;

    let shown = path.display();
    let failed = |error| Failure::file(&format!("read {what} in"), path, error).into_usage();
    let insecure = |why: &str, next: &str| {
        Failure::usage(format!("{shown}, which holds {what}, {why}")).next(next.to_owned())
    };
    // NONBLOCK: opening a pipe that somebody put there must not wait for a writer.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let custom = i32::try_from(flags.bits()).unwrap_or_default();
    let file = match OpenOptions::new().read(true).custom_flags(custom).open(path) {
        Ok(file) => file,
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(insecure("is a symbolic link", "give the path of the file itself"));
        }
        Err(error) => return Err(failed(error)),
    };
    // Of the open file, not of the path: what was checked is what is read.
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(insecure("is not a regular file", "give another path"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(insecure("belongs to another user", "give a file of your own"));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(insecure(
            "can be used by others",
            &format!("run `chmod 600 {shown}`, and change the secret if others could have read it"),
        ));
    }
    // Allocated in full, so that growing leaves no copy.
    let length = metadata.len().min(MAX_BYTES);
    let mut text = zeroize::Zeroizing::new(String::with_capacity(
        usize::try_from(length).unwrap_or_default() + 1,
    ));
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

/// Who can read a file is not checked on this system.
#[cfg(not(unix))]
pub(crate) fn read(path: &Path, what: &str) -> Result<Secret, Failure> {
    let text = std::fs::read_to_string(path).map(zeroize::Zeroizing::new);
    let text = text.map_err(|error| Failure::file(&format!("read {what} in"), path, error).into_usage())?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}
