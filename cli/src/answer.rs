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
                Output::None | Output::Line(_) => {}
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
fn encoded(object: &Value) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(object.to_string().into_bytes())
}

/// Prints `object` to standard output.
pub(crate) fn print_object(object: &Value) -> io::Result<()> {
    out(&encoded(object))
}
