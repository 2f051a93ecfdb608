//! Where this platform keeps a user's data and configuration.

use std::env;
use std::path::PathBuf;

use crate::failure::Failure;

const NAME: &str = "tokenkeep";

/// The folder of the default store.
pub(crate) fn data() -> Result<PathBuf, Failure> {
    folder("XDG_DATA_HOME", ".local/share", "LOCALAPPDATA")
}

/// The folder of the default key file: another one than the data's, so that a copy of the data alone is of no
/// use.
pub(crate) fn configuration() -> Result<PathBuf, Failure> {
    folder("XDG_CONFIG_HOME", ".config", "APPDATA")
}

/// The home folder of this user.
pub(crate) fn home() -> Option<PathBuf> {
    let variable = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
    env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

fn folder(xdg_variable: &str, below_home: &str, windows_variable: &str) -> Result<PathBuf, Failure> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = if cfg!(windows) {
        absolute(windows_variable)
    } else {
        let mac = "Library/Application Support";
        let below_home = if cfg!(target_os = "macos") {
            mac
        } else {
            below_home
        };
        // The specification says that a relative path there is to be ignored.
        absolute(xdg_variable).or_else(|| absolute("HOME").map(|home| home.join(below_home)))
    };
    base.map(|base| base.join(NAME)).ok_or_else(|| {
        Failure::usage("this account has no home folder; say where to keep things with --store and --key")
    })
}

/// Makes the folder, for its owner alone.
pub(crate) fn create(folder: &std::path::Path) -> Result<(), Failure> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| {
        Failure::file("make the folder", folder, error)
            .next("name another place, or make the folder yourself with `mkdir -p -m 700`")
    })
}
