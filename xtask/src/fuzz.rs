//! `cargo xtask fuzz`: the targets of the package `fuzz`, guided by coverage.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::command::{Failure, cargo, output, root, run, target_folder};

/// The package is a workspace of its own: what it builds is instrumented.
pub(crate) const PACKAGE: [&str; 2] = ["--manifest-path", "fuzz/Cargo.toml"];

/// What tells the program `soak` where the fuzzers are.
pub(crate) const PROGRAMS: &str = "TOKENKEEP_FUZZ_PROGRAMS";

/// What libFuzzer wants to see of the code: which edges are reached, and how often. `cargo fuzz` asks for the same, and for sanitizers, which
/// the stable toolchain has not.
const INSTRUMENTED: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "--cfg=fuzzing",
];

/// And what is compared with what, for a parser's keywords.
const COMPARISONS: &str = "-Cllvm-args=-sanitizer-coverage-trace-compares";

/// The target whose input has no keywords. It runs a whole cache each time, and to trace comparisons took a quarter of
/// that.
const WITHOUT_COMPARISONS: &str = "operations";

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
    let instrumented = INSTRUMENTED.join(" ");
    let programs = build_in(
        "fuzz",
        host,
        &format!("{instrumented} {COMPARISONS}"),
        &["--bins"],
    )?;
    // Artefacts are shared by those alone that are instrumented alike.
    let without = build_in(
        "fuzz-without-comparisons",
        host,
        &instrumented,
        &["--bin", WITHOUT_COMPARISONS],
    )?;
    let (from, to) = (
        without.join(WITHOUT_COMPARISONS),
        programs.join(WITHOUT_COMPARISONS),
    );
    // By a rename: whoever runs the program of before goes on with it.
    let beside = to.with_extension("new");
    let copied = fs::copy(&from, &beside).and_then(|_| fs::rename(&beside, &to));
    copied.map_err(|error| Failure::new(format!("could not copy {}: {error}", from.display())))?;
    Ok(programs)
}

/// Builds what `selection` says in a folder of its own below the target folder, and says where the programs are.
fn build_in(folder: &str, host: &str, flags: &str, selection: &[&str]) -> Result<PathBuf, Failure> {
    let folder = target_folder()?.join(folder);
    run(
        cargo(["build", "--release", "--locked", "--features", "libfuzzer"])
            .args(selection)
            .args(PACKAGE)
            // Named, so that build scripts and procedural macros are not instrumented.
            .args(["--target", host, "--target-dir"])
            .arg(&folder)
            .env("RUSTFLAGS", flags),
    )?;
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
