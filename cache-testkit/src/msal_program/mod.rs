//! Real MSAL programs, driven line by line: MSAL Python with its extensions, MSAL Node with its own.
//!
//! Each is a process whose cache is in memory, in a file or an item of the Secret Service as the extensions of its MSAL keep one, or (Node) in
//! Redis. It signs in at whatever authority it is told to, trusting one certificate.
//!
//! ```no_run
//! # #[cfg(all(feature = "msal-python", feature = "authority"))]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use cache_testkit::authority::{ALICE, Config, FakeAuthority, HOME_TENANT, PUBLIC_CLIENT};
//! use cache_testkit::msal_program::{Cache, MsalProgram, Setting};
//! use serde_json::json;
//!
//! let authority = FakeAuthority::start(Config::default().auto_approve_devices(0, ALICE)).await?;
//! let mut program = MsalProgram::python(&Setting {
//!     authority: &authority.authority_url(HOME_TENANT),
//!     ca_pem: authority.ca_pem().unwrap_or_default(),
//!     client_id: PUBLIC_CLIENT,
//!     client_secret: None,
//!     cache: Cache::File("/tmp/msal_token_cache.json".as_ref()),
//! })
//! .await?;
//! let signed_in = program.ask("deviceCode", json!({ "scopes": ["User.Read"] })).await?;
//! assert_eq!(signed_in["username"], ALICE);
//! # Ok(())
//! # }
//! ```
//!
//! # Commands
//!
//! | command | arguments | answer |
//! |---|---|---|
//! | `deviceCode` | `scopes` | `accessToken`, `homeAccountId`, `username` |
//! | `silent` | `scopes`, `homeAccountId`, `forceRefresh` | `accessToken`, `fromCache`; or `noAccount` |
//! | `app` | `scopes` | `accessToken`, `fromCache` |
//! | `accounts` | | the user names |
//! | `signOut` | `homeAccountId` | |
//! | `restart` | | makes a new application object, which knows nothing but the cache |
//! | `keepPorts` | | (Node) as `restart`; rows in a file then name the authority with its port, which MSAL Python does not know |
//!
//! With a cache in Redis each takes a `key` beside, under which the application looks.

mod error;
#[cfg(feature = "msal-node")]
mod node;
#[cfg(feature = "msal-python")]
mod python;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

pub use error::Error;
#[cfg(feature = "msal-python")]
pub use python::{interpreter, target_directory};

/// An answer takes a fraction of a second; on a loaded machine with a cold disk much more, and MSAL's extensions wait for a lock that another
/// holds.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a program is started with.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The authority's URL, with its tenant.
    pub authority: &'a str,
    /// The certificate that it trusts, in PEM.
    pub ca_pem: &'a str,
    /// The client.
    pub client_id: &'a str,
    /// The secret of a confidential client.
    pub client_secret: Option<&'a str>,
    /// Where its cache is.
    pub cache: Cache<'a>,
}

/// Where a program's cache is.
#[derive(Clone, Copy, Debug)]
pub enum Cache<'a> {
    /// In its memory.
    Memory,
    /// In a file, unencrypted, with the lock of the extensions.
    File(&'a Path),
    /// In an item of the Secret Service, with the lock of the extensions beside the path.
    Item(&'a Path, ItemName<'a>),
    /// In Redis at this URL, by MSAL Node's `DistributedCachePlugin`. Other programs keep it in memory then.
    Redis(&'a str),
}

/// What the extensions are told to name an item.
#[derive(Clone, Copy, Debug)]
pub enum ItemName<'a> {
    /// MSAL Node's `serviceName` and `accountName`.
    Account(&'a str, &'a str),
    /// MSAL Python's `schema_name`, and the name and the value of one attribute.
    Schema(&'a str, (&'a str, &'a str)),
    /// Nothing: MSAL Python makes a name of the path.
    Path,
}

impl ItemName<'_> {
    /// As the programs read it.
    fn to_json(self) -> Value {
        match self {
            Self::Account(service, account) => json!({ "service": service, "account": account }),
            Self::Schema(schema, (name, value)) => json!({ "schema": schema, "attributes": { name: value } }),
            Self::Path => json!({}),
        }
    }
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct MsalProgram {
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    _child: Child,
    _folder: TempDir,
}

impl MsalProgram {
    /// Starts `command`, a driver, with what `setting` says in its environment, and waits until it is ready.
    async fn start(mut command: Command, setting: &Setting<'_>) -> Result<Self, Error> {
        let start = |source| Error::Start { source };
        let folder = tempfile::tempdir().map_err(start)?;
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, setting.ca_pem).map_err(start)?;
        command
            .env("AUTHORITY", setting.authority)
            .env("CLIENT_ID", setting.client_id)
            .env("CLIENT_SECRET", setting.client_secret.unwrap_or_default())
            .env("CA_FILE", &ca_file)
            .env("NODE_EXTRA_CA_CERTS", &ca_file)
            .env("NO_PROXY", "127.0.0.1")
            // `requests` would prefer these to the certificate that a program names.
            .env_remove("REQUESTS_CA_BUNDLE")
            .env_remove("CURL_CA_BUNDLE")
            .env_remove("CACHE_FILE")
            .env_remove("CACHE_ITEM")
            .env_remove("REDIS_URL");
        match setting.cache {
            Cache::Memory => {}
            Cache::File(path) => drop(command.env("CACHE_FILE", path)),
            Cache::Item(path, name) => {
                command
                    .env("CACHE_FILE", path)
                    .env("CACHE_ITEM", name.to_json().to_string());
            }
            Cache::Redis(url) => drop(command.env("REDIS_URL", url)),
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(start)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Ended);
        };
        let mut program = Self {
            stdin,
            stdout: BufReader::new(stdout).lines(),
            _child: child,
            _folder: folder,
        };
        match program.line().await? {
            ready if ready == json!({ "ready": true }) => Ok(program),
            said => Err(Error::Nonsense {
                said: said.to_string(),
            }),
        }
    }

    /// Lets the program do something: see the table of the [module](self).
    ///
    /// # Errors
    /// [`Error::Refused`] with MSAL's own error; others when the program ended, or said nothing for a minute.
    pub async fn ask(&mut self, command: &str, arguments: Value) -> Result<Value, Error> {
        let mut line = arguments;
        line["command"] = command.into();
        let line = format!("{line}\n");
        self.stdin
            .write_all(line.as_bytes())
            .await
            .map_err(|_| Error::Ended)?;
        let mut answer = self.line().await?;
        match answer.get("error") {
            Some(error) => Err(Error::Refused {
                error: error.as_str().unwrap_or_default().to_owned(),
            }),
            None => Ok(answer["ok"].take()),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "another process knows no injected clock"
    )]
    async fn line(&mut self) -> Result<Value, Error> {
        let line = tokio::time::timeout(PATIENCE, self.stdout.next_line()).await;
        let line = line.map_err(|_| Error::Silent)?;
        let line = line.ok().flatten().ok_or(Error::Ended)?;
        serde_json::from_str(&line).map_err(|_| Error::Nonsense { said: line })
    }
}

fn run(command: &mut std::process::Command, purpose: &'static str) -> Result<(), Error> {
    let output = command.output().map_err(|error| Error::Environment {
        purpose,
        output: error.to_string(),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    Err(Error::Environment {
        purpose,
        output: format!("{}\n{out}{err}", output.status),
    })
}
