//! Names of temporary files, which say who made them.

use std::path::{Path, PathBuf};

const PREFIX: &str = ".tokenkeep-";
const SUFFIX: &str = ".tmp";

/// A name for a file of this process beside `path`, from a random `tag`.
pub(super) fn beside(path: &Path, tag: u64) -> PathBuf {
    let pid = std::process::id();
    path.with_file_name(format!("{PREFIX}{pid}-{tag:016x}{SUFFIX}"))
}

/// The process that made the temporary file of this name; `None` where it is none.
pub(super) fn writer(name: &str) -> Option<u32> {
    let (pid, tag) = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('-')?;
    let is_tag = tag.len() == 16 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
    pid.parse().ok().filter(|_| is_tag)
}
