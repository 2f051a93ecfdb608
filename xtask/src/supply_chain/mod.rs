//! What is asked of dependencies: licences and bans, reviews, and no program that nobody knows of.

mod binaries;
mod document;

use std::fs;
use std::process::Command;

pub(crate) use self::binaries::check as binaries;
use crate::command::{Failure, cargo, root, run, succeeds};
use crate::fuzz;
use crate::lint::PEERS;

/// A subcommand of cargo that somebody else wrote.
struct Tool {
    subcommand: &'static str,
    package: &'static str,
    /// The release line that its configuration is written for.
    version: &'static str,
}

const DENY: Tool = Tool {
    subcommand: "deny",
    package: "cargo-deny",
    version: "^0.20",
};

const VET: Tool = Tool {
    subcommand: "vet",
    package: "cargo-vet",
    version: "^0.10",
};

/// What tells cargo which workspace is meant. Each has a lock file.
pub(crate) const WORKSPACES: [&[&str]; 3] = [&[], &PEERS, &fuzz::PACKAGE];

/// Holds every lock file against `deny.toml`.
pub(crate) fn deny() -> Result<(), Failure> {
    DENY.ensure()?;
    for workspace in WORKSPACES {
        let mut command = DENY.command();
        command.args(workspace).arg("check");
        if !workspace.is_empty() {
            // What is there for the first of them only.
            command.args(["--allow", "unmatched-skip"]);
        }
        run(command.args(["licenses", "bans", "sources"]))?;
    }
    Ok(())
}

/// Holds every lock file against the reviews in its `supply-chain`, and the document against these.
pub(crate) fn reviews() -> Result<(), Failure> {
    VET.ensure()?;
    for workspace in WORKSPACES {
        run(VET.command().args(workspace))?;
    }
    let violations = document::violations(&document::Sources {
        document: &read(document::PATH)?,
        lock: &read("Cargo.lock")?,
        audits: &read("supply-chain/audits.toml")?,
        config: &read("supply-chain/config.toml")?,
    })?;
    if violations.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("\n  {}", violations.join("\n  "))))
}

impl Tool {
    /// Installs it where it is missing.
    fn ensure(&self) -> Result<(), Failure> {
        if succeeds(&mut cargo([self.subcommand, "--version"])) {
            return Ok(());
        }
        let Self { package, version, .. } = self;
        run(&mut cargo(["install", package, "--version", version, "--locked"]))
    }

    /// It, with the lock file as it stands and nothing fetched that this does not name.
    fn command(&self) -> Command {
        cargo([self.subcommand, "--locked"])
    }
}

fn read(name: &str) -> Result<String, Failure> {
    fs::read_to_string(root().join(name))
        .map_err(|error| Failure::new(format!("could not read {name}: {error}")))
}
