//! Running the program, with a store and a key in a folder of the test's own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use cache_testkit::authority::{ALICE, Config, FakeAuthority, HOME_TENANT, PUBLIC_CLIENT, Rotation};
use cache_testkit::oidc_provider::{CLI_CLIENT_ID, OidcProvider};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The scopes that oidc-provider gives a refresh token for.
pub(crate) const OIDC_SCOPES: &str = "openid profile offline_access api:read";

/// The program with the options of one user.
pub(crate) struct Program {
    folder: TempDir,
    pub(crate) options: Vec<OsString>,
    environment: Vec<(String, OsString)>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    /// With a store and a key, and nothing else.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut program = Self {
            folder,
            options: Vec::new(),
            environment: Vec::new(),
        };
        let store = format!("sqlite:{}", program.path("cache.db").display());
        let key = format!("file:{}", program.path("key").display());
        program.options(&["--store", &store, "--key", &key]);
        program
    }

    /// For the public client of a fake authority.
    pub(crate) fn of_fake(authority: &FakeAuthority) -> Self {
        let mut program = Self::new();
        let certificate = program.path("ca.pem");
        std::fs::write(&certificate, authority.ca_pem().unwrap()).unwrap();
        program.options(&[
            "--authority",
            &authority.authority_url(HOME_TENANT),
            "--client-id",
            PUBLIC_CLIENT,
        ]);
        program.options(&["--ca-cert", certificate.to_str().unwrap()]);
        program
    }

    /// For the public client of oidc-provider.
    pub(crate) fn of_provider(provider: &OidcProvider) -> Self {
        let mut program = Self::new();
        program.options(&["--authority", provider.issuer(), "--client-id", CLI_CLIENT_ID]);
        program
    }

    /// Adds options, each with its value, in place of earlier ones of the same name.
    pub(crate) fn options(&mut self, words: &[&str]) {
        for pair in words.chunks(2) {
            if let Some(index) = self.options.iter().position(|known| known == pair[0]) {
                self.options.drain(index..index + 2);
            }
            self.options.extend(pair.iter().map(OsString::from));
        }
    }

    /// Leaves an option out, with its value.
    pub(crate) fn without(&mut self, name: &str) {
        if let Some(index) = self.options.iter().position(|known| known == name) {
            self.options.drain(index..index + 2);
        }
    }

    /// Sets a variable of the program's environment.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.into()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The options, as they stand before the command.
    pub(crate) fn given(&self) -> &[OsString] {
        &self.options
    }

    /// The process, not started yet, without what the test's own environment would add.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = bare();
        command.args(&self.options).args(words);
        command
            .env("XDG_DATA_HOME", self.path("data"))
            .env("XDG_CONFIG_HOME", self.path("config"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) async fn run(&self, words: &[&str]) -> Ran {
        Ran::of(self.command(words)).await
    }

    /// Runs with `--json` and gives the object of a run that succeeded.
    pub(crate) async fn json(&self, words: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(words);
        self.run(&all).await.succeeded().object()
    }

    /// Runs with `--json` and gives the error of a run that failed with `exit`.
    pub(crate) async fn failing(&self, words: &[&str], exit: i32) -> Value {
        let mut all = vec!["--json"];
        all.extend(words);
        let ran = self.run(&all).await;
        assert_eq!(ran.exit, Some(exit), "{ran:?}");
        let object = ran.object();
        assert_eq!(object["error"]["exit_code"], exit, "{object}");
        object["error"].clone()
    }

    /// Signs alice in at oidc-provider, which is told to approve the code that the program shows.
    pub(crate) async fn sign_in(&self, provider: &OidcProvider) {
        let mut child = self.start(&["--scope", OIDC_SCOPES, "login", "device-code"]);
        let code = shown_code(&mut child).await;
        provider.approve_device(&code).await.unwrap();
        assert!(child.wait_with_output().await.unwrap().status.success());
    }

    /// Starts a process whose streams the test reads.
    pub(crate) fn start(&self, words: &[&str]) -> Child {
        self.command(words).spawn().unwrap()
    }
}

/// The program without any option or variable.
pub(crate) fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenkeep"));
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("TOKENKEEP_") || name_text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The code that a sign-in shows its user. What follows on standard error is read and forgotten.
pub(crate) async fn shown_code(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let code = loop {
        let line = lines.next_line().await.unwrap().expect("no code was shown");
        if let Some((_, rest)) = line.split_once("enter the code ") {
            break rest.split([' ', '.']).next().unwrap().to_owned();
        }
    };
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    code
}

impl Ran {
    pub(crate) async fn of(mut command: Command) -> Self {
        let output = command.output().await.unwrap();
        Self {
            exit: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.exit, Some(0), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// The one JSON object on standard output.
    pub(crate) fn object(&self) -> Value {
        let value: Value = serde_json::from_str(&self.stdout).expect("standard output is not one JSON value");
        assert!(value.is_object(), "{value}");
        value
    }
}

/// A fake authority that approves device codes for alice and revokes a family whose token is spent twice.
pub(crate) async fn strict_authority() -> FakeAuthority {
    let config = Config::default()
        .rotation(Rotation::Strict)
        .auto_approve_devices(0, ALICE);
    FakeAuthority::start(config).await.unwrap()
}

pub(crate) async fn pause(milliseconds: u64) {
    SystemClock.sleep(Duration::from_millis(milliseconds)).await;
}

/// Waits until a token with this expiry (seconds since 1970) has expired.
pub(crate) async fn wait_until_expired(expires_on: &Value) {
    let expires_on = expires_on.as_i64().unwrap();
    while SystemClock.now().to_seconds().0 <= expires_on {
        pause(20).await;
    }
}
