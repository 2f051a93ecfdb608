//! Another process that holds the lock of a database.

use std::path::Path;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::child::tell;
use crate::gate::{Doing, GateError};
use crate::stage::runtime;

/// How long it waits for its turn.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes the lock for writing, says so, and holds it until it is killed.
pub(crate) fn hold(path: &Path) -> Result<(), GateError> {
    runtime()?.block_on(async {
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE);
        let connected = options.connect().await;
        let mut connection = connected.doing("could not open the database")?;
        let locked = sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await;
        locked.doing("could not lock the database")?;
        tell("locked");
        std::future::pending().await
    })
}
