//! `cargo xtask fuzz`: the targets of the package `fuzz`, guided by coverage.

use std::path::PathBuf;
use std::process::Command;

use crate::command::{Failure, cargo, output, root, run, target_folder};

/// The package is a workspace of its own: what it builds is instrumented.
pub(crate) const PACKAGE: [&str; 2] = ["--manifest-path", "fuzz/Cargo.toml"];

/// What tells the program `soak` where the fuzzers are.
pub(crate) const PROGRAMS: &str = "TOKENKEEP_FUZZ_PROGRAMS";

/// What libFuzzer wants to see of the code: which edges are reached, how often, and what is compared with what. `cargo fuzz` asks for the same,
/// and for sanitizers, which the stable toolchain has not.
const INSTRUMENTED: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];

/// What is to be run, and how often.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Selection {
    /// Only these; all of them when there are none.
    targets: Vec<String>,
    runs: u64,
    /// Only this input.
    input: Option<PathBuf>,
}

impl Selection {
    /// Reads the arguments after `fuzz`; `None` when one is not known.
    pub(crate) fn parse(arguments: &[&str]) -> Option<Self> {
        let mut selection = Self {
            targets: Vec::new(),
            runs: 1_000_000,
            input: None,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match *argument {
                "--runs" => selection.runs = arguments.next()?.parse().ok()?,
                "--input" => selection.input = Some(PathBuf::from(arguments.next()?)),
                option if option.starts_with('-') => return None,
                target => selection.targets.push(target.to_owned()),
            }
        }
        (selection.input.is_none() || selection.targets.len() == 1).then_some(selection)
    }
}

/// Builds the programs and runs the selected ones, from where earlier runs ended.
pub(crate) fn run_targets(selection: &Selection) -> Result<(), Failure> {
    let programs = build()?;
    run(&mut cargo([
        "build",
        "--release",
        "--locked",
        "--package",
        "soak",
    ]))?;
    let mut command = Command::new(target_folder()?.join("release").join("soak"));
    command
        .arg("fuzz")
        .args(&selection.targets)
        .env(PROGRAMS, programs);
    match &selection.input {
        Some(input) => command.arg("--input").arg(input),
        None => command.args(["--runs", &selection.runs.to_string()]),
    };
    run(&mut command)
}

/// Builds the programs, and says where they are.
pub(crate) fn build() -> Result<PathBuf, Failure> {
    let version = output(Command::new("rustc").current_dir(root()).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or_else(|| Failure::new("`rustc -vV` names no host"))?;
    let folder = target_folder()?.join("fuzz");
    run(cargo([
        "build",
        "--release",
        "--locked",
        "--bins",
        "--features",
        "libfuzzer",
    ])
    .args(PACKAGE)
    // Named, so that build scripts and procedural macros are not instrumented.
    .args(["--target", host, "--target-dir"])
    .arg(&folder)
    .env("RUSTFLAGS", INSTRUMENTED.join(" ")))?;
    Ok(folder.join(host).join("release"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_select() {
        let selection = Selection::parse(&["envelope", "--runs", "5"]).unwrap();
        assert_eq!(
            (selection.targets, selection.runs),
            (vec!["envelope".to_owned()], 5)
        );
        assert!(Selection::parse(&["envelope", "--input", "x"]).is_some());
        for wrong in [
            &["--runs"][..],
            &["--runs", "many"],
            &["--input", "x"],
            &["--fast"],
        ] {
            assert_eq!(Selection::parse(wrong), None, "{wrong:?}");
        }
    }
}
