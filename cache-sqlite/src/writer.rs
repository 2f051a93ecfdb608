//! One task that writes, and commits what waited together in one transaction.
//!
//! SQLite has one writer at a time anyway, and a durable commit is a wait for the disk. While one batch is being
//! committed the next one gathers, so eight tasks that write share a sync instead of queueing for eight.

use std::collections::HashMap;
use std::sync::Arc;

use cache_core::store::error::{ErrorKind, Retry};
use cache_core::store::{StoreError, StoreKey};
use cache_core::time::Clock;
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use sqlx::sqlite::{SqliteConnection, SqliteQueryResult};
use sqlx::{Either, Executor, SqlStr};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::batch::{Change, Plan, Stored, batch_length};
use crate::complaint;
use crate::connection::{self, Connector, Held};
use crate::error::Failure;
use crate::file::DatabaseFile;
use crate::reader::stored;
use crate::statement::{BEGIN, LOG, MOST_ROWS, REMOVE, WRITE, pad};
use crate::statistics::Counters;
use crate::watch::Announcer;

/// How many writes may wait before a caller waits to be let in.
const QUEUE: usize = 1024;

/// How often to begin while another process is only in the way for a moment.
const BEGIN_ATTEMPTS: usize = 5;

/// How many changes the log keeps for the watchers of other processes; one that is further behind has a gap.
pub(crate) const LOG_KEPT: i64 = 4096;

/// The log is trimmed each time that it has grown by this much.
const LOG_TRIMMED_EVERY: i64 = 256;

/// Something to write, with where to send the outcome.
pub(crate) enum Write {
    Change(Change, Answer),
    /// No more writes: commit those that wait, checkpoint and end.
    Close,
}

/// How much of the log of a commit is forced to the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Synchronous {
    /// Each commit.
    Full,
    /// Only checkpoints: a crash of the machine may undo the last commits, and never tears one.
    Normal,
}

pub(crate) struct Writer {
    pub(crate) connector: Connector,
    pub(crate) file: Arc<DatabaseFile>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) announcer: Arc<Announcer>,
    pub(crate) counters: Arc<Counters>,
    /// Those of the store's readers, all of them.
    pub(crate) readers: Vec<Held>,
}

impl Writer {
    /// Starts the task on a connection that is ready to write.
    pub(crate) fn spawn(self, connection: SqliteConnection) -> (mpsc::Sender<Write>, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let task = Task {
            writer: self,
            connection: Some(connection),
            synchronous: Synchronous::Full,
            has_lasting_names: false,
            is_trim_due: false,
        };
        (sender, tokio::spawn(task.run(receiver)))
    }
}

struct Task {
    writer: Writer,
    /// `None` after a failure that may have left the connection in an unknown state.
    connection: Option<SqliteConnection>,
    /// What the connection is set to.
    synchronous: Synchronous,
    /// Whether the log that the connection writes to has a name that lasts.
    has_lasting_names: bool,
    /// The log of changes has grown enough to be trimmed by the next transaction.
    is_trim_due: bool,
}

