//! The project's chores. `cargo xtask` is an alias of `.cargo/config.toml`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]

mod bench;
mod callgrind;
mod cited_tests;
mod command;
mod fuzz;
mod guard;
mod lint;
mod metadata;
mod mutants;
mod node_packages;
mod packages;
mod prerequisites;
mod soak;
mod source_rules;
mod supply_chain;
mod test;
mod valkey;

use std::process::ExitCode;

use crate::prerequisites::Installation;

const USAGE: &str = "\
The project's chores.

Usage: cargo xtask <command>

Commands:
  test [--no-install]  Install what the tests need, then run every test. With --no-install, only
                       say what is missing.
  test --azure-cli     Run the tests with the real Azure CLI, and no others. They install it under
                       target, from the Python package index: some 800 MB, once.
  lint                 Check the format, clippy with every set of features, the documentation,
                       the rules for source files, and of every dependency its licence, its review
                       and what it brings beside sources.
  bench [--quick] [--no-install] [QUESTION…]
                       Answer every question of benches, or those named, also beside the peers, and
                       write docs/performance.md. With --quick, a smoke run that writes no document
                       there.
  soak [--gate NAME]… [--scale S] [--because TEXT] [--anew] [--no-install]
                       Run every reliability gate, or those named, at full size or a part of it, and write
                       docs/reliability.md. What was stopped goes on where it was, unless --anew is given.
  soak --sources       Name the sources of the product and of its gates, as result files do.
  fuzz [TARGET…] [--runs N] [--input FILE]
                       Run every target of the package fuzz, or those named, guided by coverage, N times each (a
                       million), from what earlier runs found. With --input, run one input again.
  mutants [PART…] [--go-on]
                       Change the code of seal, merge and refresh, or of those named, in a thousand places, and name the
                       changes that no test notices and docs/mutants.md does not explain. It takes hours. With --go-on, what
                       a run that was stopped saw noticed is not tried again.
  guard [--bless]      Count the instructions of hits with callgrind and hold them against the budget in
                       benches/guard. With --bless, rewrite the budget.
  help                 Print this.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["test"] => test::all(Installation::Allowed),
        ["test", "--no-install"] => test::all(Installation::Forbidden),
        ["test", "--azure-cli"] => test::azure_cli(),
        ["lint"] => lint::all(),
        ["guard"] => guard::all(guard::Mode::Check),
        ["guard", "--bless"] => guard::all(guard::Mode::Bless),
        ["bench", ref options @ ..] => match bench::Selection::parse(options) {
            Some(selection) => bench::run(&selection),
            None => {
                eprint!("{USAGE}");
                return ExitCode::from(2);
            }
        },
        ["soak", "--sources"] => soak::print_sources(),
        ["soak", ref options @ ..] => match soak::Selection::parse(options) {
            Some(selection) => soak::run_gates(&selection),
            None => {
                eprint!("{USAGE}");
                return ExitCode::from(2);
            }
        },
        ["fuzz", ref options @ ..] => match fuzz::Selection::parse(options) {
            Some(selection) => fuzz::run_targets(&selection),
            None => {
                eprint!("{USAGE}");
                return ExitCode::from(2);
            }
        },
        ["mutants", ref options @ ..] => match mutants::Selection::parse(options) {
            Some(selection) => mutants::run(&selection),
            None => {
                eprint!("{USAGE}");
                return ExitCode::from(2);
            }
        },
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nerror: {failure}");
            ExitCode::FAILURE
        }
    }
}
