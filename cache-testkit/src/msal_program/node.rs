//! MSAL Node.

use std::fs::File;
use std::path::Path;

use tokio::process::Command;

use super::{Cache, Error, MsalProgram, Setting, run};

impl MsalProgram {
    /// Starts a program with MSAL Node and, for a cache in a file or an item, `FilePersistence` or `LibSecretPersistence` and
    /// `PersistenceCachePlugin` of its extensions.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] when the packages of `cache-testkit/msal-node` are missing; [`Error::Environment`] when keytar, which items
    /// need, cannot be compiled; others when Node.js is missing, or the program does not begin.
    pub async fn node(setting: &Setting<'_>) -> Result<Self, Error> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("msal-node");
        let modules = folder.join("node_modules");
        if !modules.is_dir() {
            return Err(Error::NotInstalled { folder });
        }
        if let Cache::Item(..) = setting.cache {
            tokio::task::spawn_blocking(move || compile_keytar(&modules))
                .await
                .map_err(|source| Error::Start {
                    source: source.into(),
                })??;
        }
        let mut command = Command::new("node");
        command.arg("driver.mjs").current_dir(folder);
        Self::start(command, setting).await
    }
}

/// Compiles the package that calls libsecret, once: packages are installed without running what they bring.
fn compile_keytar(modules: &Path) -> Result<(), Error> {
    let start = |source| Error::Start { source };
    let lock = File::create(modules.join(".keytar.lock")).map_err(start)?;
    lock.lock().map_err(start)?;
    let keytar = modules.join("keytar");
    if keytar.join("build/Release/keytar.node").is_file() {
        return Ok(());
    }
    let mut build = std::process::Command::new("npm");
    build.args(["run", "build"]).current_dir(keytar);
    run(&mut build, "compile keytar with libsecret")
}
