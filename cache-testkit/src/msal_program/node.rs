//! MSAL Node.

use std::path::Path;

use tokio::process::Command;

use super::{Error, MsalProgram, Setting};

impl MsalProgram {
    /// Starts a program with MSAL Node and, for a cache in a file, `FilePersistence` and `PersistenceCachePlugin` of its extensions.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] when the packages of `cache-testkit/msal-node` are missing; others when Node.js is, or the program does not
    /// begin.
    pub async fn node(setting: &Setting<'_>) -> Result<Self, Error> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("msal-node");
        if !folder.join("node_modules").is_dir() {
            return Err(Error::NotInstalled { folder });
        }
        let mut command = Command::new("node");
        command.arg("driver.mjs").current_dir(folder);
        Self::start(command, setting).await
    }
}
