//! `bench`: what strategies cost, on this machine. Nothing of the user's own cache is touched.

mod place;
mod progress;

use std::path::Path;
use std::time::Duration;

use benches::harness::Machine;
use benches::report::{Destination, Findings, Made};
use benches::workload::explore::{Candidate, Exploration, Plan, explore};
use benches::workload::{self, Bench, BenchError, Launcher, Trial, Workload, WorkloadError, presets, sweep};
use cache_core::secret::SecretBytes;
use cache_core::time::{Clock, SystemClock};
use serde_json::json;

use crate::answer::{Answer, Output};
use crate::arguments::BenchArguments;
use crate::exit::Exit;
use crate::failure::{Failure, one_line};
use crate::session::Session;
use crate::{moment, stopping};

use progress::Shown;

/// The command that a worker process is started with.
pub(crate) const WORKER: &str = "bench-worker";

/// Runs a workload, or tells of those that are shipped.
pub(crate) async fn run(session: &Session, arguments: BenchArguments) -> Result<Answer, Failure> {
    if arguments.list {
        return listed();
    }
    if let Some(name) = &arguments.print {
        let text = presets::text(name).map_err(usage)?;
        let answer = Answer::new(json!({ "workload": name, "toml": text }), "");
        let line = SecretBytes::new(text.trim_end().as_bytes().to_vec());
        return Ok(answer.with_output(Output::Line(line)));
    }
    let name = arguments.workload.clone().unwrap_or_default();
    let mut workload = read(&name)?;
    let place = place::of(session)?;
    if let Some(kind) = place.kind {
        if let Some(reason) = workload.unfit(kind) {
            return Err(Failure::usage(format!("--store: {reason}")));
        }
        workload.store.kind = kind;
        workload.store.explore.clear();
    }
    if arguments.quick {
        workload.load.seconds /= 3.0;
        workload.load.warm_up_seconds /= 3.0;
    }
    let destination = Destination::prepare(&arguments.out).map_err(failed)?;
    let bench = Bench::new(launcher()?, place.redis_url, place.folder.as_deref()).map_err(failed)?;
    let shown = Shown::new(session.options.json);
    let mut stop = stopping::signals()?;
    let work = measure(&bench, &workload, &arguments, &shown);
    let found = tokio::select! {
        biased;
        () = stop.requested() => None,
        found = work => Some(found),
    };
    shown.finish();
    bench.clean_up().await.map_err(failed)?;
    let Some(found) = found else {
        return Err(Failure::new("interrupted", Exit::Interrupted, "interrupted"));
    };
    let findings = found.map_err(failed)?;
    findings.write(&destination).map_err(failed)?;
    Ok(told(&findings, &destination))
}

/// Does what the process that started this one says.
pub(crate) async fn work() -> Result<Answer, Failure> {
    workload::serve().await.map_err(failed)?;
    Ok(Answer::printed())
}

fn listed() -> Result<Answer, Failure> {
    let mut lines = Vec::new();
    let mut objects = Vec::new();
    for (name, _) in presets::PRESETS {
        let workload = presets::workload(name).map_err(usage)?;
        lines.push(format!("{name:<20} {}", workload.summary));
        objects.push(json!({ "name": name, "title": workload.title, "summary": workload.summary }));
    }
    Ok(Answer::new(json!({ "workloads": objects }), lines.join("\n")))
}

/// The workload of a shipped name, or of a file.
fn read(name: &str) -> Result<Workload, Failure> {
    match presets::workload(name) {
        Err(WorkloadError::NoPreset(_)) => {}
        known => return known.map_err(usage),
    }
    let path = Path::new(name);
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::usage(format!(
                "{} is neither a shipped workload nor a file",
                one_line(name)
            ))
            .next("`tokenkeep bench --list` names those that are shipped; `--print NAME` shows one to start from"));
        }
        Err(error) => return Err(Failure::file("read", path, error).into_usage()),
    };
    Workload::parse(&text).map_err(|error| {
        let message = format!("{} is no workload", path.display());
        Failure::caused("usage", Exit::Usage, message, error)
    })
}

