//! `cargo xtask test`: every unit, integration and documentation test.

use std::fs;

use crate::command::{Failure, cargo, root, run, succeeds};
use crate::guard;
use crate::prerequisites::{self, Installation, npm};

/// Installs what the tests need and runs them all.
pub(crate) fn all(installation: Installation) -> Result<(), Failure> {
    prerequisites::ensure(installation)?;
    for folder in NODE_FOLDERS {
        install_packages(folder)?;
    }

    if succeeds(&mut cargo(["nextest", "--version"])) {
        run(&mut cargo([
            "nextest",
            "run",
            "--workspace",
            "--all-features",
            "--locked",
            "--no-fail-fast",
        ]))?;
    } else {
        let kinds = ["--lib", "--bins", "--tests", "--examples"];
        run(cargo([
            "test",
            "--workspace",
            "--all-features",
            "--locked",
            "--no-fail-fast",
        ])
        .args(kinds)
        // nextest leaves them out by `.config/nextest.toml`.
        .args(["--", "--skip", AZURE_CLI_MODULE]))?;
    }
    run(&mut cargo([
        "test",
        "--doc",
        "--workspace",
        "--all-features",
        "--locked",
    ]))?;
    // A smoke run of every question, so that none rots. Its values say nothing.
    run(&mut cargo([
        "test",
        "--bench",
        "*",
        "--workspace",
        "--all-features",
        "--locked",
    ]))?;
    guard::all(guard::Mode::Check)
}

/// Runs the tests with the real Azure CLI, which are left out above: it is large, and they install it where it is missing.
pub(crate) fn azure_cli() -> Result<(), Failure> {
    const TARGET: [&str; 6] = [
        "--package",
        "tokenkeep",
        "--all-features",
        "--locked",
        "--test",
        "azure_cli",
    ];
    if succeeds(&mut cargo(["nextest", "--version"])) {
        // Without a test that runs, nextest fails: a filter that is wrong does not pass for success.
        return run(cargo(["nextest", "run", "--ignore-default-filter"]).args(TARGET));
    }
    run(cargo(["test"]).args(TARGET).args(["--", AZURE_CLI_MODULE]))
}

/// The module of the tests that need the Azure CLI.
const AZURE_CLI_MODULE: &str = "real_azure_cli";

/// The parts of the tests that run on Node.js.
const NODE_FOLDERS: [&str; 2] = ["cache-testkit/oidc-provider", "cache-testkit/msal-node"];

/// Installs the packages of the folder's lock file, unless exactly these are installed.
fn install_packages(folder: &str) -> Result<(), Failure> {
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
