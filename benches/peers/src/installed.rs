//! The packages of the peers that are written in other languages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::script::ScriptError;

/// The folder in which MSAL Node is installed: that of the tests' lock file. It is installed first unless exactly that is there.
pub(crate) fn msal_node() -> Result<PathBuf, ScriptError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cache-testkit/msal-node");
    let failed = |output: String| ScriptError::Install { output };
    let lock = fs::read(folder.join("package-lock.json")).map_err(|error| failed(error.to_string()))?;
    // npm empties node_modules first, so this copy of the lock file exists only after a whole install.
    let installed = folder.join("node_modules/.installed-lock.json");
    if fs::read(&installed).is_ok_and(|installed| installed == lock) {
        return Ok(folder);
    }
    let output = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
        .args(["ci", "--no-audit", "--no-fund"])
        .current_dir(&folder)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    fs::write(installed, lock).map_err(|error| failed(error.to_string()))?;
    Ok(folder)
}
