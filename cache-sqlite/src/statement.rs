//! Statement texts for any number of rows, from a fixed number of texts.
//!
//! Each connection keeps its prepared statements by text. A text for every row count would prepare anew on
//! almost every batch, so there is one for each power of two.

use std::sync::LazyLock;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// The largest number of rows that one text is for.
pub(crate) const MOST_ROWS: usize = 128;

/// The texts of one statement, for 1, 2, 4 … [`MOST_ROWS`] rows.
pub(crate) struct Ladder(Vec<SqlStr>);

impl Ladder {
    fn new(before: &str, row: &str, after: &str) -> Self {
        let texts = (0..=MOST_ROWS.ilog2()).map(|power| {
            let rows = vec![row; 1 << power].join(",");
            // Made of constants only.
            AssertSqlSafe(format!("{before}{rows}{after}")).into_sql_str()
        });
        Self(texts.collect())
    }

    /// The text for `count` rows or a few more, and how many rows it takes. The caller repeats its last row, so
    /// this is for statements where a repeated row changes nothing.
    pub(crate) fn padded(&self, count: usize) -> (SqlStr, usize) {
        let rows = count.clamp(1, MOST_ROWS).next_power_of_two();
        (self.text(rows), rows)
    }

    /// The texts that together take exactly `count` rows, largest first, with how many each takes.
    pub(crate) fn exact(&self, count: usize) -> impl Iterator<Item = (SqlStr, usize)> {
        let mut left = count;
        std::iter::from_fn(move || {
            let rows = 1 << left.min(MOST_ROWS).checked_ilog2()?;
            left -= rows;
            Some((self.text(rows), rows))
        })
    }

    fn text(&self, rows: usize) -> SqlStr {
        self.0[rows.ilog2() as usize].clone()
    }
}

/// Repeats the last of `items` until there are `count`.
pub(crate) fn pad<T>(items: &[T], count: usize) -> impl Iterator<Item = &T> {
    let last = items.len().saturating_sub(1);
    (0..count).filter_map(move |index| items.get(index.min(last)))
}

/// The columns of some keys in one row, in the order of the keys: each row of a result wakes its reader, which costs more than
/// the row. NULL where there is no record, and for arguments that are not given.
pub(crate) struct Wide {
    texts: Vec<SqlStr>,
}

impl Wide {
    /// The most keys of one text. SQLite joins 64 tables at most.
    pub(crate) const MOST_KEYS: usize = 32;

    fn new(columns: &[&str]) -> Self {
        let texts = (0..=Self::MOST_KEYS.ilog2()).map(|power| {
            let keys = 1 << power;
            let selected: Vec<String> = (0..keys)
                .flat_map(|key| columns.iter().map(move |column| format!("r{key}.{column}")))
                .collect();
            let joined: String = (1..keys)
                .map(|key| format!(" LEFT JOIN records r{key} ON r{key}.key = ?"))
                .collect();
            let first = match keys {
                1 => "records r0 WHERE r0.key = ?",
                _ => "(SELECT 1) LEFT JOIN records r0 ON r0.key = ?",
            };
            // Made of constants only.
            AssertSqlSafe(format!("SELECT {} FROM {first}{joined}", selected.join(", "))).into_sql_str()
        });
        Self {
            texts: texts.collect(),
        }
    }

    /// The text for `count` keys, at most [`MOST_KEYS`](Self::MOST_KEYS), or a few more.
    pub(crate) fn text(&self, count: usize) -> SqlStr {
        let keys = count.clamp(1, Self::MOST_KEYS).next_power_of_two();
        self.texts[keys.ilog2() as usize].clone()
    }
}

/// `version, expires_at, payload` of some keys.
pub(crate) static RECORDS: LazyLock<Wide> =
    LazyLock::new(|| Wide::new(&["version", "expires_at", "payload"]));

/// `version, expires_at` of some keys.
pub(crate) static VERSIONS: LazyLock<Wide> = LazyLock::new(|| Wide::new(&["version", "expires_at"]));

/// The most records that one text writes, logs and commits.
pub(crate) const MOST_AT_ONCE: usize = 16;

