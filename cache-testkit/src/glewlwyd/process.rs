//! The program, in a folder of its own that goes with it.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::Error;
use super::configuration::{self, DATABASE_SCRIPT, MODULES};

const PAUSE: Duration = Duration::from_millis(25);

/// Half a minute: it is ready after a fraction of a second, on a loaded machine after some.
const ATTEMPTS: u32 = 1_200;

/// The provider's process. Dropping it kills the process and removes its folder.
#[derive(Debug)]
pub(super) struct Process {
    _child: Child,
    folder: TempDir,
}

impl Process {
    /// Starts the provider on a free port and waits until it listens there.
    pub(super) async fn spawn() -> Result<(Self, u16), Error> {
        for part in [MODULES, DATABASE_SCRIPT] {
            if !Path::new(part).exists() {
                let missing = PathBuf::from(part);
                return Err(Error::NotInstalled { missing });
            }
        }
        let folder = folder().map_err(|error| Error::start("a folder")(error.into()))?;
        let database = database(&folder);
        make_database(&database)
            .await
            .map_err(Error::start("its database"))?;
        let port = free_port().map_err(|error| Error::start("a free port")(error.into()))?;
        let file = folder.path().join("glewlwyd.conf");
        std::fs::write(&file, configuration::file(port, &database))
            .map_err(|error| Error::start("its configuration")(error.into()))?;

        let mut child = Command::new("glewlwyd")
            .arg(format!("--config-file={}", file.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Error::start("the program")(error.into()))?;
        wait_until_it_listens(&mut child, port).await?;
        let process = Self {
            _child: child,
            folder,
        };
        Ok((process, port))
    }

    /// Its database, which it writes meanwhile.
    pub(super) fn database(&self) -> PathBuf {
        database(&self.folder)
    }
}

/// In memory where there is such a place: each request is several transactions, and on a disk their syncs are nearly all of its time.
fn folder() -> std::io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        TempDir::new_in(memory)
    } else {
        TempDir::new()
    }
}

fn database(folder: &TempDir) -> PathBuf {
    folder.path().join("glewlwyd.db")
}

/// What the program says that it is.
pub(super) async fn version() -> Result<String, Error> {
    let asked = Command::new("glewlwyd").arg("--version").output().await;
    let said = asked.map_err(|error| Error::start("the program")(error.into()))?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

async fn make_database(path: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let script = std::fs::read_to_string(DATABASE_SCRIPT)?;
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = options.connect().await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(script))
        .execute(&mut connection)
        .await?;
    sqlx::Connection::close(connection).await?;
    Ok(())
}

/// A port that was free a moment ago. The program cannot be told to take any.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[expect(
    clippy::disallowed_methods,
    reason = "another process knows no injected clock"
)]
async fn wait_until_it_listens(child: &mut Child, port: u16) -> Result<(), Error> {
    for _ in 0..ATTEMPTS {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            return Ok(());
        }
        if !matches!(child.try_wait(), Ok(None)) {
            return Err(Error::NotReady);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Error::NotReady)
}
