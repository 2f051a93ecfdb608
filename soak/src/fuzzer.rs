//! The programs of the package `fuzz`: libFuzzer's, each with a folder of the inputs that it found.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fuzz::Target;

use crate::gate::{Doing, GateError};

/// Names the folder of the programs. `cargo xtask` builds them and sets it.
pub const PROGRAMS: &str = "TOKENKEEP_FUZZ_PROGRAMS";

/// What one input may take: far more than an honest one of its length does.
pub const SECONDS: u32 = 10;

/// What a program may take, most of which is libFuzzer's own.
pub const MEBIBYTES: u32 = 768;

/// Where the programs are, and what they found.
#[derive(Debug)]
pub struct Fuzzer {
    programs: PathBuf,
}

/// How a run of a program ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// How many inputs were run that were made for it. Those that earlier runs found, and the seeds, are run before and do not count.
    pub executions: u64,
    /// How many edges of the code they reached.
    pub edges: u64,
    /// How many inputs were kept because they reached something new.
    pub new_inputs: u64,
    /// How long the slowest input took, in seconds.
    pub slowest: u64,
    /// The most memory that the program had, in MiB.
    pub peak: u64,
    /// Why it ended early.
    pub broken: Option<Broken>,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// What the program said.
    pub message: String,
    /// The input, where one was written.
    pub input: Option<PathBuf>,
}

impl Fuzzer {
    /// By the environment variable [`PROGRAMS`].
    ///
    /// # Errors
    ///
    /// When it is not set.
    pub fn from_environment() -> Result<Self, GateError> {
        let programs = std::env::var_os(PROGRAMS).ok_or_else(|| {
            GateError::new(format!(
                "{PROGRAMS} is not set; `cargo xtask soak` and `cargo xtask fuzz` build the programs and set it"
            ))
        })?;
        Ok(Self {
            programs: programs.into(),
        })
    }

    /// Runs a target `executions` times, from what earlier runs found and the seeds.
    ///
    /// # Errors
    ///
    /// When it could not be run, or less often, or its program is not instrumented.
    pub fn run(&self, target: &Target, executions: u64, seed: u64) -> Result<Run, GateError> {
        let corpus = self.folder("corpus", target)?;
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            let path = corpus.join(format!("seed-{number}"));
            fs::write(&path, seed).doing(format!("could not write {}", path.display()))?;
        }
        let known = files(&corpus)?.len() as u64;
        let mut found = self.folder("found", target)?.into_os_string();
        found.push("/");
        let mut prefix = std::ffi::OsString::from("-artifact_prefix=");
        prefix.push(found);
        let output = self
            .program(target)
            .arg(format!("-runs={}", executions + known))
            // Zero would be a number that libFuzzer makes up.
            .arg(format!("-seed={}", seed % 0xFFFF_FFFF + 1))
            .arg(format!("-max_len={}", target.max_len))
            .arg(format!("-timeout={SECONDS}"))
            .arg(format!("-rss_limit_mb={MEBIBYTES}"))
            .args(["-print_final_stats=1", "-detect_leaks=0"])
            // The bookkeeping of its schedule by entropy takes half of the time where many edges are reached.
            .arg("-entropic=0")
            .arg(prefix)
            .arg(&corpus)
            .output()
            .doing(format!("could not run the program {}", target.name))?;
        let mut run = Run::read(&String::from_utf8_lossy(&output.stderr), output.status.success());
        run.executions = run.executions.saturating_sub(known);
        if run.executions < executions && run.broken.is_none() {
            return Err(GateError::new(format!(
                "the program {} ran {} inputs, not {executions}",
                target.name, run.executions
            )));
        }
        if run.edges < 100 && run.broken.is_none() {
            return Err(GateError::new(format!(
                "the program {} reached {} edges: it is not instrumented",
                target.name, run.edges
            )));
        }
        Ok(run)
    }

    /// Runs one input again, with the program's output for a person to read. Whether it went well.
    ///
    /// # Errors
    ///
    /// When it could not be run.
    pub fn again(&self, target: &Target, input: &Path) -> Result<bool, GateError> {
        let status = self.program(target).arg(input).status();
        Ok(status
            .doing(format!("could not run the program {}", target.name))?
            .success())
    }

    /// The inputs that broke a promise in this run or an earlier one.
    ///
    /// # Errors
    ///
    /// When their folder cannot be read.
    pub fn found(&self, target: &Target) -> Result<Vec<PathBuf>, GateError> {
        files(&self.folder("found", target)?)
    }

    /// Runs one of these again. Whether it breaks the promise still.
    ///
    /// # Errors
    ///
    /// When it could not be run.
    pub fn breaks(&self, target: &Target, input: &Path) -> Result<Option<Broken>, GateError> {
        let output = self
            .program(target)
            .arg(format!("-timeout={SECONDS}"))
            .arg(format!("-rss_limit_mb={MEBIBYTES}"))
            .arg("-detect_leaks=0")
            .arg(input)
            .output()
            .doing(format!("could not run the program {}", target.name))?;
        let mut broken = Run::read(&String::from_utf8_lossy(&output.stderr), output.status.success()).broken;
        if let Some(broken) = &mut broken {
            broken.input = Some(input.to_owned());
        }
        Ok(broken)
    }

    fn program(&self, target: &Target) -> Command {
        let mut command = Command::new(self.programs.join(target.name));
        command.stdin(Stdio::null());
        command
    }

    fn folder(&self, kind: impl AsRef<OsStr>, target: &Target) -> Result<PathBuf, GateError> {
        let folder = self.programs.join(kind.as_ref()).join(target.name);
        fs::create_dir_all(&folder).doing(format!("could not make {}", folder.display()))?;
        Ok(folder)
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, GateError> {
    let unread = || format!("could not read {}", folder.display());
    let entries = fs::read_dir(folder).doing(unread())?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<_> = paths.collect::<Result<_, _>>().doing(unread())?;
    paths.sort();
    Ok(paths)
}

impl Run {
    /// Reads what libFuzzer wrote.
    fn read(output: &str, is_success: bool) -> Self {
        let statistic = |name: &str| {
            let line = output.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse().ok())
                .unwrap_or_default()
        };
        let edges = output.lines().rev().find_map(|line| {
            let mut words = line.split_whitespace().skip_while(|word| *word != "cov:");
            words.nth(1)?.parse().ok()
        });
        Self {
            executions: statistic("stat::number_of_executed_units:"),
            edges: edges.unwrap_or_default(),
            new_inputs: statistic("stat::new_units_added:"),
            slowest: statistic("stat::slowest_unit_time_sec:"),
            peak: statistic("stat::peak_rss_mb:"),
            broken: (!is_success).then(|| Broken::read(output)),
        }
    }
}

