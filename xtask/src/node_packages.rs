//! What the OpenID provider and MSAL Node of the tests and gates consist of.

use std::fs;

use crate::command::{Failure, root, run};
use crate::prerequisites::npm;

/// The parts that run on Node.js.
const FOLDERS: [&str; 2] = ["cache-testkit/oidc-provider", "cache-testkit/msal-node"];

/// Installs the packages of each part's lock file, unless exactly these are installed.
pub(crate) fn install() -> Result<(), Failure> {
    FOLDERS.into_iter().try_for_each(install_in)
}

fn install_in(folder: &str) -> Result<(), Failure> {
    let folder = root().join(folder);
    let lock_path = folder.join("package-lock.json");
    let lock = fs::read(&lock_path)
        .map_err(|error| Failure::new(format!("could not read {}: {error}", lock_path.display())))?;

    // npm empties node_modules first, so this copy of the lock file exists only after a whole install.
    let installed_path = folder.join("node_modules/.installed-lock.json");
    if fs::read(&installed_path).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    run(npm().current_dir(&folder).args(["ci", "--no-audit", "--no-fund"]))?;
    fs::write(&installed_path, lock)
        .map_err(|error| Failure::new(format!("could not write {}: {error}", installed_path.display())))
}
