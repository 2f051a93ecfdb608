//! A counter that one task alone writes to, by compare-and-swap.

use std::sync::Mutex;

use bytes::Bytes;
use cache_core::store::{PutOptions, Store, StoreKey};

use super::score::{Score, open};

/// What its task knows of it. Each attempt to write has a number of its own, so that a record which nobody wrote is known.
#[derive(Debug)]
pub struct Counter {
    key: StoreKey,
    /// The highest number of which a server said that it has it.
    acknowledged: u64,
    /// The number that each attempt wrote.
    attempts: Vec<u64>,
}

impl Counter {
    /// One that nobody has written to.
    #[must_use]
    pub fn new(key: StoreKey) -> Self {
        Self {
            key,
            acknowledged: 0,
            attempts: Vec::new(),
        }
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &StoreKey {
        &self.key
    }

    /// The highest number that was acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// The number in a record that was read under its key; 0 where there is none.
    ///
    /// # Errors
    ///
    /// What is wrong with the record, in words.
    pub fn number_in(&self, payload: Option<&Bytes>) -> Result<u64, String> {
        let Some(payload) = payload else { return Ok(0) };
        let key = &self.key;
        let torn = || format!("{key}: a torn record: {payload:?}");
        let text = std::str::from_utf8(payload).map_err(|_| torn())?;
        let mut words = text.split(' ');
        let (Some(of), Some(number), Some(attempt), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(torn());
        };
        if of != key.as_str() {
            return Err(format!("{key}: the record of {of}"));
        }
        let number = number.parse::<u64>().map_err(|_| torn())?;
        let attempt = attempt.parse::<usize>().map_err(|_| torn())?;
        if self.attempts.get(attempt) != Some(&number) {
            return Err(format!("{key}: a record that nobody wrote: {text}"));
        }
        Ok(number)
    }

    /// Judges what its own task read, and gives the number to go on from.
    pub fn read(&mut self, payload: Option<&Bytes>, score: &mut Score) -> u64 {
        score.was_read();
        let number = match self.number_in(payload) {
            Ok(number) => number,
            Err(words) => {
                score.wrong(words);
                return self.acknowledged;
            }
        };
        if number < self.acknowledged {
            let (key, acknowledged) = (&self.key, self.acknowledged);
            score.lost(acknowledged - number, || {
                format!("{key} stands at {number} after {acknowledged} was acknowledged")
            });
            // They are counted once.
            self.acknowledged = number;
        }
        number
    }

    fn attempt(&mut self, number: u64) -> Bytes {
        self.attempts.push(number);
        let attempt = self.attempts.len() - 1;
        Bytes::from(format!("{} {number} {attempt}", self.key))
    }
}

/// Adds one: read by one client, written by the other or the same.
pub async fn increment(
    reader: &dyn Store,
    writer: &dyn Store,
    counter: &Mutex<Counter>,
    score: &Mutex<Score>,
) {
    let key = open(counter).key.clone();
    let record = match reader.get(&key).await {
        Ok(record) => record,
        Err(error) => return open(score).failed(&error),
    };
    let options = match &record {
        Some(record) => PutOptions::update(record.version),
        None => PutOptions::create(),
    };
    let payload = record.map(|record| record.payload);
    let (next, payload) = {
        let mut counter = open(counter);
        let next = counter.read(payload.as_ref(), &mut open(score)) + 1;
        (next, counter.attempt(next))
    };
    let begun = Score::begin();
    match writer.put(&key, payload, options).await {
        Ok(_) => {
            open(counter).acknowledged = next;
            open(score).succeeded(begun);
        }
        Err(error) => open(score).failed(&error),
    }
}

/// Reads it for its own task. Says whether it could be read.
pub async fn look(store: &dyn Store, counter: &Mutex<Counter>, score: &Mutex<Score>) -> bool {
    let key = open(counter).key.clone();
    match store.get(&key).await {
        Ok(record) => {
            let payload = record.map(|record| record.payload);
            open(counter).read(payload.as_ref(), &mut open(score));
            true
        }
        Err(error) => {
            open(score).failed(&error);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::super::Promise;
    use super::*;

    #[test]
    fn what_its_task_wrote_is_known_from_everything_else() {
        let mut counter = Counter::new(StoreKey::new("counter/1").unwrap());
        let first = counter.attempt(1);
        assert_eq!(counter.number_in(Some(&first)), Ok(1));
        assert_eq!(counter.number_in(None), Ok(0));
        for (payload, words) in [
            ("counter/1 1 1", "nobody wrote"),
            ("counter/1 2 0", "nobody wrote"),
            ("counter/2 1 0", "the record of"),
            ("counter/1 1", "torn"),
        ] {
            let wrong = counter.number_in(Some(&Bytes::from(payload))).unwrap_err();
            assert!(wrong.contains(words), "{wrong}");
        }
    }

    #[test]
    fn a_counter_that_went_back_has_lost_writes_once() {
        let mut counter = Counter::new(StoreKey::new("counter/1").unwrap());
        let (first, _) = (counter.attempt(1), counter.attempt(2));
        counter.acknowledged = 2;
        let mut score = Score::new(Promise::Acknowledged);
        assert_eq!(counter.read(Some(&first), &mut score), 1);
        assert_eq!(counter.read(Some(&first), &mut score), 1);
        assert_eq!(score.lost, 1);
        assert_eq!(counter.read(None, &mut score), 0);
        assert_eq!(score.lost, 2);
    }
}
