//! An administrator's commands, through `redis-cli`.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use cache_core::secret::Secret;
use cache_core::time::{Clock, SystemClock};
use tokio::process::Command;

use super::{Error, program};

/// A server that does not answer an administrator for so long is paused.
const LIMIT: Duration = Duration::from_secs(10);

/// Where the administrator finds the server, and as whom.
#[derive(Debug)]
pub(super) enum Administrator {
    /// Through a socket that only this user can open.
    Socket { path: PathBuf, password: Secret },
    /// On 127.0.0.1, without a password.
    Port(u16),
}

/// The user that administers every server which has a socket. Its password is random.
pub(super) const ADMINISTRATOR: &str = "testkit";

impl Administrator {
    /// Executes one command and returns what `redis-cli` prints, without the line's end.
    pub(super) async fn command(&self, arguments: &[&str]) -> Result<String, Error> {
        let name = || arguments.first().copied().unwrap_or_default().to_owned();
        let mut command = Command::new(program::client()?);
        match self {
            Self::Socket { path, password } => command
                .arg("-s")
                .arg(path)
                .args(["--user", ADMINISTRATOR])
                .env("REDISCLI_AUTH", password.expose()),
            Self::Port(port) => command.args(["-p", &port.to_string()]),
        };
        command
            .arg("-e")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let output = tokio::select! {
            output = command.output() => output.map_err(Error::start("redis-cli"))?,
            () = SystemClock.sleep(LIMIT) => return Err(Error::Unanswered { command: name() }),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        let mut reply = text(&output.stdout);
        reply.push_str(&text(&output.stderr));
        Err(Error::Command {
            command: name(),
            reply,
        })
    }
}
