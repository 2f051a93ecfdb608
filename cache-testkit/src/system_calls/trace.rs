//! Reads what `strace` recorded.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::call::{Argument, Call, Outcome};

/// What a process called, in the order of the calls' beginnings.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The calls.
    pub calls: Vec<Call>,
    /// How many lines the record has. A moment is the number of lines before it.
    pub lines: usize,
}

/// A record is not one that [`Strace`](super::Strace) makes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the recorded calls {what}")]
pub struct TraceError {
    line: usize,
    what: &'static str,
}

impl Trace {
    /// Reads a record.
    ///
    /// # Errors
    ///
    /// When it is not one of [`Strace::record`](super::Strace::record), or data in it was cut short.
    pub fn parse(record: &str) -> Result<Self, TraceError> {
        let mut unfinished: HashMap<u32, (usize, String)> = HashMap::new();
        let mut calls = Vec::new();
        let mut lines = 0;
        for (line, text) in record.lines().enumerate() {
            lines = line + 1;
            let failed = |what| TraceError { line: lines, what };
            let (thread, text) = text
                .split_once(' ')
                .ok_or(failed("does not begin with a thread"))?;
            let thread = thread
                .parse()
                .map_err(|_| failed("does not begin with a thread"))?;
            let text = text.trim_start();
            if text.starts_with("+++") || text.starts_with("---") {
                continue;
            }
            let (entered, text) = match text.strip_prefix("<... ") {
                Some(resumed) => {
                    let (_, rest) = resumed.split_once(" resumed>").ok_or(failed("resumes no call"))?;
                    let (entered, begun) = unfinished
                        .remove(&thread)
                        .ok_or(failed("resumes a call that did not begin"))?;
                    (entered, begun + rest)
                }
                None => (line, text.to_owned()),
            };
            match text.strip_suffix("<unfinished ...>") {
                Some(begun) => _ = unfinished.insert(thread, (entered, begun.to_owned())),
                None => calls.push(call(thread, entered, Some(line), &text).map_err(failed)?),
            }
        }
        for (thread, (entered, text)) in unfinished {
            let what = |what| TraceError {
                line: entered + 1,
                what,
            };
            calls.push(call(thread, entered, None, &text).map_err(what)?);
        }
        calls.sort_by_key(|call| call.entered);
        Ok(Self { calls, lines })
    }
}

fn call(thread: u32, entered: usize, returned: Option<usize>, text: &str) -> Result<Call, &'static str> {
    let (name, rest) = text.split_once('(').ok_or("is not a call")?;
    let (arguments, end) = split(rest);
    let arguments = arguments.into_iter().map(argument).collect::<Result<_, _>>()?;
    let outcome = rest[end..].trim_start_matches(')').trim_start();
    let outcome = outcome.strip_prefix('=').map(str::trim_start).unwrap_or("?");
    let mut words = outcome.split(' ');
    let first = words.next().unwrap_or_default();
    let value = first.split_once('<').map_or(first, |(value, _)| value);
    Ok(Call {
        thread,
        name: name.to_owned(),
        entered,
        returned: returned.filter(|_| value != "?"),
        arguments,
        is_injected: outcome.ends_with("(INJECTED)"),
        outcome: match (value, words.next()) {
            ("?", _) => Outcome::Never,
            ("-1", Some(error)) => Outcome::Failed(error.to_owned()),
            (value, _) => Outcome::Returned(number(value).ok_or("has no outcome that is known")?),
        },
    })
}

fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(u64::cast_signed),
        None => text.parse().ok(),
    }
}

/// The arguments in front of the bracket that closes the call, and where that is. Between quotes there is nothing but `\x` and digits.
fn split(text: &str) -> (Vec<&str>, usize) {
    let mut arguments = Vec::new();
    let (mut depth, mut start) = (0_u32, 0);
    let mut end = text.len();
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' if depth == 0 => {
                end = place;
                break;
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                arguments.push(text[start..place].trim());
                start = place + 1;
            }
            _ => {}
        }
    }
    let last = text[start..end].trim();
    if !last.is_empty() {
        arguments.push(last);
    }
    (arguments, end)
}

