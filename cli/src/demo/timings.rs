//! The closing table: where each token came from, and how long that took.

use std::time::Duration;

use flows::AuthenticationResult;
use serde_json::{Value, json};

#[derive(Debug, Default)]
pub(super) struct Timings {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    who: String,
    source: String,
    time: Duration,
}

impl Timings {
    /// A token of this process.
    pub(super) fn add(&mut self, who: &str, result: &AuthenticationResult) {
        let metadata = result.metadata();
        let time = metadata.time_in_cache + metadata.time_in_store + metadata.time_in_http;
        self.rows.push(Row {
            who: who.to_owned(),
            source: metadata.source.to_string(),
            time,
        });
    }

    /// A token of another process, which says itself where it found it.
    pub(super) fn add_reported(&mut self, who: &str, object: &Value) {
        let metadata = &object["metadata"];
        let parts = [
            "microseconds_in_cache",
            "microseconds_in_store",
            "microseconds_in_http",
        ];
        let microseconds = parts.iter().filter_map(|part| metadata[part].as_u64()).sum();
        let source = metadata["source"].as_str().unwrap_or("?").to_owned();
        self.rows.push(Row {
            who: who.to_owned(),
            source,
            time: Duration::from_micros(microseconds),
        });
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let width = self.rows.iter().map(|row| row.who.len()).max().unwrap_or(0);
        let line = |row: &Row| {
            format!(
                "{:<width$}   {:<9}   {:>10}",
                row.who,
                row.source,
                shown(row.time)
            )
        };
        let heading = format!("{:<width$}   {:<9}   {:>10}", "who", "source", "time");
        std::iter::once(heading)
            .chain(self.rows.iter().map(line))
            .collect()
    }

    pub(super) fn objects(&self) -> Vec<Value> {
        let object = |row: &Row| {
            let microseconds = u64::try_from(row.time.as_micros()).unwrap_or(u64::MAX);
            json!({ "who": row.who, "source": row.source, "microseconds": microseconds })
        };
        self.rows.iter().map(object).collect()
    }
}

fn shown(time: Duration) -> String {
    let microseconds = time.as_secs_f64() * 1e6;
    // What was at hand in memory is not timed.
    if time.is_zero() {
        return "< 1 µs".to_owned();
    }
    if microseconds < 1_000.0 {
        format!("{microseconds:.0} µs")
    } else {
        format!("{:.1} ms", microseconds / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_fitting_units() {
        assert_eq!(shown(Duration::from_micros(7)), "7 µs");
        assert_eq!(shown(Duration::from_micros(12_345)), "12.3 ms");
    }
}
