//! What the tests need beside Rust, and how to get it.

use std::process::Command;

use crate::command::{Failure, succeeds};
use crate::packages::PackageManager;
use crate::valkey;

/// Whether missing programs may be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Installation {
    Allowed,
    Forbidden,
}

/// Makes sure that everything is there, installing what is missing when that is allowed and possible.
///
/// # Errors
/// Names everything that is missing and the command that installs it.
pub(crate) fn ensure(installation: Installation) -> Result<(), Failure> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let manager = PackageManager::detect();
    let mut report = report(&missing, manager);
    if installation == Installation::Forbidden {
        return Err(Failure::new(report));
    }

    let Some(manager) = manager else {
        return Err(Failure::new(report));
    };
    if packages(&missing, manager).is_empty() && !valkey::is_obtainable(manager) {
        return Err(Failure::new(report));
    }
    eprintln!("{report}");
    if let Err(failure) = install(&missing, manager) {
        report.push_str(&format!("\nNot installed: {failure}."));
        return Err(Failure::new(report));
    }

    // A distribution may know a program only in a version that is too old.
    let still_missing = self::missing();
    if still_missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{}\nThe packages of this system do not provide it; install it by other means.",
        self::report(&still_missing, None)
    )))
}

fn install(missing: &[&Prerequisite], manager: PackageManager) -> Result<(), Failure> {
    let packages = packages(missing, manager);
    if !packages.is_empty() {
        manager.install(&packages)?;
    }
    // After the packages: it needs the libraries of Redis.
    if valkey::is_obtainable(manager) && !valkey::is_present() {
        valkey::obtain()?;
    }
    Ok(())
}

