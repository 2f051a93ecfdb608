//! What a command answers, and how it is printed.
//!
//! With `--json` exactly one object goes to standard output, and nothing else ever does, but the secret that
//! `token` and `export` exist to print. Everything that people read goes to standard error.

use std::io::{self, Write};

use cache_core::secret::SecretBytes;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// A command's result.
#[derive(Debug)]
pub(crate) struct Answer {
    /// For scripts.
    pub(crate) object: Value,
    /// For people.
    pub(crate) text: String,
    /// What goes to standard output for people too, or in place of the object.
    pub(crate) output: Output,
}

/// What a command prints to standard output beside its object.
#[derive(Debug)]
pub(crate) enum Output {
    /// Nothing.
    None,
    /// Everything was printed while the command ran.
    Printed,
    /// This line, unless the object is printed, which holds it.
    Line(SecretBytes),
    /// This document, which is the object.
    Document(SecretBytes),
}

impl Answer {
    pub(crate) fn new(object: Value, text: impl Into<String>) -> Self {
        Self {
            object,
            text: text.into(),
            output: Output::None,
        }
    }

    /// Of a command that printed everything while it ran.
    pub(crate) fn printed() -> Self {
        Self::new(Value::Null, "").with_output(Output::Printed)
    }

    #[must_use]
    pub(crate) fn with_output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }
}

/// Prints what became of a command.
pub(crate) fn print(result: &Result<Answer, Failure>, json: bool) -> io::Result<()> {
    match result {
        Ok(answer) => {
            match &answer.output {
                Output::Document(document) => out(document.expose())?,
                Output::Line(line) if !json => out(line.expose())?,
                Output::None | Output::Line(_) if json => out(&encoded(&answer.object))?,
                Output::None | Output::Line(_) | Output::Printed => {}
            }
            if !json && !answer.text.is_empty() {
                say(&answer.text);
            }
        }
        Err(failure) => {
            say(&failure.to_text());
            if json {
                out(&encoded(&failure.to_json()))?;
            }
        }
    }
    Ok(())
}

/// Writes a line for people. Nobody to read it is no failure.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn out(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// The object on one line. It may hold a token, so its bytes are wiped.
///
/// JSON lets some characters stand that steer a terminal or reorder a line, and the object may be shown on one. They occur in
/// strings alone, where an escape means the same.
fn encoded(object: &Value) -> Zeroizing<Vec<u8>> {
    let text = Zeroizing::new(object.to_string());
    if !text.chars().any(steers) {
        return Zeroizing::new(text.as_bytes().to_vec());
    }
    // Sized first: a buffer that grows would leave pieces behind. Each of them has two bytes or three, but DEL.
    let mut escaped = Zeroizing::new(Vec::with_capacity(text.len() * 6));
    for character in text.chars() {
        if steers(character) {
            escaped.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
        } else {
            escaped.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    escaped
}

/// Whether a character is a control character, invisible, or changes the direction of the text around it.
pub(crate) fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Prints `object` to standard output.
pub(crate) fn print_object(object: &Value) -> io::Result<()> {
    out(&encoded(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_steers_no_terminal_and_means_the_same() {
        let object =
            serde_json::json!({ "name": "a\u{9b}31m\u{7f}\u{202e}\u{feff}\u{1b}[0m\n\u{e4}\u{1f600}" });
        let bytes = encoded(&object);
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(!text.chars().any(steers), "{text:?}");
        assert!(text.contains("\u{e4}\u{1f600}"));
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), object);
    }
}