/// Where to send the outcome of an operation.
type Answer = oneshot::Sender<Result<(), StoreError>>;

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Write>) {
        let mut received = Vec::with_capacity(MOST_ROWS);
        while queue.recv_many(&mut received, MOST_ROWS).await > 0 {
            let (mut changes, mut answers) = (Vec::new(), Vec::new());
            for write in received.drain(..) {
                match write {
                    Write::Change(change, answer) => {
                        changes.push(change);
                        answers.push(answer);
                    }
                    Write::Close => queue.close(),
                }
            }
            let mut changes = changes.as_slice();
            while !changes.is_empty() {
                let (batch, rest) = changes.split_at(batch_length(changes));
                self.commit(batch, answers.drain(..batch.len())).await;
                changes = rest;
            }
        }
        self.finish().await;
    }

    async fn commit(&mut self, changes: &[Change], answers: impl Iterator<Item = Answer>) {
        let result = self.transact(changes).await;
        match result {
            Ok(outcomes) => {
                for (outcome, answer) in outcomes.into_iter().zip(answers) {
                    // An error only says that the caller no longer waits.
                    let _ = answer.send(outcome);
                }
            }
            // One record that does not fit must not fail its neighbours.
            Err(failure) if changes.len() > 1 && failure.may_be_one_record() && !is_unknown(&failure) => {
                for (change, answer) in changes.iter().zip(answers) {
                    let outcome = match self.transact(std::slice::from_ref(change)).await {
                        Ok(mut outcomes) => outcomes.pop().unwrap_or(Ok(())),
                        Err(failure) => Err(failure.during(change.operation())),
                    };
                    let _ = answer.send(outcome);
                }
            }
            Err(failure) => {
                for (change, answer) in changes.iter().zip(answers) {
                    let _ = answer.send(Err(failure.during(change.operation())));
                }
            }
        }
    }

    /// Carries out `changes` in one transaction, on new connections where the file was write-protected and no longer is.
    ///
    /// A failure was certainly not applied, unless it says that its outcome is unknown.
    async fn transact(&mut self, changes: &[Change]) -> Result<Vec<Result<(), StoreError>>, Failure> {
        let result = self.transact_once(changes).await;
        let path = self.writer.file.path();
        match result {
            Err(failure)
                if failure.is_write_protection()
                    && !is_unknown(&failure)
                    && complaint::about(path).is_none() =>
            {
                // Nobody may open another one before the writer has its own: the first finds out what holds for all.
                let readers = self.writer.readers.iter().cloned();
                let mut readers = join_all(readers.map(tokio::sync::Mutex::lock_owned)).await;
                let connections = readers.iter_mut().filter_map(|reader| reader.take());
                for connection in connections.chain(self.connection.take()) {
                    connection::close(connection).await;
                }
                self.transact_once(changes).await
            }
            result => result,
        }
    }

    async fn transact_once(&mut self, changes: &[Change]) -> Result<Vec<Result<(), StoreError>>, Failure> {
        self.writer.file.verify()?;
        let level = if changes.iter().any(Change::is_durable) {
            Synchronous::Full
        } else {
            Synchronous::Normal
        };
        let mut connection = self.take_connection(level).await?;
        let mut result = self.transact_on(&mut connection, changes).await;
        let full = matches!(&result, Err(failure) if failure.kind() == ErrorKind::Full);
        if full && is_rolled_back(&mut connection).await && made_room(&mut connection).await {
            result = self.transact_on(&mut connection, changes).await;
        }
        // Before the connection is closed, which shortens the log that could not grow.
        let result = result.map_err(|failure| failure.at(self.writer.file.path()));
        let keep = match &result {
            Ok(_) => true,
            Err(failure) if is_unknown(failure) => false,
            Err(failure) => is_rolled_back(&mut connection).await && !failure.breaks_connection(),
        };
        if keep {
            self.connection = Some(connection);
        } else {
            // Closing it undoes whatever is still open, and a new one reads the log anew.
            connection::close(connection).await;
        }
        result
    }

    async fn transact_on(
        &mut self,
        connection: &mut SqliteConnection,
        changes: &[Change],
    ) -> Result<Vec<Result<(), StoreError>>, Failure> {
        let stored = self.begin(connection, changes).await?;
        let plan = Plan::new(changes, stored, self.writer.clock.now());
        let newest = match plan.text().filter(|_| !self.is_trim_due) {
            Some(text) => {
                let newest = write_and_commit(connection, text, &plan).await?;
                self.is_trim_due = grew_enough(newest, plan.log.len());
                Some(newest)
            }
            None => {
                let newest = write(connection, &plan).await?;
                if let Some(newest) = newest
                    && (self.is_trim_due || grew_enough(newest, plan.log.len()))
                {
                    trim_log(connection, newest).await?;
                    self.is_trim_due = false;
                }
                sqlx::query("COMMIT")
                    .execute(&mut *connection)
                    .await
                    .map_err(|error| commit_failure(error.into()))?;
                newest
            }
        };
        self.writer.counters.count_transaction(changes.len());
        if let Some(newest) = newest {
            self.writer.announcer.committed(newest, plan.log);
        }
        Ok(plan.outcomes)
    }

    /// Takes the write lock and reads what is stored under the keys of the batch.
    async fn begin(
        &mut self,
        connection: &mut SqliteConnection,
        changes: &[Change],
    ) -> Result<HashMap<StoreKey, Stored>, Failure> {
        let (text, count) = BEGIN.padded(changes.len());
        let mut attempt = 1;
        let rows = loop {
            let mut query = sqlx::query(text.clone()).bind(self.writer.clock.now().0);
            for change in pad(changes, count) {
                query = query.bind(change.key.as_str().to_owned());
            }
            match query.fetch_all(&mut *connection).await.map_err(Failure::from) {
                Ok(rows) => break rows,
                Err(failure) if failure.is_transient() && attempt < BEGIN_ATTEMPTS => {
                    is_rolled_back(connection).await;
                    attempt += 1;
                }
                Err(failure) => return Err(failure),
            }
        };
        rows.iter().map(stored).collect()
    }

    async fn take_connection(&mut self, level: Synchronous) -> Result<SqliteConnection, Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connection = self.writer.connector.writer().await;
                let connection = connection.map_err(|failure| failure.at(self.writer.file.path()))?;
                self.synchronous = Synchronous::Full;
                // The log may be a new one.
                self.has_lasting_names = false;
                connection
            }
        };
        if level == Synchronous::Full
            && !self.has_lasting_names
            && let Err(failure) = self.sync_names().await
        {
            self.connection = Some(connection);
            return Err(failure);
        }
        if self.synchronous != level {
            // Never as a prepared statement: SQLite sets the level when it prepares this, not when it runs it.
            let text = match level {
                Synchronous::Full => "PRAGMA synchronous = FULL",
                Synchronous::Normal => "PRAGMA synchronous = NORMAL",
            };
            sqlx::raw_sql(text).execute(&mut connection).await?;
            self.synchronous = level;
        }
        Ok(connection)
    }

    /// Once for each connection, and not before something is to last: who only reads need not wait for the disk.
    async fn sync_names(&mut self) -> Result<(), Failure> {
        let file = Arc::clone(&self.writer.file);
        let synced = tokio::task::spawn_blocking(move || file.sync_names()).await;
        synced.unwrap_or_else(|_| Err(Failure::closed()))?;
        self.has_lasting_names = true;
        Ok(())
    }

    async fn finish(mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        // Forces relaxed commits to the disk. Passive: readers of other processes are not waited for.
        if let Err(error) = sqlx::raw_sql("PRAGMA wal_checkpoint(PASSIVE)")
            .execute(&mut connection)
            .await
        {
            tracing::debug!(%error, "the last checkpoint failed; the next open will do it");
        }
        connection::close(connection).await;
    }
}

