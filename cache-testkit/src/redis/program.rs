//! Where the programs are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Error;

/// Names the Valkey server to use, where it is in neither of the places that are looked in.
const VALKEY_VARIABLE: &str = "TOKENKEEP_VALKEY_SERVER";

/// Where `cargo xtask test` unpacks Valkey if the system's packages do not have it.
const UNPACKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/valkey/usr/bin");

/// Which server to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Program {
    /// Redis, from the package `redis-server`.
    #[default]
    Redis,
    /// Valkey, from the package `valkey-server`, or as `cargo xtask test` unpacked it, or as the environment
    /// variable `TOKENKEEP_VALKEY_SERVER` says.
    Valkey,
}

impl Program {
    /// The name of its executable.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Valkey => "valkey-server",
        }
    }

    pub(super) fn find(self) -> Result<PathBuf, Error> {
        let chosen = std::env::var_os(VALKEY_VARIABLE).filter(|path| !path.is_empty());
        if let (Self::Valkey, Some(chosen)) = (self, chosen) {
            return Ok(chosen.into());
        }
        let unpacked = Path::new(UNPACKED).join(self.name());
        on_path(self.name())
            .or_else(|| (self == Self::Valkey && unpacked.exists()).then_some(unpacked))
            .ok_or_else(|| Error::NotInstalled {
                program: self.name().to_owned(),
            })
    }
}

/// The administrator's client. It speaks to both servers.
pub(super) fn client() -> Result<PathBuf, Error> {
    const NAME: &str = "redis-cli";
    on_path(NAME).ok_or_else(|| Error::NotInstalled {
        program: NAME.to_owned(),
    })
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path: OsString = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}
