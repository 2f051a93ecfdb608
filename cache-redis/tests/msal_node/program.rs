//! A program with MSAL Node, driven line by line.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Node takes a fraction of a second for an answer; a loaded machine with a cold disk much more.
const PATIENCE: Duration = Duration::from_secs(60);

/// The process. Dropping it kills it.
pub(crate) struct NodeProgram {
    _child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    _folder: TempDir,
}

/// Where the program finds what it needs.
pub(crate) struct Setting<'a> {
    pub(crate) authority: &'a str,
    pub(crate) ca_pem: &'a str,
    pub(crate) redis: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) client_secret: Option<&'a str>,
}

impl NodeProgram {
    pub(crate) async fn start(setting: &Setting<'_>) -> Self {
        let sources = sources();
        assert!(
            sources.join("node_modules").is_dir(),
            "MSAL Node is not installed: run npm ci in {}, or the tests with cargo xtask test",
            sources.display()
        );
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, setting.ca_pem).unwrap();
        let mut child = Command::new("node")
            .arg("driver.mjs")
            .current_dir(sources)
            .env("AUTHORITY", setting.authority)
            .env("CLIENT_ID", setting.client_id)
            .env("CLIENT_SECRET", setting.client_secret.unwrap_or_default())
            .env("REDIS_URL", setting.redis)
            .env("NODE_EXTRA_CA_CERTS", &ca_file)
            .env("NO_PROXY", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Node.js is installed");
        let mut program = Self {
            stdin: child.stdin.take().unwrap(),
            stdout: BufReader::new(child.stdout.take().unwrap()).lines(),
            _child: child,
            _folder: folder,
        };
        assert_eq!(program.line().await, json!({ "ready": true }));
        program
    }

    /// Lets the program do something with the cache under `key`.
    pub(crate) async fn ask(&mut self, command: &str, key: &str, arguments: Value) -> Result<Value, Value> {
        let mut line = json!({ "command": command, "key": key });
        let Value::Object(arguments) = arguments else {
            panic!("arguments are an object")
        };
        line.as_object_mut().unwrap().extend(arguments);
        self.stdin
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
        let mut answer = self.line().await;
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["ok"].take()),
        }
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "another process knows no injected clock"
    )]
    async fn line(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.stdout.next_line()).await;
        let line = line
            .expect("the program answers")
            .unwrap()
            .expect("the program runs");
        serde_json::from_str(&line).unwrap()
    }
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../cache-testkit/msal-node")
}
