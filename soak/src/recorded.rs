//! The child that signs users in, under strace.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use cache_testkit::system_calls::{FILE_CALLS, Strace, Trace};

use crate::child::{Child, END, Task};
use crate::gate::{Doing, GateError};
use crate::signing::{Said, SigningIn};
use crate::stage::Stage;

/// How long a child may take. Longer than every time limit of the stores.
const LONGEST: Duration = Duration::from_secs(120);

/// A child that is being recorded.
#[derive(Debug)]
pub struct Recorder {
    child: Child,
    record: PathBuf,
    errors: PathBuf,
}

/// A child that has ended.
#[derive(Debug)]
pub struct Recorded {
    /// What it called.
    pub trace: Trace,
    /// What it said, each with the line of the trace where it began to say so.
    pub said: Vec<(usize, Said)>,
    /// How it ended, in the way that a shell sees it.
    pub status: ExitStatus,
    /// What it wrote to its standard error.
    pub errors: String,
}

impl Recorder {
    /// Starts it. The record is put into `folder`, which must not be that of the cache.
    ///
    /// # Errors
    ///
    /// When it cannot be started; `strace` may be missing.
    pub fn start(
        stage: &Stage,
        signing: &SigningIn,
        folder: &Path,
        faults: impl FnOnce(Strace) -> Strace,
    ) -> Result<Self, GateError> {
        let record = folder.join("calls");
        let errors = folder.join("errors");
        let file = File::create(&errors).doing("could not make a file")?;
        let strace = faults(Strace::new(FILE_CALLS)).record(&record);
        let strace = strace.command(&stage.command(&Task::SignIn(signing.clone()))?);
        // strace hands the signal on to its child.
        let mut command = Command::new("timeout");
        command
            .arg(LONGEST.as_secs().to_string())
            .arg(strace.get_program())
            .args(strace.get_args())
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file);
        Ok(Self {
            child: Child::spawn(command)?,
            record,
            errors,
        })
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// When the record is not one.
    pub fn finish(mut self) -> Result<Recorded, GateError> {
        while self.child.line()?.is_some() {}
        let status = self.child.wait()?;
        let read = |path: &Path| std::fs::read_to_string(path).doing("could not read what was recorded");
        let trace = Trace::parse(&read(&self.record)?).doing("could not understand what was recorded")?;
        Ok(Recorded {
            said: said(&trace)?,
            errors: read(&self.errors)?,
            trace,
            status,
        })
    }
}

impl Recorded {
    /// What was said before a moment of the trace.
    pub fn said_before(&self, line: usize) -> impl Iterator<Item = &Said> {
        self.said
            .iter()
            .take_while(move |(when, _)| *when < line)
            .map(|(_, said)| said)
    }

    /// That it did all of its work and was refused nothing.
    ///
    /// # Errors
    ///
    /// When that is not so.
    pub fn succeeded(self) -> Result<Self, GateError> {
        let refused = self.said.iter().find(|(_, said)| {
            matches!(
                said,
                Said::NotOpened(_) | Said::NotSignedIn(..) | Said::KnowsNot(..)
            )
        });
        match refused {
            None if self.status.success() => Ok(self),
            _ => Err(GateError::new(format!(
                "a child failed without a fault ({}): {refused:?} {}",
                self.status, self.errors
            ))),
        }
    }
}

/// What was written to the standard output, where and when. The cache acknowledged before the first byte was written.
fn said(trace: &Trace) -> Result<Vec<(usize, Said)>, GateError> {
    let mut all = Vec::new();
    let mut begun: Option<(usize, Vec<u8>)> = None;
    let writes = trace
        .calls
        .iter()
        .filter(|call| call.name == "write" && call.descriptor(0) == Some(1));
    for call in writes {
        let (line, text) = begun.get_or_insert_with(|| (call.entered, Vec::new()));
        text.extend_from_slice(call.bytes(1).unwrap_or_default());
        if text.ends_with(b"\n") {
            for said in String::from_utf8_lossy(text).lines() {
                let said = said.strip_suffix(END).unwrap_or(said);
                all.push((
                    *line,
                    serde_json::from_str(said).doing("a child said something else")?,
                ));
            }
            begun = None;
        }
    }
    Ok(all)
}