/// Writes what `plan` says; returns the sequence number of its last change.
async fn write(connection: &mut SqliteConnection, plan: &Plan) -> Result<Option<i64>, Failure> {
    let mut rows = plan.rows.iter();
    for (text, count) in WRITE.exact(plan.rows.len()) {
        let mut query = sqlx::query(text);
        for row in rows.by_ref().take(count) {
            query = query
                .bind(row.key.as_str().to_owned())
                .bind(row.version.as_bytes().to_vec())
                .bind(row.expires_at.map(|moment| moment.0))
                .bind(Vec::from(row.payload.clone()));
        }
        query.execute(&mut *connection).await?;
    }
    for keys in plan.removals.chunks(MOST_ROWS) {
        let (text, count) = REMOVE.padded(keys.len());
        let mut query = sqlx::query(text);
        for key in pad(keys, count) {
            query = query.bind(key.as_str().to_owned());
        }
        query.execute(&mut *connection).await?;
    }
    let mut newest = None;
    let mut log = plan.log.iter();
    for (text, count) in LOG.exact(plan.log.len()) {
        let mut query = sqlx::query(text);
        for (key, version) in log.by_ref().take(count) {
            query = query
                .bind(key.as_str().to_owned())
                .bind(version.map(|version| version.as_bytes().to_vec()));
        }
        let done: SqliteQueryResult = query.execute(&mut *connection).await?;
        newest = Some(done.last_insert_rowid());
    }
    Ok(newest)
}

/// Writes what `plan` says and commits, in one trip; returns the sequence number of its last change.
async fn write_and_commit(
    connection: &mut SqliteConnection,
    text: SqlStr,
    plan: &Plan,
) -> Result<i64, Failure> {
    let mut query = sqlx::query(text);
    for row in &plan.rows {
        query = query
            .bind(row.key.as_str().to_owned())
            .bind(row.version.as_bytes().to_vec())
            .bind(row.expires_at.map(|moment| moment.0))
            .bind(Vec::from(row.payload.clone()));
    }
    for (key, version) in &plan.log {
        query = query
            .bind(key.as_str().to_owned())
            .bind(version.map(|version| version.as_bytes().to_vec()));
    }
    let mut done = connection.fetch_many(query);
    // The record and the log; what fails after them is the commit.
    let mut newest = None;
    for place in 0.. {
        match done.try_next().await {
            Ok(Some(Either::Left(result))) if place == 1 => {
                newest = Some(SqliteQueryResult::last_insert_rowid(&result))
            }
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) if place < 2 => return Err(error.into()),
            Err(error) => return Err(commit_failure(error.into())),
        }
    }
    newest.ok_or_else(|| sqlx::Error::RowNotFound.into())
}

/// Keeps the log bounded. The newest entries stay, because the next sequence number is counted from them.
async fn trim_log(connection: &mut SqliteConnection, newest: i64) -> Result<(), Failure> {
    sqlx::query("DELETE FROM changes WHERE sequence <= ?")
        .bind(newest - LOG_KEPT)
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether the `added` changes up to `newest` are a reason to trim the log.
fn grew_enough(newest: i64, added: usize) -> bool {
    let added = i64::try_from(added).unwrap_or(i64::MAX);
    newest / LOG_TRIMMED_EVERY != newest.saturating_sub(added) / LOG_TRIMMED_EVERY
}

/// What a failed COMMIT means.
fn commit_failure(failure: Failure) -> Failure {
    match failure.kind() {
        // The lock was not had, or the last page of the log, which makes the others count, was not written.
        _ if failure.is_busy() => failure,
        ErrorKind::Full | ErrorKind::ReadOnly => failure,
        // The log may hold the commit although syncing it failed: the next crash decides.
        _ => failure.with_retry(Retry::OutcomeUnknown),
    }
}

fn is_unknown(failure: &Failure) -> bool {
    failure.retry() == Some(Retry::OutcomeUnknown)
}

/// Gives the space of the log back, as far as that can be done: a delete needs some to make more.
async fn made_room(connection: &mut SqliteConnection) -> bool {
    sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(connection)
        .await
        .is_ok()
}

/// Ends the transaction, if one is open; false when that cannot be done on this connection.
async fn is_rolled_back(connection: &mut SqliteConnection) -> bool {
    match sqlx::raw_sql("ROLLBACK").execute(connection).await {
        Ok(_) => true,
        Err(error) => Failure::from(error).is_generic(),
    }
}

#[cfg(test)]
mod tests;
