//! `cargo xtask guard`: the instructions of hits, counted by callgrind, against `benches/guard/budget.json`.
//!
//! A count does not depend on how busy the machine is. It varies a little with hash seeds and with what the C library finds the processor to have.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::callgrind::{self, Calls};
use crate::command::{Failure, cargo, root, run, target_folder};

/// What is in the hits is optimised, in the development profile, so that all else comes from the build of the tests.
const OPTIMISED: [&str; 5] = ["arc-swap", "cache-core", "flows", "guard", "quick_cache"];

const SETTINGS: [&str; 4] = [
    "opt-level=3",
    "codegen-units=16",
    "debug-assertions=false",
    "overflow-checks=false",
];

/// Where the C library chooses among variants of its functions, each of which has another number of instructions.
const PLAIN_PROCESSOR: &str = "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-ERMS,-FSRM";

#[derive(Serialize, Deserialize)]
struct Budget {
    /// How many per cent a count may be above its budget.
    tolerance_percent: f64,
    /// The instructions of one call of each probe.
    instructions: BTreeMap<String, u64>,
}

/// Whether the budget is held or rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Check,
    Bless,
}

/// Counts, prints, and compares or rewrites the budget.
pub(crate) fn all(mode: Mode) -> Result<(), Failure> {
    if !cfg!(target_os = "linux") {
        eprintln!("instructions are counted on Linux only; allocations are counted by the tests");
        return Ok(());
    }
    let path = root().join("benches/guard/budget.json");
    let mut budget = Budget::read(&path)?;
    let measured = measure()?;
    let mut exceeded = Vec::new();
    println!("\n  {:<12} {:>12} {:>12}", "", "instructions", "budget");
    for (probe, calls) in &measured {
        let (instructions, budgeted) = (calls.each(), budget.instructions.get(probe));
        let shown = budgeted.map_or_else(|| "none".to_owned(), u64::to_string);
        println!("  {probe:<12} {instructions:>12} {shown:>12}");
        let limit = budgeted.map(|budgeted| *budgeted as f64 * (1.0 + budget.tolerance_percent / 100.0));
        if limit.is_none_or(|limit| instructions as f64 > limit) {
            exceeded.push(format!(
                "{probe} takes {instructions} instructions, budgeted are {shown}"
            ));
        }
    }
    exceeded.extend(
        budget
            .instructions
            .keys()
            .filter(|probe| !measured.contains_key(*probe))
            .map(|probe| format!("{probe} was not run")),
    );
    if mode == Mode::Bless {
        budget.instructions = measured
            .iter()
            .map(|(probe, calls)| (probe.clone(), calls.each()))
            .collect();
        return budget.write(&path);
    }
    if exceeded.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "hits cost more than their budget (and {} % of tolerance):\n  {}\nMake them cheaper, or say why not and run `cargo xtask guard --bless`",
        budget.tolerance_percent,
        exceeded.join("\n  ")
    )))
}

impl Budget {
    fn read(path: &Path) -> Result<Self, Failure> {
        let json = fs::read(path)
            .map_err(|error| Failure::new(format!("could not read {}: {error}", path.display())))?;
        serde_json::from_slice(&json)
            .map_err(|error| Failure::new(format!("{} is not a budget: {error}", path.display())))
    }

    fn write(&self, path: &Path) -> Result<(), Failure> {
        let unwritable = |error| Failure::new(format!("could not write {}: {error}", path.display()));
        let json = serde_json::to_string_pretty(self).map_err(|error| unwritable(error.into()))?;
        fs::write(path, json + "\n").map_err(unwritable)
    }
}

/// Runs the probes under callgrind.
fn measure() -> Result<BTreeMap<String, Calls>, Failure> {
    let target = target_folder()?;
    run(&mut build())?;
    let output: PathBuf = target.join("guard.callgrind");
    run(Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--quiet",
            "--compress-strings=no",
            "--compress-pos=no",
        ])
        .arg(format!("--callgrind-out-file={}", output.display()))
        .arg(target.join("debug/guard"))
        .env("GLIBC_TUNABLES", PLAIN_PROCESSOR))?;
    let profile = fs::read_to_string(&output)
        .map_err(|error| Failure::new(format!("could not read {}: {error}", output.display())))?;
    let probes = callgrind::calls_in(&profile, "guard::probes::");
    if probes.is_empty() {
        return Err(Failure::new(
            "callgrind has counted no probe; is the program stripped of its names?",
        ));
    }
    Ok(probes)
}

/// With the features of the tests, so that their artefacts serve.
fn build() -> Command {
    let mut command = cargo([
        "build",
        "--workspace",
        "--all-features",
        "--locked",
        "--bin",
        "guard",
    ]);
    for package in OPTIMISED {
        for setting in SETTINGS {
            command.args(["--config", &format!("profile.dev.package.{package}.{setting}")]);
        }
    }
    command
}
