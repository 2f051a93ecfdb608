//! Whether the bytes of a file can be a whole cache.

use serde::de::IgnoredAny;
use zeroize::Zeroizing;

/// What a file that a program may be writing can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A JSON object, to its end.
    Whole,
    /// Nothing: a program truncated it, made it and has not written yet, or has nothing to write.
    Empty,
    /// What can be the beginning of a JSON object.
    Cut,
    /// What can never become one.
    Foreign,
}

impl Shape {
    /// As forgiving as the reader of caches: a byte order mark and trailing commas are no fault.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
            None => Self::Empty,
            Some(b'{') if is_json(text) || is_json(&without_trailing_commas(text)) => Self::Whole,
            Some(b'{') => Self::Cut,
            Some(_) => Self::Foreign,
        }
    }
}

fn is_json(text: &[u8]) -> bool {
    // It checks numbers and escapes too, but of strings not whether they are text.
    serde_json::from_slice::<IgnoredAny>(text).is_ok() && std::str::from_utf8(text).is_ok()
}

/// A copy with spaces for commas that only whitespace parts from the end of an array or object.
fn without_trailing_commas(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut copy = Zeroizing::new(text.to_vec());
    let mut in_string = false;
    let mut escaped = false;
    let mut comma = None;
    for (at, byte) in text.iter().enumerate() {
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b',' => comma = Some(at),
            b']' | b'}' => {
                if let Some(comma) = comma.take() {
                    copy[comma] = b' ';
                }
            }
            byte if byte.is_ascii_whitespace() => {}
            byte => {
                in_string = *byte == b'"';
                comma = None;
            }
        }
    }
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_whole_only_to_its_end() {
        let cache = "\u{feff} {\"Account\":{\"a\\\\\":[\"}\",\"\\\"{,]\",1.5,],},\n}\n";
        assert_eq!(Shape::of(cache.as_bytes()), Shape::Whole);
        let end = cache.rfind('}').unwrap();
        for cut in 5..=end {
            assert_eq!(Shape::of(&cache.as_bytes()[..cut]), Shape::Cut, "at {cut}");
        }
        assert_eq!(Shape::of(b""), Shape::Empty);
        assert_eq!(Shape::of(b"\xef\xbb\xbf \n"), Shape::Empty);
        for foreign in [&b"\x01\0\0\0\xd0\x8c"[..], b"[]", b"null", b"eyJ"] {
            assert_eq!(Shape::of(foreign), Shape::Foreign);
        }
        for broken in [
            &b"{} {}"[..],
            b"{\"a\":tru}",
            b"{\"a\":\"\xff\"}",
            b"{,}x",
            b"{\"a\":1,,}",
        ] {
            assert_eq!(Shape::of(broken), Shape::Cut);
        }
    }
}