/// Writes `key, version, expires_at, payload` of some records, then appends `key, version` of as many changes to the log, then commits: one
/// trip to the connection's thread. One text for each number of records.
static WRITE_AND_COMMIT: LazyLock<Vec<SqlStr>> = LazyLock::new(|| {
    let texts = (1..=MOST_AT_ONCE).map(|count| {
        let rows = vec!["(?, ?, ?, ?)"; count].join(",");
        let changes = vec!["(?, ?)"; count].join(",");
        // Made of constants only.
        AssertSqlSafe(format!(
            "INSERT INTO records (key, version, expires_at, payload) VALUES {rows}{REPLACING};
             INSERT INTO changes (key, version) VALUES {changes};
             COMMIT"
        ))
        .into_sql_str()
    });
    texts.collect()
});

/// The text that writes `count` records and changes and commits, if there is one.
pub(crate) fn write_and_commit(count: usize) -> Option<SqlStr> {
    WRITE_AND_COMMIT.get(count.checked_sub(1)?).cloned()
}

/// Takes the write lock, removes some records that expired by the first argument, and reads
/// `key, version, expires_at` of the keys of the batch. One text, because each one is a trip to another thread.
pub(crate) static BEGIN: LazyLock<Ladder> = LazyLock::new(|| {
    Ladder::new(
        "BEGIN IMMEDIATE;
         DELETE FROM records WHERE id IN
             (SELECT id FROM records WHERE expires_at <= ? ORDER BY expires_at LIMIT 64);
         SELECT key, version, expires_at FROM records WHERE key IN (",
        "?",
        ")",
    )
});

const REPLACING: &str = " ON CONFLICT (key) DO UPDATE SET
    version = excluded.version, expires_at = excluded.expires_at, payload = excluded.payload";

/// Writes `key, version, expires_at, payload`.
pub(crate) static WRITE: LazyLock<Ladder> = LazyLock::new(|| {
    Ladder::new(
        "INSERT INTO records (key, version, expires_at, payload) VALUES ",
        "(?, ?, ?, ?)",
        REPLACING,
    )
});

/// Removes some keys.
pub(crate) static REMOVE: LazyLock<Ladder> =
    LazyLock::new(|| Ladder::new("DELETE FROM records WHERE key IN (", "?", ")"));

/// Appends `key, version` to the log of changes.
pub(crate) static LOG: LazyLock<Ladder> =
    LazyLock::new(|| Ladder::new("INSERT INTO changes (key, version) VALUES ", "(?, ?)", ""));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_texts_add_up() {
        for count in 0..=300 {
            let rows: Vec<usize> = LOG.exact(count).map(|(_, rows)| rows).collect();
            assert_eq!(rows.iter().sum::<usize>(), count);
            assert!(rows.len() <= 10, "{count} rows in {} statements", rows.len());
        }
    }

    #[test]
    fn padded_texts_have_a_place_for_each_row() {
        for count in 1..=MOST_ROWS {
            let (text, rows) = REMOVE.padded(count);
            assert!(rows >= count && rows < 2 * count);
            assert_eq!(text.as_str().matches('?').count(), rows);
        }
    }

    #[test]
    fn wide_texts_have_a_place_for_each_key() {
        for count in 1..=Wide::MOST_KEYS {
            let text = RECORDS.text(count);
            let places = text.as_str().matches('?').count();
            assert!(places >= count && places < 2 * count);
            assert_eq!(text.as_str().matches(".payload").count(), places);
        }
    }

    #[test]
    fn a_text_that_commits_has_places_for_its_records_and_changes() {
        for count in 1..=MOST_AT_ONCE {
            let text = write_and_commit(count).unwrap();
            assert_eq!(text.as_str().matches('?').count(), 6 * count);
        }
        assert!(write_and_commit(0).is_none());
        assert!(write_and_commit(MOST_AT_ONCE + 1).is_none());
    }

    #[test]
    fn padding_repeats_the_last_item() {
        assert_eq!(pad(&[1, 2, 3], 4).copied().collect::<Vec<_>>(), [1, 2, 3, 3]);
        assert_eq!(pad(&[] as &[u8], 4).count(), 0);
    }
}