/// This program again, without the user's settings.
fn launcher() -> Result<Launcher, Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::new("internal", Exit::Other, error))?;
    let without = std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| name.to_string_lossy().starts_with("TOKENKEEP_"))
        .collect();
    Ok(Launcher {
        program,
        arguments: vec![WORKER.into()],
        without,
    })
}

async fn measure(
    bench: &Bench,
    workload: &Workload,
    arguments: &BenchArguments,
    shown: &Shown,
) -> Result<Findings, BenchError> {
    let began = SystemClock.monotonic();
    let mut until = None;
    let (candidate, measurement, exploration) = if arguments.explore {
        let quick = if arguments.quick { 3.0 } else { 1.0 };
        let plan = Plan {
            budget: Duration::from_secs_f64(arguments.budget.as_secs_f64() / quick),
            seed: arguments.seed,
        };
        until = Some(began + plan.budget);
        let (exploration, measurement) = explore(bench, workload, plan, shown).await?;
        let candidate = exploration
            .recommended()
            .map_or_else(|| Candidate::of(workload), |contender| contender.candidate);
        (candidate, measurement, Some(exploration))
    } else {
        let candidate = Candidate::of(workload);
        shown.running(workload.load.seconds + workload.load.warm_up_seconds);
        let trial = Trial {
            workload: workload.clone(),
            store: candidate.store,
            strategy: candidate.strategy,
            seed: arguments.seed,
        };
        (candidate, bench.run(&trial).await?, None)
    };
    let most = if arguments.quick { 100 } else { u32::MAX };
    let sweep = sweep(bench, workload, &candidate, arguments.seed, (most, until), shown).await?;
    Ok(Findings {
        made: made(arguments),
        workload: workload.clone(),
        candidate,
        measurement,
        sweep,
        exploration,
    })
}

fn made(arguments: &BenchArguments) -> Made {
    let mut command = vec!["tokenkeep bench".to_owned()];
    command.extend(arguments.workload.iter().map(|name| one_line(name)));
    if arguments.explore {
        command.push(format!("--explore --budget {}", arguments.budget.as_secs_f64()));
    }
    if arguments.quick {
        command.push("--quick".to_owned());
    }
    command.push(format!("--seed {}", arguments.seed));
    let build = if cfg!(debug_assertions) {
        "debug build: figures say little"
    } else {
        "release build"
    };
    Made {
        date: moment::shown(SystemClock.now()),
        command: command.join(" "),
        machine: described(&Machine::this()),
        version: format!("tokenkeep {} ({build})", env!("CARGO_PKG_VERSION")),
        seed: arguments.seed,
    }
}

fn described(machine: &Machine) -> String {
    format!(
        "{}, {} processors, {} MiB of memory, {}",
        machine.processor, machine.processors, machine.memory_mib, machine.system
    )
}

fn told(findings: &Findings, destination: &Destination) -> Answer {
    let page = destination.page.display().to_string();
    let text = match &findings.exploration {
        Some(exploration) => format!("{}\n\n{}\n", exploration.paragraph, exploration.expression),
        None => findings.summary(),
    };
    let object = json!({
        "workload": findings.workload.title,
        "store": findings.candidate.store,
        "strategy": findings.candidate.strategy,
        "figures": findings.measurement.figures(),
        "recommendation": findings.exploration.as_ref().map(recommendation),
        "report": &page,
        "numbers": destination.numbers.display().to_string(),
    });
    Answer::new(object, format!("{text}\nreport: {page}"))
}

fn recommendation(exploration: &Exploration) -> serde_json::Value {
    json!({
        "text": exploration.paragraph,
        "expression": exploration.expression,
        "decided_by": exploration.choice.decided_by(),
        "confirmed": exploration.confirmation.as_ref().map(|confirmation| confirmation.outcome),
        "candidates": exploration.contenders.len(),
        "seconds": exploration.seconds,
    })
}

fn usage(error: WorkloadError) -> Failure {
    Failure::new("usage", Exit::Usage, error)
}

fn failed(error: BenchError) -> Failure {
    let exit = match &error {
        BenchError::Store { .. } | BenchError::Redis { .. } => Exit::Storage,
        BenchError::NothingToExplore(_) => Exit::Usage,
        _ => Exit::Other,
    };
    Failure::new("bench", exit, error)
}
