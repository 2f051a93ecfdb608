//! How the Azure CLI's files are read: whole, and only where nobody else can have written them.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;

use cache_core::secret::SecretBytes;
use zeroize::Zeroizing;

use crate::exit::Exit;
use crate::failure::{Failure, one_line};

/// More than the profile of somebody with ten thousand subscriptions.
const MAX_BYTES: u64 = 16 << 20;

/// What the file holds, if it is there.
pub(super) fn content(path: &Path) -> Result<Option<SecretBytes>, Failure> {
    let failed = |error| {
        Failure::file("read", path, error)
            .next("check AZURE_CONFIG_DIR and who may read it; without --store azure-cli it is not needed")
    };
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Of the open file, not of the path: what was checked is what is read.
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(malformed(path, "it is not a regular file"));
    }
    require_own(path, &metadata)?;
    if metadata.len() > MAX_BYTES {
        return Err(malformed(path, "it is far too long"));
    }
    // Allocated in full, so that growing leaves no copy of a secret.
    let length = usize::try_from(metadata.len()).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(SecretBytes::new(std::mem::take(&mut *bytes))))
}

/// A pipe that somebody put there must not be waited for.
#[cfg(unix)]
fn open(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let custom = i32::try_from(flags.bits()).unwrap_or_default();
    File::options().read(true).custom_flags(custom).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> std::io::Result<File> {
    File::open(path)
}

/// Refuses what others wrote, or can write: it decides to whom credentials and refresh tokens are sent. To root, files of others are
/// theirs to keep.
#[cfg(unix)]
pub(super) fn require_own(path: &Path, metadata: &Metadata) -> Result<(), Failure> {
    use std::os::unix::fs::MetadataExt;

    let me = rustix::process::geteuid().as_raw();
    let Some(why) = fault(me, metadata.uid(), metadata.mode(), metadata.is_dir()) else {
        return Ok(());
    };
    let message = format!(
        "{}, which decides how the Azure CLI's tokens are had, {why}",
        path.display()
    );
    Err(
        Failure::new("azure_cli", Exit::Storage, one_line(&message)).next(format!(
            "look through `az cloud show` and `az account show`, then make it yours alone: `chown $USER` and `chmod o-w` {}",
            path.display()
        )),
    )
}

/// Who can write a file is not checked on this system.
#[cfg(not(unix))]
pub(super) fn require_own(_path: &Path, _metadata: &Metadata) -> Result<(), Failure> {
    Ok(())
}

#[cfg(unix)]
fn fault(me: u32, owner: u32, mode: u32, is_folder: bool) -> Option<&'static str> {
    let is_shared_folder = is_folder && mode & 0o1000 != 0;
    if owner != me && owner != 0 && me != 0 {
        return Some("belongs to another user");
    }
    (mode & 0o002 != 0 && !is_shared_folder).then_some("may be written by everybody")
}

pub(super) fn malformed(path: &Path, why: &str) -> Failure {
    let message = format!(
        "{}, a file of the Azure CLI, cannot be used: {why}",
        path.display()
    );
    Failure::new("azure_cli", Exit::Storage, one_line(&message))
        .next("see whether `az account show` can; the file was not changed")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_the_users_own_or_roots_is_trusted() {
        const ME: u32 = 1000;
        for (me, owner, mode, is_folder, is_fault) in [
            (ME, ME, 0o600, false, false),
            (ME, ME, 0o664, false, false),
            (ME, 0, 0o644, false, false),
            (ME, 1001, 0o600, false, true),
            (ME, ME, 0o666, false, true),
            (ME, ME, 0o1666, false, true),
            (ME, ME, 0o755, true, false),
            (ME, ME, 0o777, true, true),
            (ME, 0, 0o1777, true, false),
            (ME, 1001, 0o1777, true, true),
            (0, ME, 0o600, false, false),
            (0, ME, 0o602, false, true),
        ] {
            let found = fault(me, owner, mode, is_folder);
            assert_eq!(found.is_some(), is_fault, "{me} {owner} {mode:o}");
        }
    }
}
