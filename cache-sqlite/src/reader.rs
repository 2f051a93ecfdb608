//! Held read connections. One is used by whoever comes first, without a detour; the others live in tasks that
//! answer all waiting reads with one statement.
//!
//! A pool would ping the connection before and after each use, and every statement is a trip to the connection's
//! thread and back, which costs more than the read itself. So a task that is free takes everything that waits.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{Record, StoreError, StoreKey, Version};
use cache_core::time::{Clock, UnixMillis};
use futures_util::future::join;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Row, SqlStr, Sqlite};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::batch::Stored;
use crate::connection::{self, Connector, Held};
use crate::error::Failure;
use crate::file::DatabaseFile;
use crate::schema::INCOMPLETE_INDEX;
use crate::statement::{RECORDS, VERSIONS, Wide};
use crate::statistics::Counters;

/// How many reads one statement answers at most.
const MOST_READS: usize = Wide::MOST_KEYS;

/// How many reads may wait before a caller waits to be let in.
const QUEUE: usize = 1024;

/// Something to read, with where to send it.
pub(crate) enum Read {
    Record(StoreKey, Answer<Option<Record>>),
    Version(StoreKey, Answer<Option<Version>>),
    /// The live records from `from` on and before `before`, in order, at most `limit`.
    Page {
        from: String,
        before: String,
        limit: i64,
        answer: Answer<Vec<(StoreKey, Version)>>,
    },
    /// The log of changes from the sequence number on, at most `limit` of them.
    Changes {
        from: i64,
        limit: i64,
        answer: oneshot::Sender<Result<Vec<LoggedChange>, Failure>>,
    },
    /// The newest sequence number of the log.
    NewestChange(oneshot::Sender<Result<i64, Failure>>),
    /// Whether the file is sound; the first few findings if not.
    Check(oneshot::Sender<Result<Vec<String>, Failure>>),
    /// No more reads: answer those that wait and end.
    Close,
}

type SqliteQuery = Query<'static, Sqlite, SqliteArguments>;

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// An entry of the log of changes.
pub(crate) struct LoggedChange {
    pub(crate) sequence: i64,
    pub(crate) key: StoreKey,
    pub(crate) version: Option<Version>,
}

/// What every reader needs.
#[derive(Clone)]
pub(crate) struct Environment {
    pub(crate) connector: Connector,
    pub(crate) file: Arc<DatabaseFile>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Arc<Counters>,
}

/// Starts a reader for each of `connections`, all on one queue.
pub(crate) fn spawn(
    connections: &[Held],
    environment: &Environment,
) -> (mpsc::Sender<Read>, Vec<JoinHandle<()>>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let queue = Arc::new(Mutex::new(receiver));
    let tasks = connections.iter().map(|connection| {
        let reader = Reader::new(environment, connection);
        tokio::spawn(reader.run(Arc::clone(&queue)))
    });
    (sender, tasks.collect())
}

/// One read connection.
pub(crate) struct Reader {
    environment: Environment,
    /// Opened by the first read: a program that reads once pays for one connection.
    connection: Held,
}

impl Reader {
    pub(crate) fn new(environment: &Environment, connection: &Held) -> Self {
        Self {
            environment: environment.clone(),
            connection: Arc::clone(connection),
        }
    }

    /// Cancellation safe: a statement whose answer nobody takes ends by itself before the next one.
    pub(crate) async fn record(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        let found = self.one(RECORDS.text(1), key).await;
        let found = found.and_then(|row| self.record_in(row.as_ref(), 0));
        found.map_err(|failure| failure.during(Operation::Get))
    }

    /// Cancellation safe, as [`record`](Self::record).
    pub(crate) async fn version(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        let found = self.one(VERSIONS.text(1), key).await;
        let found = found.and_then(|row| self.version_in(row.as_ref(), 0));
        found.map_err(|failure| failure.during(Operation::Head))
    }

    pub(crate) async fn close(self) {
        if let Some(connection) = self.connection.lock().await.take() {
            connection::close(connection).await;
        }
    }

    async fn run(self, queue: Arc<Mutex<mpsc::Receiver<Read>>>) {
        let mut waiting = Vec::with_capacity(MOST_READS);
        loop {
            {
                let mut queue = queue.lock().await;
                if queue.recv_many(&mut waiting, MOST_READS).await == 0 {
                    break;
                }
                if waiting.iter().any(|read| matches!(read, Read::Close)) {
                    queue.close();
                }
            }
            self.answer(waiting.drain(..)).await;
        }
        self.close().await;
    }

