//! chromedriver's process.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::Error;

const PROGRAM: &str = "chromedriver";

/// It takes a tenth of a second; a loaded machine with a cold disk takes longer.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// The start of the line that names the port.
const READY: &str = "ChromeDriver was started successfully on port ";

/// A shell that ends chromedriver, which ends its browser, when standard input closes: the system does that even for a test
/// that is killed and so never runs a destructor.
#[cfg(unix)]
const KEEPER: &str = "chromedriver --port=0 & driver=$!; read -r line; kill $driver; wait $driver";

/// A running chromedriver. Dropping it ends it, and the browser that it started.
#[derive(Debug)]
pub(super) struct Driver {
    port: u16,
    _stdin: Option<ChildStdin>,
    _child: Child,
}

impl Driver {
    pub(super) async fn start() -> Result<Self, Error> {
        if on_path(PROGRAM).is_none() {
            return Err(Error::NotInstalled { program: PROGRAM });
        }
        let mut child = command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| Error::NotReady {
                said: source.to_string(),
            })?;
        let stdin = child.stdin.take();
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            let mut lines = BufReader::new(stdout).lines();
            while let Some(line) = next_line(&mut lines).await {
                if let Some(port) = line.strip_prefix(READY).map(|port| port.trim_end_matches('.'))
                    && let Ok(port) = port.parse()
                {
                    // Whatever it says later must not fill the pipe and stop it.
                    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                    return Ok(Self {
                        port,
                        _stdin: stdin,
                        _child: child,
                    });
                }
                said = line;
            }
        }
        Err(Error::NotReady { said })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

#[cfg(unix)]
fn command() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", KEEPER]);
    command
}

#[cfg(not(unix))]
fn command() -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("--port=0").kill_on_drop(true);
    command
}

/// Where a program is.
pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path)
        .map(|folder| folder.join(&name))
        .find(|candidate| candidate.is_file())
}

/// The next line, unless the process ends or the deadline is missed first.
#[expect(
    clippy::disallowed_methods,
    reason = "another process knows no injected clock"
)]
async fn next_line(lines: &mut tokio::io::Lines<BufReader<tokio::process::ChildStdout>>) -> Option<String> {
    tokio::time::timeout(READY_DEADLINE, lines.next_line())
        .await
        .ok()?
        .ok()?
}
