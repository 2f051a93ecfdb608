//! The child that signs users in, under strace.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use cache_testkit::system_calls::{FILE_CALLS, Strace, Trace};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{PTracer, set_ptracer};

use crate::child::{Child, END, Task, tell};
use crate::gate::{Doing, GateError};
use crate::signing::{Said, SigningIn};
use crate::stage::{Stage, pause};

/// How long a child may take. Longer than every time limit of the stores.
const LONGEST: Duration = Duration::from_secs(120);

/// A child that is being recorded.
#[derive(Debug)]
pub struct Recorder {
    child: Child,
    /// Where it is not the child's parent.
    tracer: Option<Tracer>,
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

/// From when on a child is recorded.
#[derive(Clone, Copy, Debug)]
pub enum Beginning {
    /// With its loader. `strace` is its parent, and slows down no call that is not watched.
    Loader,
    /// With its first own call: in each thread the first `openat` is its, and not that of its loader.
    OwnCalls,
}

impl Recorder {
    /// Starts it. The record is put into `folder`, which must not be that of the cache.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or may not be watched; `strace` may be missing.
    pub fn start(
        stage: &Stage,
        signing: &SigningIn,
        beginning: Beginning,
        folder: &Path,
        faults: impl FnOnce(Strace) -> Strace,
    ) -> Result<Self, GateError> {
        let record = folder.join("calls");
        let errors = folder.join("errors");
        let strace = faults(Strace::new(FILE_CALLS)).record(&record);
        let (child, tracer) = match beginning {
            Beginning::Loader => {
                // strace hands the signal of the time limit on to its child.
                let command = strace.command(&stage.command(&Task::SignIn(signing.clone()))?);
                (Child::spawn(limited(&command, &errors)?)?, None)
            }
            Beginning::OwnCalls => {
                let command = stage.command(&Task::SignInWatched(signing.clone()))?;
                let mut child = Child::spawn(limited(&command, &errors)?)?;
                let process = child.line()?.unwrap_or_default();
                let process = process.parse().doing("a child did not say who it is")?;
                let tracer = Tracer::start(strace.attach(process), &folder.join("strace"))?;
                child.close_input();
                (child, Some(tracer))
            }
        };
        Ok(Self {
            child,
            tracer,
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
        if let Some(mut tracer) = self.tracer.take() {
            tracer.process.wait().doing("could not wait for strace")?;
        }
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

/// `command`, for as long as it may take.
fn limited(command: &Command, errors: &Path) -> Result<Command, GateError> {
    let mut limited = Command::new("timeout");
    limited
        .arg(LONGEST.as_secs().to_string())
        .arg(command.get_program())
        .args(command.get_args())
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(errors).doing("could not make a file")?);
    Ok(limited)
}

/// `strace`, beside the process that it watches. It is killed when this is dropped.
#[derive(Debug)]
struct Tracer {
    process: std::process::Child,
}

impl Tracer {
    /// Waits until it watches. What it has to say it writes to the file `words`.
    fn start(mut strace: Command, words: &Path) -> Result<Self, GateError> {
        strace
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(words).doing("could not make a file")?);
        let process = strace.spawn().doing("could not start strace")?;
        let mut tracer = Self { process };
        loop {
            let ended = tracer.process.try_wait().doing("could not wait for strace")?;
            let said = std::fs::read_to_string(words).doing("could not read what strace says")?;
            match ended {
                Some(status) => return Err(GateError::new(format!("strace ended ({status}): {said}"))),
                None if said.contains("attached") => return Ok(tracer),
                None => pause(Duration::from_millis(1)),
            }
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// In the child: says who it is, and waits for the end of its input, by a call that no gate counts.
pub(crate) fn wait_for_tracer() -> Result<(), GateError> {
    // A parent's other child may not watch it otherwise where Yama decides. Where it does not, this is unknown.
    _ = set_ptracer(PTracer::Any);
    tell(std::process::id());
    let input = io::stdin();
    loop {
        match poll(&mut [PollFd::new(&input, PollFlags::IN)], None) {
            Err(Errno::INTR) => {}
            other => return other.map(drop).doing("could not wait"),
        }
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
