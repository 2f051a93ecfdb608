//! MSAL programs in other languages, which measure within themselves.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use benches::harness::{Operation, QuestionError, timed};
use benches::payload::Picker;
use serde_json::{Value, json};

use crate::installed;

/// Why a program could not be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScriptError {
    #[error("cannot install the packages of cache-testkit/msal-node: {output}")]
    Install { output: String },
    #[error("cannot talk to {program}; python3 and node have to be on PATH")]
    Talk {
        program: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("{program} answered {answer}")]
    Refused { program: &'static str, answer: String },
    #[error("{program} gave another token than that which was asked for")]
    WrongToken { program: &'static str },
    #[error("{program} made {requests} requests")]
    Requests { program: &'static str, requests: u64 },
}

/// The programs that run beside this one.
pub(crate) struct Scripts {
    pub(crate) python: Script,
    pub(crate) node: Script,
}

impl Scripts {
    pub(crate) fn start() -> Result<Self, QuestionError> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut python = Command::new(cache_testkit::msal_program::interpreter()?);
        // Bytecode would be written beside the sources.
        python.arg("-B").arg(here.join("python/peer.py"));
        let mut node = Command::new("node");
        // The documents of many accounts are larger than what it allows itself otherwise.
        node.arg("--max-old-space-size=4096")
            .arg(here.join("node/peer.mjs"));
        node.arg(installed::msal_node()?);
        Ok(Self {
            python: Script::start(Script::PYTHON, python)?,
            node: Script::start(Script::NODE, node)?,
        })
    }

    pub(crate) fn both(&self) -> [&Script; 2] {
        [&self.python, &self.node]
    }

    pub(crate) fn versions(&self) -> String {
        format!("{}; {}", self.python.version, self.node.version)
    }
}

/// A program. Dropping it ends it.
pub(crate) struct Script {
    pub(crate) name: &'static str,
    version: String,
    talk: RefCell<Talk>,
}

struct Talk {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// What went wrong first while something was measured.
    failure: Option<ScriptError>,
}

/// What a program measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measurement {
    Silent,
    ApplicationToken,
    Parse,
    Serialise,
}

impl Measurement {
    fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::ApplicationToken => "application_token",
            Self::Parse => "parse",
            Self::Serialise => "serialise",
        }
    }
}

impl Script {
    pub(crate) const PYTHON: &'static str = "MSAL Python";
    pub(crate) const NODE: &'static str = "MSAL Node";
    /// How long the programs run before they are measured: V8 compiles what has run often.
    const WARM_UP: Duration = Duration::from_millis(400);

    fn start(name: &'static str, mut command: Command) -> Result<Self, ScriptError> {
        let talk = |source| ScriptError::Talk {
            program: name,
            source,
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(talk)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(talk(std::io::ErrorKind::BrokenPipe.into()));
        };
        let mut script = Self {
            name,
            version: String::new(),
            talk: RefCell::new(Talk {
                child,
                stdin,
                stdout: BufReader::new(stdout),
                failure: None,
            }),
        };
        let ready = script.line()?;
        script.version = ready["ready"].as_str().unwrap_or_default().to_owned();
        Ok(script)
    }

    /// Fills the cache `name` as `filled` says: see the `load` of the scripts.
    pub(crate) fn load(&self, name: &str, mut filled: Value) -> Result<(), ScriptError> {
        filled["cache"] = name.into();
        self.ask("load", filled).map(drop)
    }

    /// Drops the cache `name`.
    pub(crate) fn forget(&self, name: &str) -> Result<(), ScriptError> {
        self.ask("forget", json!({ "cache": name })).map(drop)
    }

    /// What this measures of the cache `name`, asking for whom `picker` picks. The last token of each turn has to be what `expected` says.
    ///
    /// It runs for a while before it is measured, unless `is_quick`.
    pub(crate) fn operation<'a>(
        &'a self,
        name: &'a str,
        measurement: Measurement,
        mut picker: Picker,
        expected: impl Fn(usize) -> String + 'a,
        is_quick: bool,
    ) -> Operation<'a> {
        let mut turn = move |iterations: u64| {
            let picked: Vec<usize> = (0..iterations).map(|_| picker.pick()).collect();
            self.measure(name, measurement, &picked, &expected)
        };
        let mut elapsed = Duration::ZERO;
        let mut iterations = 1;
        while !is_quick && elapsed < Self::WARM_UP {
            elapsed += turn(iterations);
            // What is slow runs but a few times.
            iterations = if elapsed * 8 < Self::WARM_UP {
                iterations * 2
            } else {
                iterations
            };
        }
        timed(turn)
    }

    /// What went wrong while something was measured.
    pub(crate) fn check(&self) -> Result<(), ScriptError> {
        match self.talk.borrow_mut().failure.take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    fn measure(
        &self,
        name: &str,
        measurement: Measurement,
        picked: &[usize],
        expected: &impl Fn(usize) -> String,
    ) -> Duration {
        /// Long enough for nothing to be repeated after a failure.
        const FAILED: Duration = Duration::from_secs(3600);
        if self.talk.borrow().failure.is_some() {
            return FAILED;
        }
        match self.try_measure(name, measurement, picked, expected) {
            Ok(elapsed) => elapsed,
            Err(failure) => {
                self.talk.borrow_mut().failure = Some(failure);
                FAILED
            }
        }
    }

    fn try_measure(
        &self,
        name: &str,
        measurement: Measurement,
        picked: &[usize],
        expected: &impl Fn(usize) -> String,
    ) -> Result<Duration, ScriptError> {
        let program = self.name;
        let command = json!({ "cache": name, "operation": measurement.name(), "indices": picked });
        let answer = self.ask("measure", command)?;
        if let Some(requests) = answer["requests"].as_u64().filter(|requests| *requests > 0) {
            return Err(ScriptError::Requests { program, requests });
        }
        let last = picked.last().map(|last| expected(*last)).unwrap_or_default();
        if answer["last"].as_str() != Some(last.as_str()) {
            return Err(ScriptError::WrongToken { program });
        }
        Ok(Duration::from_nanos(
            answer["nanoseconds"].as_u64().unwrap_or_default(),
        ))
    }

    fn ask(&self, command: &str, mut arguments: Value) -> Result<Value, ScriptError> {
        arguments["command"] = command.into();
        let line = format!("{arguments}\n");
        let written = self.talk.borrow_mut().stdin.write_all(line.as_bytes());
        written.map_err(|source| ScriptError::Talk {
            program: self.name,
            source,
        })?;
        let mut answer = self.line()?;
        match answer.get_mut("ok") {
            Some(ok) => Ok(ok.take()),
            None => Err(ScriptError::Refused {
                program: self.name,
                answer: answer.to_string(),
            }),
        }
    }

    fn line(&self) -> Result<Value, ScriptError> {
        let mut line = String::new();
        let read = self.talk.borrow_mut().stdout.read_line(&mut line);
        let source = match read {
            Ok(0) => std::io::ErrorKind::UnexpectedEof.into(),
            Ok(_) => match serde_json::from_str(&line) {
                Ok(answer) => return Ok(answer),
                Err(error) => error.into(),
            },
            Err(error) => error,
        };
        Err(ScriptError::Talk {
            program: self.name,
            source,
        })
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // It has no state that would have to be saved.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