fn argument(text: &str) -> Result<Argument, &'static str> {
    if let Some(quoted) = text.strip_prefix('"') {
        let quoted = quoted.strip_suffix('"').ok_or("has data that was cut short")?;
        return Ok(Argument::Bytes(
            unescaped(quoted).ok_or("has data that is not escaped")?,
        ));
    }
    if let Some((number, path)) = text.split_once('<') {
        let number = match number {
            "AT_FDCWD" => Some(-100),
            number => number.parse().ok(),
        };
        if let Some(number) = number {
            let is_deleted = path.ends_with("(deleted)");
            let path = path.trim_end_matches("(deleted)").trim_end_matches('>');
            let path = unescaped(path).map(|path| PathBuf::from(OsString::from_vec(path)));
            return Ok(Argument::Descriptor(number, path.filter(|_| !is_deleted)));
        }
    }
    Ok(Argument::Other(text.to_owned()))
}

/// The bytes of `\x2f\x74…`.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Vec::with_capacity(text.len() / 4);
    let escapes = text.as_bytes().chunks_exact(4);
    if !escapes.remainder().is_empty() {
        return None;
    }
    for escape in escapes {
        let [b'\\', b'x', high, low] = escape else {
            return None;
        };
        bytes.push(u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn calls_of_several_threads_are_put_together() {
        let record = concat!(
            r#"7 openat(AT_FDCWD<\x2f>, "\x61", O_RDWR|O_CREAT, 0600) = 9<\x2f\x61>"#,
            "\n",
            r#"8 pwrite64(9<\x2f\x61>, "\x01\x02", 2, 4096 <unfinished ...>"#,
            "\n",
            "7 --- SIGCHLD {si_signo=SIGCHLD} ---\n",
            r#"7 fsync(9<\x2f\x61>) = -1 EIO (Input/output error) (INJECTED)"#,
            "\n",
            "8 <... pwrite64 resumed>)              = 2\n",
            r#"8 close(9<\x2f\x61>(deleted) <unfinished ...>"#,
            "\n",
            r#"7 write(1<\x70>, "\x0a", 1) = ?"#,
            "\n",
            "7 +++ killed by SIGKILL +++\n",
        );
        let trace = Trace::parse(record).unwrap();
        assert_eq!((trace.calls.len(), trace.lines), (5, 8));
        let [open, write, sync, close, last] = &trace.calls[..] else {
            panic!("{:?}", trace.calls);
        };
        assert_eq!(open.path(1).unwrap(), PathBuf::from("/a"));
        assert!(open.has_flag(2, "O_CREAT") && !open.has_flag(2, "O_EXCL"));
        assert_eq!(open.outcome, Outcome::Returned(9));
        assert_eq!((write.entered, write.returned), (1, Some(4)));
        assert_eq!(
            (write.bytes(1).unwrap(), write.number(3)),
            (&[1, 2][..], Some(4096))
        );
        assert_eq!(sync.outcome, Outcome::Failed("EIO".to_owned()));
        assert!(sync.is_injected && !write.is_injected);
        assert_eq!(close.arguments, [Argument::Descriptor(9, None)]);
        assert_eq!((close.returned, &close.outcome), (None, &Outcome::Never));
        assert_eq!((last.returned, &last.outcome), (None, &Outcome::Never));
        assert!(write.is_within("/".as_ref()) && !write.is_within("/b".as_ref()));
    }

    #[test]
    fn what_was_cut_short_is_refused() {
        let error = Trace::parse("7 write(1<\\x70>, \"\\x0a\"..., 9) = 9").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 1 of the recorded calls has data that was cut short"
        );
    }
}
