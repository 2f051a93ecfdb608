//! Valkey, which Debian 12 has in its backports only.
//!
//! Where apt does not know the package, it is downloaded with a source list of its own, which apt forgets afterwards,
//! and unpacked under `target`. Nothing of the system changes, and nobody needs to be root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Failure, output, root, run, succeeds};
use crate::packages::PackageManager;

/// Names another server than those below. cache-testkit reads it too.
const VARIABLE: &str = "TOKENKEEP_VALKEY_SERVER";
const SERVER: &str = "valkey-server";
/// Both are one program, in the second package.
const PACKAGES: [&str; 2] = [SERVER, "valkey-tools"];

const OLDEST: u32 = 8;

/// Whether cache-testkit will find a server that is new enough.
pub(crate) fn is_present() -> bool {
    if let Some(chosen) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return is_new_enough(Path::new(&chosen));
    }
    is_new_enough(Path::new(SERVER)) || is_new_enough(&unpacked().join("usr/bin").join(SERVER))
}

/// Whether there is a way to it beside the package managers that know it by name.
pub(crate) fn is_obtainable(manager: PackageManager) -> bool {
    manager == PackageManager::Apt
}

/// Installs it if apt knows it, and unpacks it otherwise.
pub(crate) fn obtain() -> Result<(), Failure> {
    if targets()?.trim().is_empty() {
        PackageManager::Apt.update()?;
    }
    if succeeds(Command::new("apt-cache").args(["show", SERVER])) {
        return PackageManager::Apt.install(&[SERVER]);
    }
    unpack_backport()
}

fn unpack_backport() -> Result<(), Failure> {
    let targets = targets()?;
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let source = backports(&targets, &release).ok_or_else(|| {
        Failure::new("apt does not know valkey-server, and this is no Debian whose backports might have it")
    })?;

    // Whole or not at all: the folder gets its name when everything is in it.
    let work = root().join("target/valkey.partial");
    let failed = |error: std::io::Error| Failure::new(format!("could not write {}: {error}", work.display()));
    if work.exists() {
        // Of a run that was interrupted: its packages may be of another version.
        fs::remove_dir_all(&work).map_err(failed)?;
    }
    for folder in ["state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(work.join(folder)).map_err(failed)?;
    }
    fs::write(work.join("sources.list"), source).map_err(failed)?;
    fs::write(work.join("status"), "").map_err(failed)?;
    run(apt(&work).arg("update"))?;
    run(apt(&work).arg("download").args(PACKAGES))?;
    for entry in fs::read_dir(&work).map_err(failed)? {
        let package = entry.map_err(failed)?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&work))?;
        }
    }
    if unpacked().exists() {
        fs::remove_dir_all(unpacked()).map_err(failed)?;
    }
    fs::rename(&work, unpacked()).map_err(failed)
}

/// Address, release and component of every list of packages that apt has.
fn targets() -> Result<String, Failure> {
    output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
    ]))
}

/// apt-get with sources, lists and packages of its own in `folder`, where it also downloads to.
fn apt(folder: &Path) -> Command {
    let mut command = Command::new("apt-get");
    command.current_dir(folder);
    for (option, value) in [
        ("Dir::Etc::SourceList", "sources.list"),
        ("Dir::Etc::SourceParts", "no-parts"),
        ("Dir::State", "state"),
        ("Dir::State::Status", "status"),
        ("Dir::Cache", "cache"),
    ] {
        command.arg("-o");
        command.arg(format!("{option}={}", folder.join(value).display()));
    }
    // Its other user cannot write here.
    command.args(["-o", "APT::Sandbox::User=root"]);
    command
}

/// The source of backports, from the mirror that this system's own release comes from.
fn backports(targets: &str, os_release: &str) -> Option<String> {
    let value = |name: &str| {
        let line = os_release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"'))
    };
    if value("ID") != Some("debian") {
        return None;
    }
    let codename = value("VERSION_CODENAME")?;
    targets.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (uri, release, component) = (words.next()?, words.next()?, words.next()?);
        if (release, component) != (codename, "main") {
            return None;
        }
        // Debian's keys are among those that apt trusts by itself.
        Some(format!("deb {uri} {codename}-backports main\n"))
    })
}

fn unpacked() -> PathBuf {
    root().join("target/valkey")
}

fn is_new_enough(server: &Path) -> bool {
    let version = Command::new(server).arg("--version").output();
    version.is_ok_and(|output| major(&String::from_utf8_lossy(&output.stdout)) >= Some(OLDEST))
}

/// The first number of `Valkey server v=8.0.1 sha=…`.
fn major(version: &str) -> Option<u32> {
    version.split_once("v=")?.1.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "\
        http://mirror.test/debian/ bookworm-updates main\n\
        http://mirror.test/debian/ bookworm contrib\n\
        http://mirror.test/debian/ bookworm main\n";

    #[test]
    fn backports_come_from_the_mirror_of_the_release() {
        let debian = "PRETTY_NAME=\"Debian\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_eq!(
            backports(TARGETS, debian).unwrap(),
            "deb http://mirror.test/debian/ bookworm-backports main\n"
        );
        assert_eq!(backports("", debian), None);
        assert_eq!(backports(TARGETS, "ID=ubuntu\nVERSION_CODENAME=bookworm\n"), None);
    }

    #[test]
    fn the_version_is_read_from_what_the_server_says() {
        assert_eq!(
            major("Valkey server v=8.0.1 sha=00000000:0 malloc=jemalloc-5.3.0"),
            Some(8)
        );
        assert_eq!(major("Redis server"), None);
    }
}
