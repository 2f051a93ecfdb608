//! Reading and writing one field of a row.

use serde_json::{Map, Value};

use crate::schema::ScopeSet;
use crate::secret::Secret;
use crate::time::UnixSeconds;

/// What a row is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For other programs: careful, and without the state of our own refreshes.
    Exchange,
    /// For ourselves: everything.
    Full,
}

/// Why a row cannot be used: a field and what is wrong with it, never its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) field: &'static str,
    pub(super) problem: &'static str,
}

impl Problem {
    pub(super) fn new(field: &'static str, problem: &'static str) -> Self {
        Self { field, problem }
    }
}

/// A text; a number counts as the text that shows it. `None` when it is missing, `null` or something else.
pub(super) fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    match fields.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The first of the fields that is a text and not empty.
pub(super) fn filled(fields: &Map<String, Value>, names: &[&str]) -> Option<String> {
    names
        .iter()
        .find_map(|name| text(fields, name).filter(|text| !text.is_empty()))
}

/// A text that a row of this kind cannot do without.
pub(super) fn required(fields: &Map<String, Value>, name: &'static str) -> Result<String, Problem> {
    match fields.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        None | Some(Value::Null | Value::String(_)) => Err(Problem::new(name, "is missing")),
        Some(_) => Err(Problem::new(name, "is not a text")),
    }
}

/// The row's `secret`.
pub(super) fn secret(fields: &Map<String, Value>) -> Result<Secret, Problem> {
    required(fields, "secret").map(Secret::new)
}

/// A time: an integer, a float or a string of either, in unix seconds. `None` when it is missing, `null` or
/// something else.
pub(super) fn time(fields: &Map<String, Value>, name: &str) -> Option<UnixSeconds> {
    match fields.get(name)? {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().and_then(whole))
            .map(UnixSeconds),
        Value::String(text) => {
            let text = text.trim();
            let float = || text.parse().ok().and_then(whole);
            text.parse().ok().or_else(float).map(UnixSeconds)
        }
        _ => None,
    }
}

/// The whole seconds of a time with a fraction, saturating.
#[allow(
    clippy::cast_possible_truncation,
    reason = "a time is rounded down to the second, and far ones saturate"
)]
fn whole(seconds: f64) -> Option<i64> {
    seconds.is_finite().then(|| seconds.floor() as i64)
}

/// A time that a row of this kind cannot do without.
pub(super) fn required_time(fields: &Map<String, Value>, name: &'static str) -> Result<UnixSeconds, Problem> {
    match fields.get(name) {
        None | Some(Value::Null) => Err(Problem::new(name, "is missing")),
        Some(_) => time(fields, name).ok_or(Problem::new(name, "is not a time in unix seconds")),
    }
}

/// Scopes: a text of words, or an array of texts.
pub(super) fn scopes(fields: &Map<String, Value>, name: &str) -> Option<ScopeSet> {
    match fields.get(name)? {
        Value::String(text) => Some(ScopeSet::parse(text)),
        Value::Array(words) => Some(ScopeSet::of(words.iter().filter_map(Value::as_str))),
        _ => None,
    }
}

/// The fields of a row that is being written.
#[derive(Default)]
pub(super) struct Writer(pub(super) Map<String, Value>);

impl Writer {
    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// A text that is left out when there is none: some MSALs fail on `null` and hide rows for an empty text.
    pub(super) fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.text(name, value);
        }
    }

    /// A time, as a string of unix seconds: Go reads nothing else.
    pub(super) fn time(&mut self, name: &str, value: Option<UnixSeconds>) {
        if let Some(value) = value {
            self.text(name, &value.to_string());
        }
    }

    pub(super) fn object(&mut self, name: &str, value: Map<String, Value>) {
        if !value.is_empty() {
            self.0.insert(name.to_owned(), Value::Object(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn time_of(value: Value) -> Option<i64> {
        let fields = json!({ "t": value });
        time(fields.as_object().unwrap(), "t").map(|time| time.0)
    }

    #[test]
    fn times_come_in_many_forms() {
        for value in [
            json!(1795248924),
            json!(1795248924.9),
            json!("1795248924"),
            json!(" 1795248924.2 "),
        ] {
            assert_eq!(time_of(value), Some(1_795_248_924));
        }
        assert_eq!(time_of(json!("-5")), Some(-5));
        assert_eq!(time_of(json!(1e300)), Some(i64::MAX));
        for value in [
            json!(null),
            json!(""),
            json!("tomorrow"),
            json!("NaN"),
            json!("inf"),
            json!([1]),
            json!(true),
        ] {
            assert_eq!(time_of(value), None);
        }
    }

    #[test]
    fn scopes_may_be_an_array() {
        let fields = json!({ "a": ["x", "y z", 5], "b": " x  y ", "c": null });
        let of = |name: &str| scopes(fields.as_object().unwrap(), name).map(|set| set.to_string());
        assert_eq!(of("a").as_deref(), Some("x y z"));
        assert_eq!(of("b").as_deref(), Some("x y"));
        assert_eq!(of("c"), None);
    }
}
