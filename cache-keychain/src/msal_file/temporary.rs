//! Temporary files, whose names say who made them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cache_core::time::UnixMillis;
use rustix::process::geteuid;

use super::lock;

const PREFIX: &str = ".tokenkeep-";
const SUFFIX: &str = ".tmp";

/// After how long a temporary file is removed although there is a process of its number.
const LONGEST_WRITE: Duration = Duration::from_secs(600);

/// A name for a file of this process beside `path`, from a random `tag`.
pub(super) fn beside(path: &Path, tag: u64) -> PathBuf {
    let pid = std::process::id();
    path.with_file_name(format!("{PREFIX}{pid}-{tag:016x}{SUFFIX}"))
}

/// Removes temporary files whose writers were killed.
///
/// A writer in another container, whose process does not exist here, may lose its file by this, and makes another.
pub(crate) fn sweep(directory: &Path, now: UnixMillis) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(writer) else {
            continue;
        };
        let Ok(found) = entry.metadata() else {
            continue;
        };
        let is_ours = found.is_file() && found.uid() == geteuid().as_raw();
        let modified = UnixMillis(found.mtime().saturating_mul(1000));
        let is_old = now.duration_since(modified) > LONGEST_WRITE;
        let is_running = pid == std::process::id() || lock::process_exists(pid);
        if is_ours && (is_old || !is_running) {
            tracing::debug!(path = %entry.path().display(), "removing the temporary file of a writer that was killed");
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The process that made the temporary file of this name; `None` where it is none.
fn writer(name: &str) -> Option<u32> {
    let (pid, tag) = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('-')?;
    let is_tag = tag.len() == 16 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
    pid.parse().ok().filter(|_| is_tag)
}
