//! What a batch of writes comes to: pure, so that the order of operations on one key can be tested as such.

use std::collections::HashMap;

use bytes::Bytes;
use cache_core::store::error::Operation;
use cache_core::store::{Durability, PutMode, PutOptions, StoreError, StoreKey, Version};
use cache_core::time::UnixMillis;
use sqlx::SqlStr;

use crate::statement::write_and_commit;

/// How many bytes of payload one transaction writes, unless a single record has more.
const MOST_BYTES: usize = 16 << 20;

/// One operation of a batch.
#[derive(Clone)]
pub(crate) struct Change {
    pub(crate) key: StoreKey,
    pub(crate) action: Action,
}

#[derive(Clone)]
pub(crate) enum Action {
    Put {
        payload: Bytes,
        version: Version,
        options: PutOptions,
    },
    Delete {
        expected: Option<Version>,
    },
}

impl Change {
    pub(crate) fn operation(&self) -> Operation {
        match self.action {
            Action::Put { .. } => Operation::Put,
            Action::Delete { .. } => Operation::Delete,
        }
    }

    pub(crate) fn is_durable(&self) -> bool {
        match self.action {
            Action::Put { options, .. } => options.durability == Durability::Durable,
            // A record that comes back after a crash may be a token that somebody signed out of.
            Action::Delete { .. } => true,
        }
    }
}

/// How many of `changes` to commit together: at least one, and no more than keeps the transaction's memory and
/// its share of the log bounded.
pub(crate) fn batch_length(changes: &[Change]) -> usize {
    let mut bytes = 0;
    let fitting = changes.iter().take_while(|change| {
        bytes += match &change.action {
            Action::Put { payload, .. } => payload.len(),
            Action::Delete { .. } => 0,
        };
        bytes <= MOST_BYTES
    });
    fitting.count().max(1)
}

/// What is stored under a key when the batch begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub(crate) version: Version,
    pub(crate) expires_at: Option<UnixMillis>,
}

impl Stored {
    pub(crate) fn is_live(&self, now: UnixMillis) -> bool {
        self.expires_at.is_none_or(|expiry| now < expiry)
    }
}

/// A record to write.
pub(crate) struct Row {
    pub(crate) key: StoreKey,
    pub(crate) version: Version,
    pub(crate) expires_at: Option<UnixMillis>,
    pub(crate) payload: Bytes,
}

/// What to do to the database, and what to answer once it is done.
pub(crate) struct Plan {
    /// One for each operation, in order.
    pub(crate) outcomes: Vec<Result<(), StoreError>>,
    /// The final record of each key that ends with one.
    pub(crate) rows: Vec<Row>,
    /// Each key that ends without one.
    pub(crate) removals: Vec<StoreKey>,
    /// Every change that applied, in order.
    pub(crate) log: Vec<(StoreKey, Option<Version>)>,
}

