//! A process that ends with the value that stands for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::Error;

/// A running program. Dropping it kills the process and waits until it is gone.
#[derive(Debug)]
pub(super) struct Process {
    program: &'static str,
    child: Child,
    /// Kills the program and removes the folder when this process ends without unwinding: it waits for the end of its standard
    /// input, which nobody else can write to.
    watchdog: Child,
    output: PathBuf,
}

impl Process {
    /// Starts `command`, whose program is `program`, with its output in a file of `folder`.
    pub(super) fn start(
        program: &'static str,
        command: &mut Command,
        folder: &Path,
        input: Stdio,
    ) -> Result<Self, Error> {
        let output = folder.join(format!("{program}.log"));
        let file = fs::File::options()
            .create(true)
            .append(true)
            .open(&output)
            .map_err(Error::start("its log"))?;
        let copy = file.try_clone().map_err(Error::start("its log"))?;
        let spawned = command
            .current_dir(folder)
            .stdin(input)
            .stdout(file)
            .stderr(copy)
            .spawn();
        let child = match spawned {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NotInstalled { program });
            }
            spawned => spawned.map_err(Error::start(program))?,
        };
        match watchdog(&child, folder) {
            Ok(watchdog) => Ok(Self {
                program,
                child,
                watchdog,
                output,
            }),
            Err(error) => {
                end(child);
                Err(error)
            }
        }
    }

    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub(super) fn signal(&self, signal: Signal, name: &'static str) -> Result<(), Error> {
        kill_process(Pid::from_child(&self.child), signal).map_err(|error| Error::Signal {
            signal: name,
            program: self.program,
            source: error.into(),
        })
    }

    /// What it wrote so far.
    pub(super) fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The watchdog first: later the number of the program's process may be somebody else's.
        for child in [&mut self.watchdog, &mut self.child] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn watchdog(child: &Child, folder: &Path) -> Result<Child, Error> {
    // What ends a group of processes ends the test, and must not end the watchdog before it has cleaned up. The second time is for
    // a removal that met the one of another watchdog.
    const SCRIPT: &str = r#"trap "" HUP INT TERM; read -r _; kill -9 "$1"; rm -rf -- "$2" || rm -rf -- "$2""#;
    Command::new("sh")
        .args(["-c", SCRIPT, "watchdog", &child.id().to_string()])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(Error::start("its watchdog"))
}
