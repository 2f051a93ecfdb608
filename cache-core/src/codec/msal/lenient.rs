//! From the bytes of a file to JSON, forgiving what MSAL programs and text editors get wrong.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use zeroize::Zeroizing;

use super::malformed;
use crate::codec::CodecError;
use crate::secret::SecretJson;

/// How deeply arrays and objects may nest. It leaves room below serde_json's bound of 128 for what the codecs
/// wrap around a row.
pub(super) const MAX_DEPTH: usize = 96;

/// Parses a JSON object. A byte order mark and trailing commas are accepted; of duplicate names the last wins,
/// as it does in every MSAL.
pub(super) fn parse(bytes: &[u8]) -> Result<SecretJson, CodecError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(malformed("it is empty"));
    }
    if std::str::from_utf8(bytes).is_err() {
        return Err(malformed("it is not UTF-8 text"));
    }
    let tidied = tidy(bytes)?;
    // The parser's own message could quote the input; where and of what kind the mistake is says enough.
    match serde_json::from_slice::<Value>(&tidied) {
        Ok(Value::Object(fields)) => Ok(SecretJson::new(fields)),
        Ok(mut other) => {
            crate::secret::wipe(&mut other);
            Err(malformed("it is JSON, but not an object"))
        }
        Err(error) => Err(malformed(format!(
            "it is not JSON: {} at line {}, column {}",
            if error.is_eof() {
                "it ends too early"
            } else {
                "syntax error"
            },
            error.line(),
            error.column()
        ))),
    }
}

/// The names of the rows of the section `RefreshToken`, in the order of the file: which of two rows is the younger one is often told by
/// nothing else, because programs add rows at the end and not all of them note times. Empty when the file cannot be read.
pub(super) fn refresh_tokens_in_order(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let Ok(tidied) = tidy(bytes) else {
        return Vec::new();
    };
    serde_json::from_slice::<Sections>(&tidied).map_or_else(|_| Vec::new(), |sections| sections.0)
}

/// The names in the section that counts, the last of that name.
struct Sections(Vec<String>);

impl<'de> Deserialize<'de> for Sections {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Sections;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of sections")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Sections, A::Error> {
                let mut sections = Sections(Vec::new());
                while let Some(name) = members.next_key::<String>()? {
                    if name == "RefreshToken" {
                        sections.0 = members.next_value::<Option<Names>>()?.unwrap_or_default().0;
                    } else {
                        members.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(sections)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[derive(Default)]
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rows;
        impl<'de> Visitor<'de> for Rows {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of rows")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut rows: A) -> Result<Names, A::Error> {
                let mut names = Names::default();
                while let Some((name, _)) = rows.next_entry::<String, IgnoredAny>()? {
                    names.0.push(name);
                }
                Ok(names)
            }
        }
        deserializer.deserialize_map(Rows)
    }
}

/// A copy of the same length in which trailing commas are spaces, so that positions in errors stay true.
fn tidy(bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, CodecError> {
    let mut out = Zeroizing::new(bytes.to_vec());
    let mut depth = 0_usize;
    let mut before = b'[';
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let end = match byte {
            b'"' => string_end(bytes, at),
            b'-' | b'0'..=b'9' => number_end(bytes, at)?,
            _ => at + 1,
        };
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(malformed(format!("it nests more than {MAX_DEPTH} levels deep")));
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            // Only a comma behind a value is a trailing one; `[,]` and `[1,,]` stay errors.
            b',' if !matches!(before, b'[' | b'{' | b',' | b':') && closes(&bytes[end..]) => out[at] = b' ',
            _ => {}
        }
        if !byte.is_ascii_whitespace() {
            before = byte;
        }
        at = end;
    }
    Ok(out)
}

/// The position behind the string that starts at `start`, or the end of the input.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The position behind the number that starts at `start`. An integer beyond 64 bits would be rounded to a
/// float, and so be changed without notice.
fn number_end(bytes: &[u8], start: usize) -> Result<usize, CodecError> {
    let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    let length = bytes[start..].iter().take_while(|byte| is_part(byte)).count();
    let number = &bytes[start..start + length];
    let is_integer = number.iter().skip(1).all(u8::is_ascii_digit);
    if is_integer && length > 18 {
        let text = std::str::from_utf8(number).unwrap_or_default();
        if text.parse::<i64>().is_err() && text.parse::<u64>().is_err() {
            return Err(malformed(format!(
                "the integer at byte {start} has more than 64 bits and could not be kept exactly"
            )));
        }
    }
    Ok(start + length)
}

fn closes(rest: &[u8]) -> bool {
    let next = rest.iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(next, Some(b']' | b'}'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ok(text: &str) -> Value {
        Value::Object(parse(text.as_bytes()).unwrap().expose().clone())
    }

    fn error(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn the_order_of_refresh_tokens_is_that_of_the_file() {
        let order = |text: &str| refresh_tokens_in_order(text.as_bytes());
        let file = "\u{feff}{\"A\":{\"x\":1},\"RefreshToken\":{\"z\":{},\"a\":{\"b\":[1,]},\"m\":5,},}";
        assert_eq!(order(file), ["z", "a", "m"]);
        for text in ["{}", "{\"RefreshToken\":null}", "[]", "{\"RefreshToken\":{"] {
            assert!(order(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn marks_and_trailing_commas_are_accepted() {
        assert_eq!(
            ok("\u{feff} {\"a\": [1, 2 , ],\n \"b\": {\"c\": \",]\\\",}\",},}\n"),
            json!({ "a": [1, 2], "b": { "c": ",]\",}" } })
        );
    }

    #[test]
    fn other_misplaced_commas_are_not() {
        for text in [
            "{,}",
            "{\"a\":[,]}",
            "{\"a\":[1,,]}",
            "{\"a\":,}",
            "{\"a\":1},",
            "{\"a\":1}}",
        ] {
            assert!(error(text).contains("syntax error"), "{text}");
        }
    }

    #[test]
    fn the_last_duplicate_wins() {
        assert_eq!(ok(r#"{"a": 1, "a": 2}"#), json!({ "a": 2 }));
    }

    #[test]
    fn errors_say_where_and_never_what() {
        let shown = error("{\"canary\": \n  canary}");
        assert!(
            shown.contains("line 2, column 3") && !shown.contains("canary"),
            "{shown}"
        );
        assert!(error("{\"a\": \"canary").contains("ends too early"));
        assert!(error("\"canary\"").contains("not an object"));
        assert!(error(" \n").contains("empty"));
        assert!(
            parse(b"{\"a\":\"\xff\"}")
                .unwrap_err()
                .to_string()
                .contains("UTF-8")
        );
    }

    #[test]
    fn nesting_is_bounded() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(error(&nested(MAX_DEPTH + 1)).contains("levels deep"));
        assert!(error(&nested(1_000_000)).contains("levels deep"));
    }

    #[test]
    fn a_number_that_cannot_be_kept_is_an_error() {
        assert_eq!(ok(r#"{"a": 18446744073709551615}"#)["a"], json!(u64::MAX));
        assert_eq!(ok(r#"{"a": -9223372036854775808}"#)["a"], json!(i64::MIN));
        assert!(error(r#"{"a": 18446744073709551616}"#).contains("more than 64 bits"));
        assert!(error(r#"{"a": 1e999}"#).contains("syntax error"));
    }
}