    async fn answer(&self, waiting: impl Iterator<Item = Read>) {
        let mut records = Vec::new();
        let mut versions = Vec::new();
        for read in waiting {
            match read {
                // Whoever dropped the future no longer waits for the answer.
                Read::Record(_, answer) if answer.is_closed() => {}
                Read::Version(_, answer) if answer.is_closed() => {}
                Read::Record(key, answer) => records.push((key, answer)),
                Read::Version(key, answer) => versions.push((key, answer)),
                Read::Page {
                    from,
                    before,
                    limit,
                    answer,
                } => {
                    let page = self.page(&from, &before, limit).await;
                    let _ = answer.send(page.map_err(|failure| failure.during(Operation::Scan)));
                }
                Read::Changes { from, limit, answer } => {
                    let _ = answer.send(self.changes(from, limit).await);
                }
                Read::NewestChange(answer) => {
                    let _ = answer.send(self.newest_change().await);
                }
                Read::Check(answer) => {
                    let _ = answer.send(self.check().await);
                }
                Read::Close => {}
            }
        }
        if !records.is_empty() {
            let row = self.wide(RECORDS.text(records.len()), &records).await;
            distribute(records, Operation::Get, &row, |row, place| {
                self.record_in(row, place)
            });
        }
        if !versions.is_empty() {
            let row = self.wide(VERSIONS.text(versions.len()), &versions).await;
            distribute(versions, Operation::Head, &row, |row, place| {
                self.version_in(row, place)
            });
        }
    }

    async fn one(&self, text: SqlStr, key: &StoreKey) -> Result<Option<SqliteRow>, Failure> {
        let query = sqlx::query(text).bind(key.as_str().to_owned());
        self.fetch_row(query, 1).await
    }

    /// The row with the columns of the keys, in their order.
    async fn wide<T>(&self, text: SqlStr, waiting: &[(StoreKey, T)]) -> Result<Option<SqliteRow>, Failure> {
        let mut query = sqlx::query(text);
        for (key, _) in waiting {
            query = query.bind(key.as_str().to_owned());
        }
        self.fetch_row(query, waiting.len()).await
    }

    /// The record of the key at `place`, if it is there and live.
    fn record_in(&self, row: Option<&SqliteRow>, place: usize) -> Result<Option<Record>, Failure> {
        let Some(row) = row else { return Ok(None) };
        let Some(stored) = self.live(row, 3 * place)? else {
            return Ok(None);
        };
        Ok(Some(Record {
            payload: Bytes::from(row.try_get::<Vec<u8>, _>(3 * place + 2)?),
            version: stored.version,
            expires_at: stored.expires_at,
        }))
    }

    fn version_in(&self, row: Option<&SqliteRow>, place: usize) -> Result<Option<Version>, Failure> {
        let Some(row) = row else { return Ok(None) };
        Ok(self.live(row, 2 * place)?.map(|stored| stored.version))
    }

    /// `version, expires_at` from the column on; `None` where there is no record or it is expired.
    fn live(&self, row: &SqliteRow, column: usize) -> Result<Option<Stored>, Failure> {
        let Some(bytes) = row.try_get(column)? else {
            return Ok(None);
        };
        let stored = Stored {
            version: version(bytes)?,
            expires_at: row.try_get::<Option<i64>, _>(column + 1)?.map(UnixMillis),
        };
        let is_live = stored.expires_at.is_none() || stored.is_live(self.environment.clock.now());
        Ok(is_live.then_some(stored))
    }

    async fn page(&self, from: &str, before: &str, limit: i64) -> Result<Vec<(StoreKey, Version)>, Failure> {
        let query = sqlx::query(
            "SELECT key, version, expires_at FROM records
             WHERE key >= ? AND key < ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY key LIMIT ?",
        )
        .bind(from.to_owned())
        .bind(before.to_owned())
        .bind(self.environment.clock.now().0)
        .bind(limit);
        let rows = self.fetch(query).await?;
        if rows.is_empty() {
            self.verify_absence(from, before).await?;
        }
        rows.iter()
            .map(|row| stored(row).map(|(key, stored)| (key, stored.version)))
            .collect()
    }

