//! `soak`: runs the reliability gates. `cargo xtask soak` builds it and says what it is to run.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use soak::child::Task;
use soak::fuzzer::Fuzzer;
use soak::gate::{Doing, Gate, GateError};
use soak::gates;
use soak::record::Record;
use soak::run::{self, Files, Plan};
use soak::stage::Stage;

/// The reliability gates.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the names of all gates.
    List {
        /// Print all that is known of them.
        #[arg(long)]
        json: bool,
    },
    /// Run one gate, from where its result file was left.
    Run {
        /// Its name.
        gate: String,
        /// The part of the full size to run.
        #[arg(long, default_value_t = 1.0)]
        scale: f64,
        /// The folder of the result files that others read.
        #[arg(long)]
        published: PathBuf,
        /// The folder of the result files of runs that go on.
        #[arg(long)]
        running: PathBuf,
        /// Forget what earlier runs came to.
        #[arg(long)]
        anew: bool,
        /// Names the sources of the product that this program was built from.
        #[arg(long)]
        sources: String,
        /// Names the sources of the gates that this program was built from.
        #[arg(long)]
        harness: String,
        /// Why only a part of the full size is run.
        #[arg(long)]
        because: Option<String>,
    },
    /// Run targets of the package `fuzz`, guided by coverage, from what earlier runs found.
    Fuzz {
        /// Their names; all of them when there are none.
        targets: Vec<String>,
        /// How often each is run.
        #[arg(long, default_value_t = 1_000_000)]
        runs: u64,
        /// Run only this input.
        #[arg(long)]
        input: Option<PathBuf>,
    },
    /// Do the work of a child process.
    #[command(hide = true)]
    Child {
        /// The work, as JSON.
        task: String,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            let mut text = format!("error: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text.push_str(&format!("\n  because {cause}"));
                source = cause.source();
            }
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, GateError> {
    match command {
        Command::List { json: false } => {
            for gate in gates::ALL {
                println!("{}", gate.name);
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::List { json: true } => {
            let gates: Vec<_> = gates::ALL.iter().map(description).collect();
            println!("{}", serde_json::Value::from(gates));
            Ok(ExitCode::SUCCESS)
        }
        Command::Run {
            gate,
            scale,
            published,
            running,
            anew,
            sources,
            harness,
            because,
        } => {
            let gate = gates::named(&gate)?;
            let plan = Plan {
                cases: gate.size(scale),
                sources,
                harness,
                because,
                command: command_line(gate, scale),
            };
            let files = Files::of(gate, &published, &running)?;
            if anew {
                files.forget()?;
            }
            let program = std::env::current_exe().doing("could not find this program")?;
            let stage = Stage::new(program)?;
            let mut batches = 0;
            let record = run::run(gate, &plan, &stage, &files, |record| {
                batches += 1;
                println!(
                    "{}: {} of {} {}, {} violations, {:.0} s",
                    gate.name,
                    record.done,
                    record.planned,
                    gate.unit,
                    record.tally.violations,
                    record.seconds
                );
            })?;
            report(&record, &files)?;
            if batches == 0 && record.tally.violations > 0 {
                println!(
                    "{}: not run again, as its sources are those that were found wanting; --anew runs it all the same",
                    gate.name
                );
            }
            Ok(if record.holds_for(plan.cases) {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Command::Fuzz { targets, runs, input } => fuzz(&targets, runs, input.as_deref()),
        Command::Child { task } => {
            let task: Task = serde_json::from_str(&task).doing("the task is not known")?;
            task.perform()?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Says how a run ended, and where that is written.
fn report(record: &Record, files: &Files) -> Result<(), GateError> {
    for example in &record.tally.examples {
        println!("  violated: {example}");
    }
    for what in &record.too_seldom {
        println!("  too seldom: {what}");
    }
    let published = Record::read(&files.published)?;
    if published.is_some_and(|published| published.done > record.done) {
        println!(
            "{}: a larger run is published; the result of this one is {}",
            record.name,
            files.running.display()
        );
    }
    Ok(())
}

fn fuzz(names: &[String], runs: u64, input: Option<&Path>) -> Result<ExitCode, GateError> {
    let fuzzer = Fuzzer::from_environment()?;
    for name in names {
        if !fuzz::TARGETS.iter().any(|target| target.name == name) {
            return Err(GateError::new(format!("there is no target {name}")));
        }
    }
    let is_wanted = |target: &&fuzz::Target| names.is_empty() || names.iter().any(|name| name == target.name);
    let mut is_whole = true;
    for target in fuzz::TARGETS.iter().filter(is_wanted) {
        if let Some(input) = input {
            is_whole &= fuzzer.again(target, input)?;
            continue;
        }
        // Another seed each time, so that a run goes on where the last one ended.
        let run = fuzzer.run(target, runs, rand::random())?;
        println!(
            "{}: {} executions, {} edges, {} new inputs, slowest {} s, {} MiB",
            target.name, run.executions, run.edges, run.new_inputs, run.slowest, run.peak
        );
        if let Some(broken) = run.broken {
            is_whole = false;
            println!("  broken: {}", broken.message);
            if let Some(input) = broken.input {
                println!("  by {}", input.display());
            }
        }
    }
    Ok(if is_whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn description(gate: &Gate) -> serde_json::Value {
    serde_json::json!({
        "number": gate.number,
        "name": gate.name,
        "title": gate.title,
        "must": gate.must,
        "unit": gate.unit,
        "full_size": gate.full_size,
        "file_name": gate.file_name(),
    })
}

/// What a person types to run this again.
fn command_line(gate: &Gate, scale: f64) -> String {
    let name = gate.name;
    if scale == 1.0 {
        format!("cargo xtask soak --gate {name}")
    } else {
        format!("cargo xtask soak --gate {name} --scale {scale}")
    }
}