struct Prerequisite {
    name: &'static str,
    reason: &'static str,
    is_present: fn() -> bool,
    /// Names of the packages for apt, dnf, apk and brew. An empty name: it comes by other means.
    packages: [&'static str; 4],
}

const PREREQUISITES: [Prerequisite; 22] = [
    Prerequisite {
        name: "a C compiler",
        reason: "it builds SQLite and the cryptography of TLS; on macOS: xcode-select --install",
        is_present: has_c_compiler,
        packages: ["build-essential", "gcc", "build-base", ""],
    },
    Prerequisite {
        name: "a C++ compiler",
        reason: "it builds libFuzzer and a module of MSAL Node; on macOS: xcode-select --install",
        is_present: has_cxx_compiler,
        packages: ["build-essential", "gcc-c++", "build-base", ""],
    },
    Prerequisite {
        name: "Node.js 18 or newer",
        reason: "it runs the OpenID provider and MSAL Node",
        is_present: has_node,
        packages: ["nodejs", "nodejs", "nodejs", "node"],
    },
    Prerequisite {
        name: "npm",
        reason: "it installs the OpenID provider and MSAL Node",
        is_present: has_npm,
        packages: ["npm", "npm", "npm", "node"],
    },
    Prerequisite {
        name: "Python 3.9 or newer with venv",
        reason: "it runs MSAL Python",
        is_present: has_python,
        packages: ["python3-venv", "python3", "python3", "python3"],
    },
    Prerequisite {
        name: "Chromium",
        reason: "it is the browser of interactive sign-in; on macOS: brew install --cask chromium",
        is_present: has_chromium,
        packages: ["chromium", "chromium", "chromium", ""],
    },
    Prerequisite {
        name: "chromedriver",
        reason: "it drives Chromium; on macOS: brew install --cask chromedriver",
        is_present: has_chromedriver,
        packages: ["chromium-driver", "chromedriver", "chromium-chromedriver", ""],
    },
    Prerequisite {
        name: "glewlwyd",
        reason: "it is the second OpenID provider; of these systems only Debian and its kin package it",
        is_present: has_glewlwyd,
        packages: ["glewlwyd", "", "", ""],
    },
    Prerequisite {
        name: "Redis 7",
        reason: "it keeps the records of several machines; its programs are redis-server and redis-cli",
        is_present: has_redis,
        packages: ["redis-server", "redis", "redis", "redis"],
    },
    Prerequisite {
        name: "Valkey 8 or newer",
        reason: "it does as Redis does; with apt it comes from the system's packages or from their backports",
        is_present: valkey::is_present,
        // Not every system that has apt knows the package.
        packages: ["", "valkey", "valkey", "valkey"],
    },
    Prerequisite {
        name: "dbus-daemon",
        reason: "it is the bus of the Secret Service, on Linux",
        is_present: has_dbus,
        packages: ["dbus", "dbus-daemon", "dbus", ""],
    },
    Prerequisite {
        name: "GNOME Keyring",
        reason: "it is the Secret Service that keeps keys, on Linux",
        is_present: has_gnome_keyring,
        packages: ["gnome-keyring", "gnome-keyring", "gnome-keyring", ""],
    },
    Prerequisite {
        name: "KeePassXC",
        reason: "it is a second Secret Service, on Linux; its programs are keepassxc and keepassxc-cli",
        is_present: has_keepassxc,
        packages: ["keepassxc", "keepassxc", "keepassxc", ""],
    },
    Prerequisite {
        name: "keyctl",
        reason: "it gives each test keyrings of the kernel of its own, on Linux",
        is_present: has_keyctl,
        packages: ["keyutils", "keyutils", "keyutils", ""],
    },
    Prerequisite {
        name: "secret-tool",
        reason: "it reads and writes items as libsecret's programs do, on Linux",
        is_present: has_secret_tool,
        packages: ["libsecret-tools", "libsecret", "libsecret", ""],
    },
    Prerequisite {
        name: "libsecret's headers",
        reason: "MSAL Node's module for items of the Secret Service is compiled with them, on Linux",
        is_present: has_libsecret_headers,
        packages: ["libsecret-1-dev", "libsecret-devel", "libsecret-dev", ""],
    },
    Prerequisite {
        name: "PyGObject for the system's Python",
        reason: "MSAL Python calls libsecret with it, on Linux",
        is_present: has_pygobject,
        packages: ["python3-gi", "python3-gobject", "py3-gobject3", ""],
    },
    Prerequisite {
        name: "libsecret's description for PyGObject",
        reason: "MSAL Python keeps items of the Secret Service with it, on Linux",
        is_present: has_python_libsecret,
        packages: ["gir1.2-secret-1", "libsecret", "libsecret", ""],
    },
    Prerequisite {
        name: "Java 17 or newer, with its compiler",
        reason: "it locks a cache file as MSAL Java does",
        is_present: has_java,
        packages: [
            "default-jdk-headless",
            "java-latest-openjdk-devel",
            "openjdk17-jdk",
            "openjdk",
        ],
    },
    Prerequisite {
        name: "flock and setpriv of util-linux",
        reason: "they lock a cache file and try it as another user, on Linux",
        is_present: has_util_linux,
        packages: ["util-linux", "util-linux", "util-linux", ""],
    },
    Prerequisite {
        name: "Valgrind",
        reason: "its callgrind counts the instructions of what must stay cheap, on Linux",
        is_present: has_valgrind,
        packages: ["valgrind", "valgrind", "valgrind", ""],
    },
    Prerequisite {
        name: "strace",
        reason: "it records the system calls of a cache and makes them fail, on Linux",
        is_present: has_strace,
        packages: ["strace", "strace", "strace", ""],
    },
];

impl Prerequisite {
    fn package(&self, manager: PackageManager) -> Option<&'static str> {
        let [apt, dnf, apk, brew] = self.packages;
        let name = match manager {
            PackageManager::Apt => apt,
            PackageManager::Dnf => dnf,
            PackageManager::Apk => apk,
            PackageManager::Brew => brew,
        };
        (!name.is_empty()).then_some(name)
    }
}

fn missing() -> Vec<&'static Prerequisite> {
    PREREQUISITES
        .iter()
        .filter(|prerequisite| !(prerequisite.is_present)())
        .collect()
}

fn packages(missing: &[&Prerequisite], manager: PackageManager) -> Vec<&'static str> {
    let mut packages: Vec<_> = missing
        .iter()
        .filter_map(|prerequisite| prerequisite.package(manager))
        .collect();
    packages.dedup();
    packages
}

fn report(missing: &[&Prerequisite], manager: Option<PackageManager>) -> String {
    let mut report = "the tests need what is missing here:".to_owned();
    for Prerequisite { name, reason, .. } in missing {
        report.push_str(&format!("\n  - {name} ({reason})"));
    }
    if let Some(manager) = manager {
        let packages = packages(missing, manager);
        if !packages.is_empty() {
            report.push_str(&format!("\nTo install it: {}", manager.hint(&packages)));
        }
    }
    report
}

fn has_c_compiler() -> bool {
    has_compiler("CC", "cc")
}

fn has_cxx_compiler() -> bool {
    has_compiler("CXX", "c++")
}

