//! The tables, and the refusal of files that are not ours to touch.

use cache_core::store::error::ErrorKind;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use crate::connection::{self, Connector};
use crate::error::Failure;
use crate::file::DatabaseFile;

/// `application_id` in the file's header (<https://www.sqlite.org/fileformat.html#application_id>): "tkep".
const APPLICATION_ID: i64 = 0x746b_6570;

/// What takes an empty file to each version; `user_version` says how many have been applied.
///
/// `records` has the small columns first, so that reading a version never follows the payload's overflow
/// pages. `changes` is the log that other processes learn from: `sequence` has no gaps, because it is always
/// one more than the largest and the newest rows are never trimmed.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE records (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        version BLOB NOT NULL CHECK (length(version) = 16),
        expires_at INTEGER,
        payload BLOB NOT NULL
    ) STRICT;
    CREATE INDEX records_by_expiry ON records (expires_at) WHERE expires_at IS NOT NULL;
    CREATE TABLE changes (
        sequence INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        version BLOB
    ) STRICT;
"];

/// A record of the table cannot be found by its key.
pub(crate) const INCOMPLETE_INDEX: &str =
    "the database is damaged: its index misses a record; move the file aside or restore it";

/// How often to try for write-ahead logging while other processes open the file too.
const LOG_ATTEMPTS: usize = 20;

/// What a file is, to us.
enum State {
    /// An empty database, or one of ours with this many migrations to come.
    Behind(usize),
    Current,
}

/// Checks the file and brings it up to date; returns a connection to write with.
///
/// A file that is refused is left as it is: the first look is through a read-only connection.
pub(crate) async fn prepare(connector: &Connector, file: &DatabaseFile) -> Result<SqliteConnection, Failure> {
    let mut probe = connector.probe().await?;
    let seen = inspect(&mut probe).await;
    connection::close(probe).await;
    match seen {
        // A process that died while it created the tables left a journal that only a writer may roll back.
        Err(failure) if failure.is_write_protection() => {}
        Err(failure) => return Err(failure),
        Ok(_) => {}
    }

    file.tighten()?;
    let mut writer = connector.writer().await?;
    if let State::Behind(_) = inspect(&mut writer).await? {
        use_write_ahead_log(&mut writer).await?;
        migrate(&mut writer).await?;
    }
    use_write_ahead_log(&mut writer).await?;
    Ok(writer)
}

/// The newest entry of the log of changes.
pub(crate) async fn newest_change(connection: &mut SqliteConnection) -> Result<i64, Failure> {
    let row = sqlx::query("SELECT coalesce(max(sequence), 0) FROM changes")
        .fetch_one(connection)
        .await?;
    Ok(row.try_get(0)?)
}

/// In a transaction of its own: another process may be creating the tables, and a header from before with tables
/// from after would look like another program's file.
async fn inspect(connection: &mut SqliteConnection) -> Result<State, Failure> {
    sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
    let state = inspect_within(connection).await;
    let ended = sqlx::raw_sql("ROLLBACK").execute(connection).await;
    let state = state?;
    ended?;
    Ok(state)
}

async fn inspect_within(connection: &mut SqliteConnection) -> Result<State, Failure> {
    let rows = sqlx::raw_sql(
        "PRAGMA application_id; PRAGMA user_version; SELECT count(*) FROM sqlite_schema;
         SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('records', 'changes')",
    )
    .fetch_all(&mut *connection)
    .await?;
    let [application, version, entries, tables] = rows.as_slice() else {
        return Err(Failure::new(
            ErrorKind::Corrupt,
            "the file's header cannot be read",
        ));
    };
    let application: i64 = application.try_get(0)?;
    let version: i64 = version.try_get(0)?;
    let entries: i64 = entries.try_get(0)?;
    let tables: i64 = tables.try_get(0)?;

    if application == 0 && version == 0 && entries == 0 {
        return Ok(State::Behind(0));
    }
    if application != APPLICATION_ID {
        return Err(Failure::new(
            ErrorKind::Corrupt,
            "the file is the SQLite database of another program; choose another path",
        ));
    }
    let Some(applied) = usize::try_from(version).ok().filter(|applied| *applied > 0) else {
        return Err(Failure::new(
            ErrorKind::Corrupt,
            "the schema version makes no sense",
        ));
    };
    if applied > MIGRATIONS.len() {
        return Err(Failure::new(
            ErrorKind::NewerSchema,
            format!(
                "the file has schema {applied} and this program knows up to {}; upgrade the program",
                MIGRATIONS.len()
            ),
        ));
    }
    if tables != 2 {
        return Err(Failure::new(
            ErrorKind::Corrupt,
            "tables are missing; move the file aside",
        ));
    }
    if applied < MIGRATIONS.len() {
        return Ok(State::Behind(applied));
    }
    find_newest_by_key(connection).await?;
    Ok(State::Current)
}

/// SQLite keeps no checksums. An index in the place of another one answers that there is no record at all, and whoever then takes the store for
/// a new one puts a second key ring into it. So the newest record must be found by its key.
async fn find_newest_by_key(connection: &mut SqliteConnection) -> Result<(), Failure> {
    let row = sqlx::query(
        "SELECT count(newest.key), count(found.key)
         FROM (SELECT key FROM records NOT INDEXED ORDER BY id DESC LIMIT 1) newest
         LEFT JOIN records found ON found.key = newest.key",
    )
    .fetch_one(connection)
    .await?;
    let (newest, found): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    if newest == found {
        return Ok(());
    }
    Err(Failure::new(ErrorKind::Corrupt, INCOMPLETE_INDEX))
}

async fn use_write_ahead_log(connection: &mut SqliteConnection) -> Result<(), Failure> {
    let mut last = None;
    for _ in 0..LOG_ATTEMPTS {
        match sqlx::raw_sql("PRAGMA journal_mode = WAL")
            .fetch_one(&mut *connection)
            .await
        {
            Ok(row) if row.try_get::<String, _>(0)? == "wal" => return Ok(()),
            Ok(_) => {
                return Err(Failure::new(
                    ErrorKind::Unsupported,
                    "write-ahead logging needs shared memory, which network file systems lack; choose a local path",
                ));
            }
            Err(error) => {
                let failure = Failure::from(error);
                if failure.kind() != ErrorKind::Unavailable {
                    return Err(failure);
                }
                last = Some(failure);
            }
        }
        // Changing the mode never waits for a lock, but beginning a transaction does.
        if sqlx::raw_sql("BEGIN IMMEDIATE")
            .execute(&mut *connection)
            .await
            .is_ok()
        {
            sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
        }
    }
    Err(last.unwrap_or_else(|| Failure::new(ErrorKind::Unavailable, "another process holds the database")))
}

async fn migrate(connection: &mut SqliteConnection) -> Result<(), Failure> {
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let result = migrate_within(connection).await;
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = sqlx::raw_sql(end).execute(&mut *connection).await;
    result?;
    ended?;
    Ok(())
}

async fn migrate_within(connection: &mut SqliteConnection) -> Result<(), Failure> {
    // Another process may have been first.
    let State::Behind(applied) = inspect_within(connection).await? else {
        return Ok(());
    };
    for migration in &MIGRATIONS[applied..] {
        sqlx::raw_sql(*migration).execute(&mut *connection).await?;
    }
    let header = format!(
        "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {}",
        MIGRATIONS.len()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(header))
        .execute(&mut *connection)
        .await?;
    Ok(())
}
