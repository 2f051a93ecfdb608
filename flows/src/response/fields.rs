//! A JSON object as real providers send it: numbers as strings, nulls for nothing.

use std::time::Duration;

use cache_core::secret::{Secret, SecretBytes, SecretJson};
use serde_json::Value;

/// The members of a JSON object. They may be secrets, so they are wiped when dropped.
#[derive(Clone)]
pub(crate) struct Fields(SecretJson);

impl Fields {
    /// The object in `body`; `None` for anything else, the empty body included.
    pub(crate) fn parse(body: &SecretBytes) -> Option<Self> {
        let body = body.expose();
        // Some servers of Microsoft's family prefix a byte order mark.
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        match serde_json::from_slice(body).ok()? {
            Value::Object(fields) => Some(Self(SecretJson::new(fields))),
            _ => None,
        }
    }

    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.0.expose().get(name)
    }

    /// A string that is not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.value(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// Takes a string that is not empty out of the object, so that only one copy of it exists.
    pub(crate) fn take_secret(&mut self, name: &str) -> Option<Secret> {
        match self.0.expose_mut().remove(name)? {
            Value::String(text) if !text.is_empty() => Some(Secret::new(text)),
            _ => None,
        }
    }

    /// A string or a number, as text: some providers send `foci` as a number.
    pub(crate) fn scalar(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// A number of seconds: an integer, a fraction or either as a string. Negative ones count as zero, huge ones
    /// are cut off so that no sum overflows.
    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        let seconds = match self.value(name)? {
            Value::Number(number) => number.as_f64()?,
            Value::String(text) => text.trim().parse::<f64>().ok()?,
            _ => return None,
        };
        seconds_of(seconds)
    }

    /// A boolean, or the string that spells it.
    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        match self.value(name)? {
            Value::Bool(value) => Some(*value),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The strings of an array; a lone string counts as one.
    pub(crate) fn texts(&self, name: &str) -> Option<Vec<&str>> {
        match self.value(name)? {
            Value::String(text) => Some(vec![text]),
            Value::Array(values) => Some(values.iter().filter_map(Value::as_str).collect()),
            _ => None,
        }
    }
}

/// A hundred years: far beyond any token, and no sum with a date overflows.
const LONGEST: f64 = 100.0 * 365.25 * 86_400.0;

fn seconds_of(seconds: f64) -> Option<Duration> {
    if seconds.is_nan() {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to a range that fits, and fractions are dropped on purpose"
    )]
    let whole = seconds.clamp(0.0, LONGEST) as u64;
    Some(Duration::from_secs(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Option<Fields> {
        Fields::parse(&SecretBytes::new(json.as_bytes().to_vec()))
    }

    #[test]
    fn durations_come_in_every_shape() {
        for (value, seconds) in [
            ("3600", Some(3600)),
            ("3600.9", Some(3600)),
            ("\"3600\"", Some(3600)),
            ("\" 3600.5 \"", Some(3600)),
            ("-5", Some(0)),
            ("\"-5\"", Some(0)),
            ("1e300", Some(3_155_760_000)),
            ("\"inf\"", Some(3_155_760_000)),
            ("18446744073709551615", Some(3_155_760_000)),
            ("\"NaN\"", None),
            ("\"soon\"", None),
            ("null", None),
            ("[1]", None),
            ("true", None),
        ] {
            let parsed = fields(&format!("{{\"t\":{value}}}")).unwrap().duration("t");
            assert_eq!(parsed.map(|duration| duration.as_secs()), seconds, "{value}");
        }
    }

    #[test]
    fn only_an_object_is_an_object() {
        for body in [
            "",
            "[]",
            "null",
            "\"x\"",
            "{",
            "<html></html>",
            "{\"a\":1e999}",
            &"[".repeat(100_000),
        ] {
            assert!(fields(body).is_none());
        }
        assert!(fields("\u{feff}{\"a\":1}").is_some());
        assert_eq!(
            fields("{\"foci\":1}").unwrap().scalar("foci").as_deref(),
            Some("1")
        );
    }
}
