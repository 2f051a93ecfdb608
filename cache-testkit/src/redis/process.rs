//! One server's process, in a folder of its own that goes with it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Error, Program};

const CONFIGURATION: &str = "server.conf";
const LOG: &str = "server.log";

/// How much of the log an error carries.
const LOG_LINES: usize = 8;

/// A folder with the server's configuration, and its process while that runs. Dropping it kills the process and removes
/// the folder.
#[derive(Debug)]
pub(super) struct Process {
    program: Program,
    executable: PathBuf,
    arguments: Vec<OsString>,
    running: Option<Running>,
    // After `running`: a process must not write into a folder that is being removed.
    folder: TempDir,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// Kills the server when this process ends without unwinding: it waits for the end of its standard input, which
    /// nobody else can write to.
    watchdog: Option<Child>,
}

impl Process {
    /// A folder without a process.
    pub(super) fn new(program: Program) -> Result<Self, Error> {
        Ok(Self {
            program,
            executable: program.find()?,
            arguments: Vec::new(),
            running: None,
            folder: TempDir::with_prefix("tokenkeep-redis-").map_err(Error::start("a folder"))?,
        })
    }

    pub(super) fn program(&self) -> Program {
        self.program
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the configuration, which may hold passwords, and what the program is called with beside it.
    pub(super) fn configure(&mut self, configuration: &str, arguments: &[&str]) -> Result<(), Error> {
        let file = self.folder.path().join(CONFIGURATION);
        write_private(&file, configuration.as_bytes()).map_err(Error::start("its configuration"))?;
        self.arguments = std::iter::once(file.into_os_string())
            .chain(arguments.iter().map(OsString::from))
            .collect();
        Ok(())
    }

    /// Adds a line to the configuration, which the server itself may have rewritten meanwhile.
    pub(super) fn add_directive(&self, line: &str) -> Result<(), Error> {
        use std::io::Write;
        let file = self.folder.path().join(CONFIGURATION);
        let opened = fs::OpenOptions::new().append(true).open(&file);
        let written = opened.and_then(|mut file| writeln!(file, "\n{line}"));
        written.map_err(|source| Error::File {
            file,
            source: source.into(),
        })
    }

    /// Starts the process and does not wait for anything. It does nothing when the process runs.
    pub(super) fn launch(&mut self) -> Result<(), Error> {
        if self.is_running() {
            return Ok(());
        }
        self.kill();
        let child = Command::new(&self.executable)
            .args(&self.arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::start("the program"))?;
        let mut running = Running {
            child,
            watchdog: None,
        };
        running.watchdog = Some(watchdog(&running.child, self.folder.path())?);
        self.running = Some(running);
        Ok(())
    }

    /// Whether the process has been started and has not ended by itself.
    pub(super) fn is_running(&mut self) -> bool {
        self.running
            .as_mut()
            .is_some_and(|running| matches!(running.child.try_wait(), Ok(None)))
    }

    /// Kills the process (`SIGKILL`), also while it is paused, and waits until it is gone.
    pub(super) fn kill(&mut self) {
        self.running = None;
    }

    pub(super) fn signal(&self, signal: Signal, name: &'static str) -> Result<(), Error> {
        let failed = |source: String| Error::Signal {
            signal: name,
            source: source.into(),
        };
        let running = self
            .running
            .as_ref()
            .ok_or_else(|| failed("it does not run".to_owned()))?;
        let pid = Pid::from_child(&running.child);
        kill_process(pid, signal).map_err(|error| failed(error.to_string()))
    }

    /// That it is not ready, with the end of its log.
    pub(super) fn not_ready(&self) -> Error {
        Error::NotReady {
            program: self.program.name(),
            log: self.log(),
        }
    }

    /// The last lines of its log.
    pub(super) fn log(&self) -> String {
        let log = fs::read(self.folder.path().join(LOG)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The watchdog first: later the number of the server's process may be somebody else's.
        for child in self.watchdog.iter_mut().chain([&mut self.child]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The directives that every process of this folder has.
pub(super) fn base_configuration(folder: &Path) -> String {
    format!("dir {}\nlogfile {LOG}\ndaemonize no\n", folder.display())
}

pub(super) fn write_private(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(file)?.write_all(bytes)
}

fn watchdog(child: &Child, folder: &Path) -> Result<Child, Error> {
    const SCRIPT: &str = r#"read -r _; kill -9 "$1" 2>/dev/null; rm -rf -- "$2""#;
    Command::new("sh")
        .args(["-c", SCRIPT, "watchdog", &child.id().to_string()])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(Error::start("its watchdog"))
}
