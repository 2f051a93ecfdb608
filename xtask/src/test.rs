//! `cargo xtask test`: every unit, integration and documentation test.

use crate::command::{Failure, cargo, run, succeeds};
use crate::guard;
use crate::node_packages;
use crate::prerequisites::{self, Installation};

/// Installs what the tests need and runs them all.
pub(crate) fn all(installation: Installation) -> Result<(), Failure> {
    prerequisites::ensure(installation)?;
    node_packages::install()?;

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
