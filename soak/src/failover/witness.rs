//! A client that writes nothing and reads what others were told that they wrote.

use std::sync::Mutex;
use std::time::Duration;

use cache_core::store::Store;
use cache_core::time::{Clock, SystemClock};

use super::clients::Client;
use super::counter::Counter;
use super::score::{Score, open};
use super::session::{self, Session};
use super::workload::Told;
use crate::gate::GateError;

/// Between two attempts to read what could not be read.
const PAUSE: Duration = Duration::from_millis(50);

/// How often reading one thing is tried, each time for a second at most.
const ATTEMPTS: usize = 600;

/// Reads everything once, and each thing as often as it takes: whatever is older than what was acknowledged before is lost, or was
/// read from a server that is no primary any more.
///
/// # Errors
///
/// When something cannot be read for a long time.
pub async fn look(client: &Client, told: &Told, score: &Mutex<Score>) -> Result<(), GateError> {
    for counter in &told.counters {
        until(async || read(client, counter, score).await).await?;
    }
    for session in &told.sessions {
        until(async || find(client, session, score).await).await?;
    }
    Ok(())
}

/// Reads everything once, as far as it can be read.
pub async fn glance(client: &Client, told: &Told, score: &Mutex<Score>) {
    for counter in &told.counters {
        read(client, counter, score).await;
    }
    for session in &told.sessions {
        find(client, session, score).await;
    }
}

/// Reads until that succeeds.
///
/// # Errors
///
/// When it does not for a long time.
pub async fn until(read: impl AsyncFn() -> bool) -> Result<(), GateError> {
    for _ in 0..ATTEMPTS {
        if read().await {
            return Ok(());
        }
        SystemClock.sleep(PAUSE).await;
    }
    Err(GateError::new(
        "a record could not be read for long after a failover",
    ))
}

async fn read(client: &Client, counter: &Mutex<Counter>, score: &Mutex<Score>) -> bool {
    let (key, before) = {
        let counter = open(counter);
        (counter.key().clone(), counter.acknowledged())
    };
    let record = match client.store.get(&key).await {
        Ok(record) => record,
        Err(error) => {
            open(score).failed(&error);
            return false;
        }
    };
    let payload = record.map(|record| record.payload);
    let number = open(counter).number_in(payload.as_ref());
    let mut score = open(score);
    score.was_read();
    match number {
        Ok(number) if number < before => score.lost(1, || {
            format!("{key} was read as {number} elsewhere after {before} was acknowledged")
        }),
        Ok(_) => {}
        Err(words) => score.wrong(words),
    }
    true
}

async fn find(client: &Client, session: &Mutex<Session>, score: &Mutex<Score>) -> bool {
    let (user, before) = {
        let session = open(session);
        (session.user(), session.settled())
    };
    let found = user.serial(&client.cache).await;
    let mut score = open(score);
    match found {
        Ok(found) => {
            score.was_read();
            match open(session).check(found, before) {
                Ok(()) => {}
                Err((words, true)) => score.lost(1, || format!("elsewhere, {words}")),
                Err((words, false)) => score.wrong(words),
            }
            true
        }
        Err(error) => {
            session::failed(error, &mut score);
            false
        }
    }
}
