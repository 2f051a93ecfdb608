//! What a gate finds to work with.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;

use crate::child::{Child, Task};
use crate::gate::{Doing, GateError};
use crate::tally::Tally;

/// A folder, and the program whose children do the work of other processes.
#[derive(Debug)]
pub struct Stage {
    program: PathBuf,
    folder: TempDir,
}

impl Stage {
    /// A stage whose children are processes of `program`, which must be `soak`.
    ///
    /// # Errors
    ///
    /// When no temporary folder can be made.
    pub fn new(program: impl Into<PathBuf>) -> Result<Self, GateError> {
        Ok(Self {
            program: program.into(),
            folder: tempfile::tempdir().doing("could not make a temporary folder")?,
        })
    }

    /// A new folder for one case or batch. It is removed with what it returns.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn folder(&self) -> Result<TempDir, GateError> {
        TempDir::new_in(self.folder.path()).doing("could not make a temporary folder")
    }

    /// Where the folders are: on one file system, all of them.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a process that does `task`.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(&self, task: &Task) -> Result<Child, GateError> {
        Child::spawn(self.command(task)?)
    }

    /// Runs `cases` in two halves at once, each with `run`.
    ///
    /// # Errors
    ///
    /// Those of `run`.
    pub fn in_parallel(
        &self,
        cases: Range<u64>,
        run: impl Fn(Range<u64>) -> Result<Tally, GateError> + Sync,
    ) -> Result<Tally, GateError> {
        let middle = cases.start + (cases.end - cases.start) / 2;
        std::thread::scope(|threads| {
            let first = threads.spawn(|| run(cases.start..middle));
            let mut tally = run(middle..cases.end)?;
            let first = first
                .join()
                .map_err(|_| GateError::new("half of the cases panicked"))?;
            tally.merge(first?);
            Ok(tally)
        })
    }

    /// The command that does `task`, to be started under something else.
    ///
    /// # Errors
    ///
    /// When the task cannot be written as JSON.
    pub fn command(&self, task: &Task) -> Result<Command, GateError> {
        let task = serde_json::to_string(task).doing("could not write a task")?;
        let mut command = Command::new(&self.program);
        command
            .args(["child", &task])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Ok(command)
    }
}

/// A runtime as an application has one: with a thread for each of two processors.
///
/// # Errors
///
/// When the operating system has no thread to give.
pub fn runtime() -> Result<tokio::runtime::Runtime, GateError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .doing("could not start the runtime")
}

/// The chance of case `number` of a gate. The same case takes the same chances in each run.
#[must_use]
pub fn chance(gate: u8, number: u64) -> StdRng {
    StdRng::seed_from_u64((u64::from(gate) << 56) | number)
}

/// Waits in real time: other processes do not run on a manual clock.
#[allow(clippy::disallowed_methods, reason = "the one place where a gate waits")]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// The beginning of a text that may be long, such as an error's `Debug`.
pub(crate) fn first_words(text: &str) -> String {
    text.chars().take(600).collect()
}
