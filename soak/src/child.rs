//! Processes that are started to be raced, stopped and killed.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{ChildStdout, Command, ExitStatus};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::gate::{Doing, GateError};
use crate::{fleet, gates};

/// What a child process does. It travels in the child's arguments, so nothing in it is secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Task {
    /// Counts together with others.
    Count(gates::compare_and_swap::Counting),
    /// Reads and writes while keys rotate.
    UseKeys(gates::key_rotation::UsingKeys),
    /// Seals records.
    #[cfg(target_os = "linux")]
    Seal(gates::nonces::Sealing),
    /// Reads damaged databases.
    #[cfg(target_os = "linux")]
    ReadDamaged(gates::damaged_databases::Reading),
    /// Goes without something.
    #[cfg(target_os = "linux")]
    Suffer(gates::starved::Ordeal),
    /// Signs users in, and says what came of it.
    SignIn(crate::signing::SigningIn),
    /// The same, once it is watched.
    #[cfg(target_os = "linux")]
    SignInWatched(crate::signing::SigningIn),
    /// Does what it is told, as one process of a fleet.
    Member(Box<fleet::Setup>),
    /// Holds the lock of a database.
    #[cfg(target_os = "linux")]
    HoldDatabase(PathBuf),
    /// Keeps secrets to itself.
    Keep(gates::canaries::Keeping),
    /// Signs users in until it is killed.
    Write(gates::kill_writer::Writing),
}

impl Task {
    /// Does it, in this process. What it has to say it prints.
    ///
    /// # Errors
    ///
    /// When it could not be done.
    pub fn perform(self) -> Result<(), GateError> {
        match self {
            Self::Count(counting) => counting.perform(),
            Self::UseKeys(using) => using.perform(),
            #[cfg(target_os = "linux")]
            Self::Seal(sealing) => sealing.perform(),
            #[cfg(target_os = "linux")]
            Self::ReadDamaged(reading) => reading.perform(),
            #[cfg(target_os = "linux")]
            Self::Suffer(ordeal) => ordeal.perform(),
            Self::SignIn(signing) => signing.perform(),
            #[cfg(target_os = "linux")]
            Self::SignInWatched(signing) => {
                crate::recorded::wait_for_tracer()?;
                signing.perform()
            }
            Self::Member(setup) => setup.perform(),
            #[cfg(target_os = "linux")]
            Self::HoldDatabase(path) => gates::endurance::lock::hold(&path),
            Self::Keep(keeping) => keeping.perform(),
            Self::Write(writing) => writing.perform(),
        }
    }
}

/// A process that does a [`Task`]. It is killed when this is dropped.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Child {
    pub(crate) fn spawn(mut command: Command) -> Result<Self, GateError> {
        let mut process = command.spawn().doing("could not start a child process")?;
        let output = process
            .stdout
            .take()
            .ok_or_else(|| GateError::new("a child process has no output"))?;
        Ok(Self {
            process,
            output: BufReader::new(output).lines(),
        })
    }

    /// The next line that it prints; `None` at its end, also when a kill cut the line short.
    ///
    /// # Errors
    ///
    /// When its output cannot be read.
    pub fn line(&mut self) -> Result<Option<String>, GateError> {
        let line = self.output.next().transpose();
        let line = line.doing("could not read what a child process prints")?;
        Ok(line.and_then(|line| whole(&line).map(str::to_owned)))
    }

    /// Waits for its end and returns the report that it printed last.
    ///
    /// # Errors
    ///
    /// When it failed, or printed no report.
    pub fn report<R: DeserializeOwned>(&mut self) -> Result<R, GateError> {
        let mut last = None;
        while let Some(line) = self.line()? {
            last = Some(line);
        }
        let status = self.wait()?;
        if !status.success() {
            return Err(GateError::new(format!("a child process failed ({status})")));
        }
        let last = last.ok_or_else(|| GateError::new("a child process printed no report"))?;
        serde_json::from_str(&last).doing("a child process printed no report")
    }

    /// Kills it without warning and waits for its end. What it printed can still be read.
    ///
    /// # Errors
    ///
    /// When it cannot be killed.
    pub fn kill(&mut self) -> Result<(), GateError> {
        self.process.kill().doing("could not kill a child process")?;
        self.wait()?;
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// When it cannot be waited for.
    pub fn wait(&mut self) -> Result<ExitStatus, GateError> {
        self.process.wait().doing("could not wait for a child process")
    }

    /// Closes its standard input, for which it may be waiting.
    pub(crate) fn close_input(&mut self) {
        drop(self.process.stdin.take());
    }

    /// Its process ID.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// Ends a line, so that one that was cut short is known.
pub(crate) const END: &str = " .";

/// What was [told](tell) by this line; `None` where a kill cut it short.
pub(crate) fn whole(line: &str) -> Option<&str> {
    line.strip_suffix(END)
}

/// Prints a line for the parent. Without a parent to read it, this process has no purpose, and ends.
#[allow(
    clippy::exit,
    reason = "whatever this process does, nobody is there who wants it"
)]
pub fn tell(line: impl std::fmt::Display) {
    if writeln!(std::io::stdout(), "{line}{END}").is_err() {
        std::process::exit(1);
    }
}

/// Prints the report for the parent.
///
/// # Errors
///
/// When it cannot be written as JSON.
pub fn report(report: &impl Serialize) -> Result<(), GateError> {
    tell(serde_json::to_string(report).doing("could not write a report")?);
    Ok(())
}
