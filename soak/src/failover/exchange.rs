//! Records that all tasks write and read, long and short ones.

use std::sync::Mutex;

use bytes::Bytes;
use cache_core::store::{PutOptions, Store, StoreKey};

use super::score::{Score, open};
use crate::gate::{Doing, GateError};

/// How many records there are.
const RECORDS: u64 = 8;

/// How much longer than the shortest the longest is, in bytes.
const LENGTHS: u64 = 8_000;

/// Who writes what. What a writer writes in a turn follows from its number and the turn's, so each record can be checked.
#[derive(Debug, Default)]
pub struct Exchange {
    /// How many turns each writer has begun.
    turns: Mutex<Vec<u64>>,
}

impl Exchange {
    /// The number of a new writer.
    pub fn join(&self) -> usize {
        let mut turns = open(&self.turns);
        turns.push(0);
        turns.len() - 1
    }

    /// Writes one of the records, and reads another.
    ///
    /// # Errors
    ///
    /// That a key is none.
    pub async fn turn(
        &self,
        store: &dyn Store,
        writer: usize,
        score: &Mutex<Score>,
    ) -> Result<(), GateError> {
        let turn = {
            let mut turns = open(&self.turns);
            turns[writer] += 1;
            turns[writer] - 1
        };
        let number = writer as u64 + turn;
        let key = key(number)?;
        let payload = Bytes::from(payload(&key, writer, turn));
        if let Err(error) = store.put(&key, payload, PutOptions::overwrite()).await {
            open(score).failed(&error);
        }
        let key = self::key(number + 2 * turn)?;
        match store.get(&key).await {
            Ok(record) => {
                let mut score = open(score);
                score.was_read();
                if let Some(record) = record
                    && let Err(words) = self.check(&key, &record.payload)
                {
                    score.wrong(words);
                }
            }
            Err(error) => open(score).failed(&error),
        }
        Ok(())
    }

    fn check(&self, key: &StoreKey, found: &Bytes) -> Result<(), String> {
        let start = String::from_utf8_lossy(&found[..found.len().min(60)]).into_owned();
        let mut words = start.split(' ').skip(1).map(str::parse::<u64>);
        let (Some(Ok(writer)), Some(Ok(turn))) = (words.next(), words.next()) else {
            return Err(format!("{key}: a torn record: {start}"));
        };
        let writer = usize::try_from(writer).unwrap_or(usize::MAX);
        let begun = open(&self.turns).get(writer).copied().unwrap_or_default();
        if turn >= begun {
            return Err(format!("{key}: a record that nobody wrote: {start}"));
        }
        if found != payload(key, writer, turn).as_bytes() {
            return Err(format!("{key}: a torn record, or that of another key: {start}"));
        }
        Ok(())
    }
}

fn key(number: u64) -> Result<StoreKey, GateError> {
    StoreKey::new(format!("shared/{}", number % RECORDS)).doing("a key")
}

fn payload(key: &StoreKey, writer: usize, turn: u64) -> String {
    let number = writer as u64 * 131 + turn * 997;
    let letter = ["a", "b", "c", "d", "e", "f", "g"][writer % 7];
    let length = usize::try_from(1 + number % LENGTHS).unwrap_or_default();
    format!("{key} {writer} {turn} {}", letter.repeat(length))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_record_is_whole_of_its_key_and_was_written() {
        let exchange = Exchange::default();
        let writer = exchange.join();
        open(&exchange.turns)[writer] = 1;
        let key = key(0).unwrap();
        let whole = payload(&key, writer, 0);
        assert_eq!(exchange.check(&key, &Bytes::from(whole.clone())), Ok(()));
        let cut = whole[..whole.len() - 1].to_owned();
        let other = payload(&self::key(1).unwrap(), writer, 0);
        for wrong in [cut, other, payload(&key, writer, 1), payload(&key, writer + 1, 0)] {
            assert!(
                exchange.check(&key, &Bytes::from(wrong.clone())).is_err(),
                "{wrong}"
            );
        }
    }
}