impl Broken {
    fn read(output: &str) -> Self {
        let after = |mark: &str| output.lines().find_map(|line| Some(line.split_once(mark)?.1));
        let panicked = output.split_once("panicked at ").map(|(_, rest)| {
            let lines: Vec<_> = rest.lines().take(2).collect();
            lines.join(" ")
        });
        let message = panicked.or_else(|| after("ERROR: ").map(str::to_owned));
        Self {
            message: message.unwrap_or_else(|| "it ended without a word".to_owned()),
            input: after("Test unit written to ").map(PathBuf::from),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn what_a_good_run_wrote_is_read() {
        let output = "\
#2\tINITED cov: 81 ft: 82 corp: 1/1b exec/s: 0 rss: 30Mb
#500\tNEW    cov: 300 ft: 400 corp: 2/2b lim: 4 exec/s: 0 rss: 31Mb L: 1/1 MS: 1 ChangeBit-
#50000\tDONE   cov: 345 ft: 420 corp: 20/2Kb lim: 48 exec/s: 25000 rss: 50Mb
Done 50000 runs in 2 second(s)
stat::number_of_executed_units: 50000
stat::average_exec_per_sec:     25000
stat::new_units_added:          19
stat::slowest_unit_time_sec:    0
stat::peak_rss_mb:              51
";
        let expected = Run {
            executions: 50_000,
            edges: 345,
            new_inputs: 19,
            slowest: 0,
            peak: 51,
            broken: None,
        };
        assert_eq!(Run::read(output, true), expected);
    }

    #[test]
    fn what_a_broken_promise_wrote_is_read() {
        let output = "\
#500\tNEW    cov: 300 ft: 400 corp: 2/2b
thread '<unnamed>' panicked at src/envelope.rs:76:13:
forged
==1== ERROR: libFuzzer: deadly signal
artifact_prefix='/x/'; Test unit written to /x/crash-1
";
        let broken = Run::read(output, false).broken.unwrap();
        assert_eq!(broken.message, "src/envelope.rs:76:13: forged");
        assert_eq!(broken.input.as_deref(), Some(Path::new("/x/crash-1")));
        let silent = Run::read("==1== ERROR: libFuzzer: out-of-memory (used: 800Mb)", false);
        assert_eq!(
            silent.broken.unwrap().message,
            "libFuzzer: out-of-memory (used: 800Mb)"
        );
    }
}