/// The one that `variable` names, or the usual one.
fn has_compiler(variable: &str, usual: &str) -> bool {
    if cfg!(all(windows, target_env = "msvc")) {
        // Rust itself links with Visual Studio's tools there, and finds them without PATH.
        return true;
    }
    let chosen = std::env::var_os(variable).filter(|name| !name.is_empty());
    let compiler = chosen.unwrap_or_else(|| usual.into());
    succeeds(Command::new(compiler).arg("--version"))
}

fn has_node() -> bool {
    let check = "process.exit(Number(process.versions.node.split('.')[0]) >= 18 ? 0 : 1)";
    succeeds(Command::new("node").args(["-e", check]))
}

fn has_npm() -> bool {
    succeeds(npm().arg("--version"))
}

fn has_valgrind() -> bool {
    !cfg!(target_os = "linux") || succeeds(Command::new("valgrind").arg("--version"))
}

fn has_strace() -> bool {
    !cfg!(target_os = "linux") || succeeds(Command::new("strace").arg("--version"))
}

/// Debian ships `venv` without the `ensurepip` that it needs.
fn has_python() -> bool {
    let check = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))";
    succeeds(Command::new("python3").args(["-c", check]))
}

/// Under one of the names that cache-testkit looks for.
fn has_chromium() -> bool {
    ["chromium", "chromium-browser", "google-chrome", "chrome"]
        .iter()
        .any(|name| succeeds(Command::new(name).arg("--version")))
}

fn has_chromedriver() -> bool {
    succeeds(Command::new("chromedriver").arg("--version"))
}

fn has_glewlwyd() -> bool {
    succeeds(Command::new("glewlwyd").arg("--version"))
}

fn has_redis() -> bool {
    ["redis-server", "redis-cli"]
        .iter()
        .all(|name| succeeds(Command::new(name).arg("--version")))
}

fn has_dbus() -> bool {
    !cfg!(target_os = "linux") || succeeds(Command::new("dbus-daemon").arg("--version"))
}

fn has_gnome_keyring() -> bool {
    !cfg!(target_os = "linux") || succeeds(Command::new("gnome-keyring-daemon").arg("--version"))
}

fn has_keepassxc() -> bool {
    !cfg!(target_os = "linux") || succeeds(Command::new("keepassxc-cli").arg("--version"))
}

fn has_keyctl() -> bool {
    !cfg!(target_os = "linux") || succeeds(Command::new("keyctl").arg("--version"))
}

/// It has no option that does nothing, so only its being there is seen.
fn has_secret_tool() -> bool {
    !cfg!(target_os = "linux") || Command::new("secret-tool").output().is_ok()
}

fn has_libsecret_headers() -> bool {
    !cfg!(target_os = "linux") || succeeds(Command::new("pkg-config").args(["--exists", "libsecret-1"]))
}

fn has_pygobject() -> bool {
    !cfg!(target_os = "linux") || system_python_runs("import gi")
}

fn has_python_libsecret() -> bool {
    !cfg!(target_os = "linux")
        || system_python_runs(
            "import gi; gi.require_version('Secret', '1'); from gi.repository import Secret",
        )
}

/// The system's modules are for the system's Python only.
fn system_python_runs(program: &str) -> bool {
    succeeds(Command::new("/usr/bin/python3").args(["-c", program]))
}

/// The program `java` of a runtime alone does not run sources.
fn has_java() -> bool {
    succeeds(Command::new("javac").arg("--version"))
}

fn has_util_linux() -> bool {
    !cfg!(target_os = "linux")
        || ["flock", "setpriv"]
            .iter()
            .all(|name| succeeds(Command::new(name).arg("--version")))
}

pub(crate) fn npm() -> Command {
    Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_what_is_missing_and_the_command_that_installs_it() {
        let missing: Vec<_> = PREREQUISITES.iter().collect();
        let report = report(&missing, Some(PackageManager::Apt));
        for Prerequisite { name, reason, .. } in &PREREQUISITES {
            assert!(report.contains(name) && report.contains(reason), "{report}");
        }
        assert!(report.ends_with(
            "sudo apt-get install --yes --no-install-recommends build-essential nodejs npm python3-venv chromium \
             chromium-driver glewlwyd redis-server dbus gnome-keyring keepassxc keyutils libsecret-tools libsecret-1-dev \
             python3-gi gir1.2-secret-1 default-jdk-headless util-linux valgrind strace"
        ));
    }

    #[test]
    fn a_package_that_covers_two_programs_is_installed_once() {
        let missing: Vec<_> = PREREQUISITES.iter().collect();
        assert_eq!(
            packages(&missing, PackageManager::Brew),
            ["node", "python3", "redis", "valkey", "openjdk"]
        );
    }
}