    /// That the table has no such record either. SQLite keeps no checksums: one flipped bit in the index of the keys can hide all of them, and
    /// whoever then takes the store for a new one puts a second key ring into it. Reads the whole table, which few lists are empty for.
    async fn verify_absence(&self, from: &str, before: &str) -> Result<(), Failure> {
        // In one statement, which sees one state of the database.
        let query = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM records NOT INDEXED WHERE key >= ?1 AND key < ?2)
                AND NOT EXISTS (SELECT 1 FROM records WHERE key >= ?1 AND key < ?2)",
        )
        .bind(from.to_owned())
        .bind(before.to_owned());
        let row = self.fetch_row(query, 0).await?.ok_or(sqlx::Error::RowNotFound)?;
        if row.try_get(0)? {
            let context = format!("{}: {INCOMPLETE_INDEX}", self.environment.file.path().display());
            return Err(Failure::new(ErrorKind::Corrupt, context));
        }
        Ok(())
    }

    async fn changes(&self, from: i64, limit: i64) -> Result<Vec<LoggedChange>, Failure> {
        let query = sqlx::query(
            "SELECT sequence, key, version FROM changes WHERE sequence >= ? ORDER BY sequence LIMIT ?",
        )
        .bind(from)
        .bind(limit);
        let rows = self.fetch(query).await?;
        rows.iter()
            .map(|row| {
                let version: Option<&[u8]> = row.try_get(2)?;
                Ok(LoggedChange {
                    sequence: row.try_get(0)?,
                    key: key(row.try_get(1)?)?,
                    version: version.map(self::version).transpose()?,
                })
            })
            .collect()
    }

    async fn newest_change(&self) -> Result<i64, Failure> {
        let query = sqlx::query("SELECT coalesce(max(sequence), 0) FROM changes");
        let rows = self.fetch(query).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        Ok(row.try_get(0)?)
    }

    async fn check(&self) -> Result<Vec<String>, Failure> {
        let rows = self.fetch(sqlx::query("PRAGMA integrity_check(10)")).await?;
        let mut findings = rows
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<Vec<String>, _>>()?;
        findings.retain(|finding| finding != "ok");
        Ok(findings)
    }

    /// Runs `query`, which answers one read by any number of rows.
    async fn fetch(&self, query: SqliteQuery) -> Result<Vec<SqliteRow>, Failure> {
        self.environment.file.verify()?;
        self.environment.counters.count_read(1);
        let mut held = self.connection.lock().await;
        let rows = query.fetch_all(self.opened(&mut held).await?).await;
        rows.map_err(|error| self.failed(error, &mut held))
    }

    /// Runs `query`, which answers `reads` reads by one row.
    async fn fetch_row(&self, query: SqliteQuery, reads: usize) -> Result<Option<SqliteRow>, Failure> {
        let mut held = self.connection.lock().await;
        if held.is_none() {
            // A missing file has a better error than SQLite's.
            self.environment.file.verify()?;
        }
        self.environment.counters.count_read(reads);
        let row = query.fetch_optional(self.opened(&mut held).await?);
        // The look at the file while the connection's thread reads it. Nothing of what it read is used if it is gone.
        let (row, verified) = join(row, async { self.environment.file.verify() }).await;
        verified?;
        row.map_err(|error| self.failed(error, &mut held))
    }

    async fn opened<'a>(
        &self,
        held: &'a mut Option<SqliteConnection>,
    ) -> Result<&'a mut SqliteConnection, Failure> {
        Ok(match held {
            Some(connection) => connection,
            closed => {
                let opened = self.environment.connector.reader().await;
                closed.insert(opened.map_err(|failure| failure.at(self.environment.file.path()))?)
            }
        })
    }

    fn failed(&self, error: sqlx::Error, held: &mut Option<SqliteConnection>) -> Failure {
        let failure = Failure::from(error).at(self.environment.file.path());
        if failure.breaks_connection() {
            *held = None;
        }
        failure
    }
}

/// `key, version, expires_at` from the first three columns of `row`.
pub(crate) fn stored(row: &SqliteRow) -> Result<(StoreKey, Stored), Failure> {
    let expires_at: Option<i64> = row.try_get(2)?;
    let stored = Stored {
        version: version(row.try_get(1)?)?,
        expires_at: expires_at.map(UnixMillis),
    };
    Ok((key(row.try_get(0)?)?, stored))
}

fn key(text: &str) -> Result<StoreKey, Failure> {
    StoreKey::new(text).map_err(|error| sqlx::Error::Decode(error.into()).into())
}

fn version(bytes: &[u8]) -> Result<Version, Failure> {
    let bytes = bytes
        .try_into()
        .map_err(|_| sqlx::Error::Decode("a version of another length than 16 bytes".into()))?;
    Ok(Version::from_bytes(bytes))
}

/// Answers everybody from what was found, in their order.
fn distribute<T>(
    waiting: Vec<(StoreKey, Answer<Option<T>>)>,
    operation: Operation,
    row: &Result<Option<SqliteRow>, Failure>,
    found: impl Fn(Option<&SqliteRow>, usize) -> Result<Option<T>, Failure>,
) {
    for (place, (_, answer)) in waiting.into_iter().enumerate() {
        // An error only says that the caller no longer waits.
        let _ = answer.send(match row {
            Ok(row) => found(row.as_ref(), place).map_err(|failure| failure.during(operation)),
            Err(failure) => Err(failure.during(operation)),
        });
    }
}