impl Plan {
    /// Applies `changes` one after the other, at the moment `now`, to what is `stored` under their keys.
    pub(crate) fn new<'a>(
        changes: impl IntoIterator<Item = &'a Change>,
        mut stored: HashMap<StoreKey, Stored>,
        now: UnixMillis,
    ) -> Self {
        let mut outcomes = Vec::new();
        let mut log = Vec::new();
        let mut ends: HashMap<&StoreKey, Option<Row>> = HashMap::new();
        for change in changes {
            let key = &change.key;
            let current = stored
                .get(key)
                .filter(|record| record.is_live(now))
                .map(|record| record.version);
            match &change.action {
                Action::Put {
                    payload,
                    version,
                    options,
                } => {
                    let applies = match options.mode {
                        PutMode::Overwrite => true,
                        PutMode::Create => current.is_none(),
                        PutMode::Update(expected) => current == Some(expected),
                    };
                    if !applies {
                        outcomes.push(Err(StoreError::conflict(Operation::Put)));
                        continue;
                    }
                    let row = Row {
                        key: key.clone(),
                        version: *version,
                        expires_at: options.expires_at,
                        payload: payload.clone(),
                    };
                    stored.insert(
                        key.clone(),
                        Stored {
                            version: row.version,
                            expires_at: row.expires_at,
                        },
                    );
                    ends.insert(key, Some(row));
                    log.push((key.clone(), Some(*version)));
                }
                Action::Delete { expected } => {
                    if expected.is_some() && current != *expected {
                        outcomes.push(Err(StoreError::conflict(Operation::Delete)));
                        continue;
                    }
                    if current.is_some() {
                        stored.remove(key);
                        ends.insert(key, None);
                        log.push((key.clone(), None));
                    }
                }
            }
            outcomes.push(Ok(()));
        }

        let mut rows = Vec::new();
        let mut removals = Vec::new();
        for (key, end) in ends {
            match end {
                Some(row) => rows.push(row),
                None => removals.push(key.clone()),
            }
        }
        Self {
            outcomes,
            rows,
            removals,
            log,
        }
    }

    /// The text that carries out the plan and commits it, if there is one: for a few records that were written once each.
    pub(crate) fn text(&self) -> Option<SqlStr> {
        let writes_only = self.removals.is_empty() && self.log.len() == self.rows.len();
        writes_only.then(|| write_and_commit(self.rows.len())).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000);

    fn key(name: &str) -> StoreKey {
        StoreKey::new(name).unwrap()
    }

    fn version(number: u8) -> Version {
        Version::from_bytes([number; 16])
    }

    fn put(name: &str, number: u8, options: PutOptions) -> Change {
        Change {
            key: key(name),
            action: Action::Put {
                payload: Bytes::copy_from_slice(&[number]),
                version: version(number),
                options,
            },
        }
    }

    fn delete(name: &str, expected: Option<Version>) -> Change {
        Change {
            key: key(name),
            action: Action::Delete { expected },
        }
    }

    fn applied(plan: &Plan) -> Vec<bool> {
        plan.outcomes.iter().map(Result::is_ok).collect()
    }

    #[test]
    fn of_two_updates_of_one_version_the_first_wins() {
        let stored = HashMap::from([(
            key("a"),
            Stored {
                version: version(1),
                expires_at: None,
            },
        )]);
        let changes = [
            put("a", 2, PutOptions::update(version(1))),
            put("a", 3, PutOptions::update(version(1))),
            put("a", 4, PutOptions::update(version(2))),
        ];
        let plan = Plan::new(&changes, stored, NOW);
        assert_eq!(applied(&plan), [true, false, true]);
        assert!(plan.outcomes[1].as_ref().unwrap_err().is_conflict());
        let [row] = plan.rows.as_slice() else {
            panic!("{} rows for one key", plan.rows.len());
        };
        assert_eq!(row.version, version(4), "only the last record is written");
        assert_eq!(
            plan.log,
            [(key("a"), Some(version(2))), (key("a"), Some(version(4)))],
            "every change is told"
        );
    }

    #[test]
    fn create_after_delete_in_one_batch_leaves_the_new_record() {
        let stored = HashMap::from([(
            key("a"),
            Stored {
                version: version(1),
                expires_at: None,
            },
        )]);
        let changes = [
            delete("a", Some(version(1))),
            put("a", 2, PutOptions::create()),
            delete("b", None),
            delete("b", Some(version(9))),
        ];
        let plan = Plan::new(&changes, stored, NOW);
        assert_eq!(applied(&plan), [true, true, true, false]);
        assert_eq!(plan.rows.len(), 1);
        assert!(
            plan.removals.is_empty(),
            "the upsert replaces the row; nothing else is there"
        );
    }

    #[test]
    fn expired_record_is_absent_in_a_batch() {
        let stored = HashMap::from([(
            key("a"),
            Stored {
                version: version(1),
                expires_at: Some(NOW),
            },
        )]);
        let changes = [
            put("a", 2, PutOptions::update(version(1))),
            put("a", 3, PutOptions::create().expires_at(Some(NOW))),
            put("a", 4, PutOptions::create()),
            delete("a", Some(version(4))),
        ];
        let plan = Plan::new(&changes, stored, NOW);
        assert_eq!(applied(&plan), [false, true, true, true]);
        assert_eq!(plan.removals, [key("a")]);
    }

    #[test]
    fn large_records_are_committed_apart() {
        let large = Change {
            key: key("a"),
            action: Action::Put {
                payload: Bytes::from(vec![0; MOST_BYTES / 2]),
                version: version(1),
                options: PutOptions::overwrite(),
            },
        };
        let mut changes = vec![large; 5];
        assert_eq!(batch_length(&changes), 2);
        changes.insert(0, delete("b", None));
        assert_eq!(batch_length(&changes), 3, "a delete weighs nothing");
        changes[1].action = Action::Put {
            payload: Bytes::from(vec![0; MOST_BYTES + 1]),
            version: version(2),
            options: PutOptions::overwrite(),
        };
        assert_eq!(batch_length(&changes[1..]), 1, "one record is always taken");
    }

    #[test]
    fn deletes_are_always_durable() {
        let relaxed = PutOptions::overwrite().durability(Durability::Relaxed);
        assert!(!put("a", 1, relaxed).is_durable());
        assert!(put("a", 1, PutOptions::overwrite()).is_durable());
        assert!(delete("a", None).is_durable());
    }
}
