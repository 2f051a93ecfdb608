//! Children that may fail by themselves: their panics are read, and their silence ends.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::child::whole;
use crate::gate::{Doing, GateError};
use crate::stage::pause;

/// How long a child may say nothing. Longer than every time limit of the stores.
const LONGEST_SILENCE: Duration = Duration::from_secs(120);
/// How often an end without words is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// A process that does a [`Task`](crate::child::Task), of which it is judged too how it ends. It is killed when this is dropped.
#[derive(Debug)]
pub struct Guarded {
    process: std::process::Child,
    lines: Receiver<std::io::Result<String>>,
    errors: File,
    patience: Duration,
    is_overdue: bool,
}

/// How a child ended.
#[derive(Debug)]
pub struct Ending {
    /// What a shell sees.
    pub status: ExitStatus,
    /// Whether it said nothing for so long that it was ended.
    pub is_overdue: bool,
    /// What it wrote to its standard error.
    pub errors: String,
}

impl Guarded {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(command: Command) -> Result<Self, GateError> {
        Self::with_patience(command, LONGEST_SILENCE)
    }

    fn with_patience(mut command: Command, patience: Duration) -> Result<Self, GateError> {
        let errors = tempfile::tempfile().doing("could not make a file")?;
        let copy = errors.try_clone().doing("could not make a file")?;
        let mut process = command
            .env("RUST_BACKTRACE", "0")
            .stderr(copy)
            .spawn()
            .doing("could not start a child process")?;
        let output = process
            .stdout
            .take()
            .ok_or_else(|| GateError::new("a child process has no output"))?;
        // A thread of its own waits for it, so that this one need not wait for ever.
        let (to, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                if to.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            process,
            lines,
            errors,
            patience,
            is_overdue: false,
        })
    }

    /// The next line that it prints; `None` at its end, also when a kill cut the line short, or when it says nothing for too long.
    ///
    /// # Errors
    ///
    /// When its output cannot be read, or the child cannot be ended.
    pub fn line(&mut self) -> Result<Option<String>, GateError> {
        match self.lines.recv_timeout(self.patience) {
            Ok(line) => {
                let line = line.doing("could not read what a child process prints")?;
                Ok(whole(&line).map(str::to_owned))
            }
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                self.is_overdue = true;
                self.process.kill().doing("could not kill a child process")?;
                Ok(None)
            }
        }
    }

    /// Kills it without warning, unless it ended before. What it printed can still be read.
    ///
    /// # Errors
    ///
    /// When it cannot be killed.
    pub fn kill(&mut self) -> Result<Ending, GateError> {
        self.process.kill().doing("could not kill a child process")?;
        self.end()
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// When it cannot be waited for, or what it wrote cannot be read.
    pub fn end(&mut self) -> Result<Ending, GateError> {
        let mut waited = Duration::ZERO;
        let status = loop {
            let status = self.process.try_wait();
            if let Some(status) = status.doing("could not wait for a child process")? {
                break status;
            }
            if waited > self.patience && !self.is_overdue {
                self.is_overdue = true;
                self.process.kill().doing("could not kill a child process")?;
            }
            pause(LOOK);
            waited += LOOK;
        };
        let mut errors = Vec::new();
        let read = self
            .errors
            .rewind()
            .and_then(|()| self.errors.read_to_end(&mut errors));
        read.doing("could not read what a child process wrote")?;
        Ok(Ending {
            status,
            is_overdue: self.is_overdue,
            errors: String::from_utf8_lossy(&errors).into_owned(),
        })
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

impl Ending {
    /// Whether somebody killed it.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        #[cfg(unix)]
        let is_killed = std::os::unix::process::ExitStatusExt::signal(&self.status) == Some(9);
        // Elsewhere a process that is terminated ends with the status 1, as does one that fails.
        #[cfg(not(unix))]
        let is_killed = !self.status.success() && self.errors.is_empty();
        is_killed && !self.is_overdue
    }

    /// Whether one of its threads panicked, also where the others made an error of that.
    #[must_use]
    pub fn has_panicked(&self) -> bool {
        self.errors.contains("panicked at")
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { status, errors, .. } = self;
        if self.is_overdue {
            f.write_str("it hung, and was killed")?;
        } else {
            write!(f, "{status}")?;
        }
        match errors.trim() {
            "" => Ok(()),
            errors => write!(f, ": {errors}"),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::process::Stdio;

    use super::*;

    fn script(script: &str) -> Guarded {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        Guarded::with_patience(command, Duration::from_millis(300)).unwrap()
    }

    #[test]
    fn how_a_child_ends_is_known() {
        let mut failing = script("echo 'one .'; echo \"thread 'x' panicked at y\" >&2; exit 3");
        assert_eq!(failing.line().unwrap().as_deref(), Some("one"));
        assert_eq!(failing.line().unwrap(), None);
        let ending = failing.end().unwrap();
        assert_eq!(ending.status.code(), Some(3));
        assert!(ending.has_panicked() && !ending.is_killed() && !ending.is_overdue);

        let mut killed = script("echo 'one .'; exec sleep 60");
        assert_eq!(killed.line().unwrap().as_deref(), Some("one"));
        let ending = killed.kill().unwrap();
        assert!(ending.is_killed() && !ending.has_panicked(), "{ending}");

        // A kill that came too late is none.
        let mut ended = script("exit 1");
        assert_eq!(ended.line().unwrap(), None);
        assert!(!ended.kill().unwrap().is_killed());
    }

    #[test]
    fn a_child_that_hangs_is_ended_before_and_after_its_last_word() {
        for silent in ["exec sleep 60", "exec sleep 60 >&-"] {
            let mut hanging = script(silent);
            assert_eq!(hanging.line().unwrap(), None);
            let ending = hanging.end().unwrap();
            assert!(ending.is_overdue && !ending.is_killed(), "{silent}: {ending}");
            assert!(ending.to_string().contains("hung"), "{ending}");
        }
    }
}
