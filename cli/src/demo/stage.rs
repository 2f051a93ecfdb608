//! What the demonstration stands on: a fake authority, a folder, and more processes of this program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cache_testkit::authority::{
    ALICE, Config, FakeAuthority, HOME_TENANT, Lifetimes, PUBLIC_CLIENT, Rotation,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::arguments::Options;
use crate::authority_address::AuthorityAddress;
use crate::credential_options::CredentialOptions;
use crate::exit::Exit;
use crate::failure::{Failure, one_line};
use crate::key_address::KeyAddress;
use crate::redis_options::RedisOptions;
use crate::store_address::StoreAddress;

/// The database's name in the folder.
pub(super) const DATABASE: &str = "cache.db";

pub(super) struct Stage {
    authority: FakeAuthority,
    address: AuthorityAddress,
    folder: TempDir,
    program: PathBuf,
}

/// How another process ended.
pub(super) struct Ran {
    /// `None` when a signal ended it.
    pub(super) exit: Option<i32>,
    /// What it printed.
    pub(super) object: Value,
    /// What it said to people.
    pub(super) said: Vec<String>,
}

impl Stage {
    /// Starts the authority and makes the folder, which only this user can enter.
    pub(super) async fn set_up() -> Result<Self, Failure> {
        let config = Config::default()
            .rotation(Rotation::Strict)
            .auto_approve_devices(1, ALICE);
        let authority = FakeAuthority::start(config).await.map_err(internal)?;
        let address = AuthorityAddress(
            authority
                .authority_url(HOME_TENANT)
                .parse::<AuthorityAddress>()
                .map_err(internal)?
                .0,
        );
        let folder = tempfile::Builder::new()
            .prefix("tokenkeep-demo-")
            .tempdir()
            .map_err(internal)?;
        let stage = Self {
            authority,
            address,
            folder,
            program: std::env::current_exe().map_err(internal)?,
        };
        let pem = stage.authority.ca_pem().unwrap_or_default();
        let path = stage.certificate();
        std::fs::write(&path, pem).map_err(|error| Failure::file("write", &path, error))?;
        Ok(stage)
    }

    pub(super) fn authority(&self) -> &FakeAuthority {
        &self.authority
    }

    pub(super) fn url(&self) -> &str {
        self.authority.base_url()
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The options of this process as one that shares the store.
    pub(super) fn options(&self, given: &Options) -> Options {
        Options {
            store: Some(StoreAddress::Sqlite(self.database())),
            key: Some(KeyAddress::File(self.key())),
            authority: Some(self.address.clone()),
            client_id: Some(PUBLIC_CLIENT.to_owned()),
            redis: RedisOptions::default(),
            credential: CredentialOptions::default(),
            scope: Vec::new(),
            account: None,
            ca_cert: Some(self.certificate()),
            json: given.json,
            request_timeout: given.request_timeout,
        }
    }

    /// Issues tokens of `lifetime` from now on.
    pub(super) fn shorten_lifetime(&self, lifetime: Duration) {
        self.authority
            .set_lifetimes(Lifetimes::default().access_token(lifetime).extended(None));
    }

    /// Issues tokens of the usual lifetime from now on.
    pub(super) fn restore_lifetime(&self) {
        self.authority.set_lifetimes(Lifetimes::default());
    }

    /// Runs another process of this program.
    pub(super) async fn tokenkeep(&self, words: &[&str]) -> Result<Ran, Failure> {
        let mut command = Command::new(&self.program);
        command.args(self.arguments()).args(words);
        // What this process was told by its environment is not meant for the demonstration, and may be a
        // secret.
        for (name, _) in std::env::vars_os() {
            if name == "RUST_LOG" || name.to_string_lossy().starts_with("TOKENKEEP_") {
                command.env_remove(name);
            }
        }
        command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let output = command.output().await.map_err(internal)?;
        let object = serde_json::from_slice(&output.stdout).map_err(internal)?;
        let said = String::from_utf8_lossy(&output.stderr)
            .lines()
            .map(one_line)
            .collect();
        Ok(Ran {
            exit: output.status.code(),
            object,
            said,
        })
    }

    pub(super) async fn tear_down(self) {
        self.authority.shutdown().await;
        // A folder that cannot be removed is left to the system.
        let _ = self.folder.close();
    }

    fn arguments(&self) -> Vec<OsString> {
        let prefixed = |prefix: &str, path: PathBuf| {
            let mut text = OsString::from(prefix);
            text.push(path);
            text
        };
        vec![
            "--json".into(),
            "--store".into(),
            prefixed("sqlite:", self.database()),
            "--key".into(),
            prefixed("file:", self.key()),
            "--authority".into(),
            self.address.0.url().into(),
            "--client-id".into(),
            PUBLIC_CLIENT.into(),
            "--ca-cert".into(),
            self.certificate().into(),
        ]
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join(DATABASE)
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }
}

impl Ran {
    /// What it printed, if it succeeded.
    pub(super) fn succeeded(self) -> Result<Value, Failure> {
        if self.exit == Some(0) {
            return Ok(self.object);
        }
        let message = self.object["error"]["message"]
            .as_str()
            .unwrap_or("without a word")
            .to_owned();
        Err(Failure::new(
            "demo",
            Exit::Other,
            format!("another process failed: {message}"),
        ))
    }
}

fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new("demo", Exit::Other, error)
}
