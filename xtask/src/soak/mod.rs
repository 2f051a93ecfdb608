//! `cargo xtask soak`: the reliability gates, and the document about them.

mod document;
mod record;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::command::{Failure, cargo, output, root, run, target_folder};
use crate::fuzz;
use crate::node_packages;
use crate::prerequisites::{self, Installation};
use record::Record;
use sources::Sources;

/// Which gates are to be run, and how much of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Selection {
    /// Only these; all of them when there are none.
    gates: Vec<String>,
    scale: f64,
    /// Forget what earlier runs came to.
    anew: bool,
    /// Why only a part is run.
    because: Option<String>,
    installation: Installation,
}

impl Selection {
    /// Reads the arguments after `soak`; `None` when one is not known.
    pub(crate) fn parse(arguments: &[&str]) -> Option<Self> {
        let mut selection = Self {
            gates: Vec::new(),
            scale: 1.0,
            anew: false,
            because: None,
            installation: Installation::Allowed,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match *argument {
                "--gate" => selection.gates.push((*arguments.next()?).to_owned()),
                "--scale" => selection.scale = arguments.next()?.parse().ok()?,
                "--anew" => selection.anew = true,
                "--because" => selection.because = Some((*arguments.next()?).to_owned()),
                "--no-install" => selection.installation = Installation::Forbidden,
                _ => return None,
            }
        }
        (selection.scale > 0.0).then_some(selection)
    }

    fn wants(&self, gate: &Gate) -> bool {
        self.gates.is_empty() || self.gates.contains(&gate.name)
    }
}

/// What the program `soak` tells of a gate.
#[derive(Clone, Debug, Deserialize)]
struct Gate {
    number: u8,
    name: String,
    title: String,
    must: String,
    unit: String,
    full_size: u64,
    file_name: String,
}

/// Runs the selected gates, one after the other, also after one failed, and writes the document from these and earlier results.
pub(crate) fn run_gates(selection: &Selection) -> Result<(), Failure> {
    prerequisites::ensure(selection.installation)?;
    node_packages::install()?;
    run(&mut cargo([
        "build",
        "--release",
        "--locked",
        "--package",
        "soak",
    ]))?;
    let program = target_folder()?.join("release").join("soak");
    let gates = gates(&program)?;
    for wanted in &selection.gates {
        if !gates.iter().any(|gate| gate.name == *wanted) {
            let names: Vec<_> = gates.iter().map(|gate| gate.name.as_str()).collect();
            return Err(Failure::new(format!(
                "there is no gate {wanted}; there are {}",
                names.join(", ")
            )));
        }
    }

    let needs_fuzzers = |gate: &Gate| gate.name == FUZZING && selection.wants(gate);
    let fuzzers = gates.iter().any(needs_fuzzers).then(fuzz::build).transpose()?;
    let sources = Sources::present()?;
    let mut failed = Vec::new();
    for gate in gates.iter().filter(|gate| selection.wants(gate)) {
        let mut command = Command::new(&program);
        if let Some(fuzzers) = &fuzzers {
            command.env(fuzz::PROGRAMS, fuzzers);
        }
        let ran = run(command
            .current_dir(root())
            .args(["run", &gate.name])
            .args(["--sources", &sources.product, "--harness", &sources.harness])
            .args(["--scale", &selection.scale.to_string()])
            .args(selection.anew.then_some("--anew"))
            .args(
                selection
                    .because
                    .iter()
                    .flat_map(|because| ["--because", because]),
            )
            .arg("--published")
            .arg(published())
            .arg("--running")
            .arg(target_folder()?.join("soak")));
        if let Err(failure) = ran {
            failed.push(format!("{}: {failure}", gate.name));
        }
    }
    write(&gates, &sources)?;
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("not passed:\n  {}", failed.join("\n  "))))
}

/// Names the sources as they are now.
pub(crate) fn print_sources() -> Result<(), Failure> {
    let Sources { product, harness } = Sources::present()?;
    println!("product {product}\nharness {harness}");
    Ok(())
}

/// The gate that runs programs of its own.
const FUZZING: &str = "fuzzing";

fn gates(program: &Path) -> Result<Vec<Gate>, Failure> {
    let list = output(Command::new(program).args(["list", "--json"]))?;
    serde_json::from_str(&list)
        .map_err(|error| Failure::new(format!("`soak list` wrote something else: {error}")))
}

/// Where the result files that the document links to are.
fn published() -> PathBuf {
    root().join("docs/reliability")
}

fn write(gates: &[Gate], sources: &Sources) -> Result<(), Failure> {
    let mut records = Vec::new();
    for gate in gates {
        records.push(Record::read(&published().join(&gate.file_name))?);
    }
    let path = root().join("docs/reliability.md");
    fs::write(&path, document::write(gates, &records, &sources.product))
        .map_err(|error| Failure::new(format!("could not write {}: {error}", path.display())))?;
    println!("Written: {}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_select() {
        let selection = Selection::parse(&["--gate", "a", "--scale", "0.1", "--gate", "b"]).unwrap();
        assert_eq!(
            (selection.gates, selection.scale),
            (vec!["a".to_owned(), "b".to_owned()], 0.1)
        );
        for wrong in [&["--gate"][..], &["--scale", "0"], &["--scale", "much"], &["a"]] {
            assert_eq!(Selection::parse(wrong), None, "{wrong:?}");
        }
    }
}
