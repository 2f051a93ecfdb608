use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::{Error, Options};

/// Node.js takes a fraction of a second; a loaded machine with a cold disk has been seen to take ten.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// The provider's process. Dropping it kills the process and leaves the reaping to the runtime.
#[derive(Debug)]
pub(super) struct Process {
    _child: Child,
    // The provider ends when this pipe closes, which the system does even for a test that is killed
    // and so never runs a destructor.
    _stdin: Option<ChildStdin>,
}

impl Process {
    /// Starts the provider and returns it with the issuer that it announced.
    pub(super) async fn spawn(options: &Options) -> Result<(Self, String), Error> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("oidc-provider");
        if !folder.join("node_modules").is_dir() {
            return Err(Error::NotInstalled { folder });
        }

        let mut child = Command::new("node")
            .arg("server.mjs")
            .current_dir(&folder)
            .env("ACCESS_TOKEN_TTL", options.access_token_ttl_seconds.to_string())
            .env("EXIT_WITH_STDIN", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| Error::Start { source })?;
        let stdin = child.stdin.take();

        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            read_first_line(BufReader::new(stdout), &mut said).await;
        }
        match serde_json::from_str::<Ready>(&said) {
            Ok(ready) => Ok((
                Self {
                    _child: child,
                    _stdin: stdin,
                },
                ready.issuer,
            )),
            Err(_) => Err(Error::NotReady { said }),
        }
    }
}

#[derive(Deserialize)]
struct Ready {
    issuer: String,
}

/// Reads one line, or as much of one as came before the deadline or the end of the process.
#[expect(
    clippy::disallowed_methods,
    reason = "another process knows no injected clock"
)]
async fn read_first_line(mut stdout: impl AsyncBufReadExt + Unpin, line: &mut String) {
    // An error or a missed deadline leaves the line short, and the caller reports what there is.
    let _ = tokio::time::timeout(READY_DEADLINE, stdout.read_line(line)).await;
}
