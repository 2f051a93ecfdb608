//! What a command fails with: an error, its kind for scripts, its exit code, and what to do next.

use std::error::Error;
use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::answer::steers;
use crate::exit::Exit;

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    /// A word for scripts, in `snake_case`.
    pub(crate) kind: &'static str,
    pub(crate) exit: Exit,
    error: Box<dyn Error + Send + Sync>,
    /// The stored key of the record that is to blame.
    record: Option<String>,
    next: Option<String>,
    /// What the command found out all the same; stands beside the error in JSON.
    found: Map<String, Value>,
}

impl Failure {
    pub(crate) fn new(
        kind: &'static str,
        exit: Exit,
        error: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            exit,
            error: error.into(),
            record: None,
            next: None,
            found: Map::new(),
        }
    }

    /// The command line or the configuration makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new("usage", Exit::Usage, message.into())
    }

    /// A file could not be read or written.
    pub(crate) fn file(doing: &str, path: &std::path::Path, source: std::io::Error) -> Self {
        let message = format!("could not {doing} {}", path.display());
        Self::caused("file", Exit::Other, message, source)
    }

    /// With a message of its own, and the error that caused it.
    pub(crate) fn caused(
        kind: &'static str,
        exit: Exit,
        message: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        let (message, source) = (message.into(), source.into());
        Self::new(kind, exit, Caused { message, source })
    }

    /// The same failure, of an option that names the file.
    #[must_use]
    pub(crate) fn into_usage(self) -> Self {
        Self {
            kind: "usage",
            exit: Exit::Usage,
            ..self
        }
    }

    /// Names the record that is to blame, and how to go on without it.
    #[must_use]
    pub(crate) fn about_record(mut self, key: impl Into<String>) -> Self {
        let key = key.into();
        self.next = Some(format!(
            "look for the cause first (another --key? a restored backup?); to go on without the record, run \
             `tokenkeep quarantine {key}`, which keeps it"
        ));
        self.record = Some(key);
        self
    }

    #[must_use]
    pub(crate) fn next(mut self, what_to_do: impl Into<String>) -> Self {
        self.next = Some(what_to_do.into());
        self
    }

    /// Adds a result that was found in spite of the failure.
    #[must_use]
    pub(crate) fn found(mut self, name: &str, value: Value) -> Self {
        self.found.insert(name.to_owned(), value);
        self
    }

    /// What failed, in one line without its causes.
    pub(crate) fn message(&self) -> String {
        one_line(&self.error.to_string())
    }

    /// For people: the error, its causes and what to do next, a line each.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("error: {}", one_line(&self.error.to_string()));
        for cause in self.causes() {
            let _ = write!(text, "\n  because: {cause}");
        }
        if let Some(next) = &self.next {
            let _ = write!(text, "\n  next: {next}");
        }
        text
    }

    /// For scripts: `{"error": {…}}`.
    pub(crate) fn to_json(&self) -> Value {
        let mut error = json!({
            "kind": self.kind,
            "message": one_line(&self.error.to_string()),
            "causes": self.causes(),
            "exit_code": self.exit.code(),
        });
        if let Some(record) = &self.record {
            error["record"] = record.as_str().into();
        }
        if let Some(next) = &self.next {
            error["next"] = next.as_str().into();
        }
        let mut object = self.found.clone();
        object.insert("error".to_owned(), error);
        Value::Object(object)
    }

    fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        let mut cause = self.error.source();
        while let Some(error) = cause {
            causes.push(one_line(&error.to_string()));
            cause = error.source();
        }
        // A transparent wrapper speaks with its cause's voice.
        causes.dedup();
        causes
    }
}

#[derive(Debug)]
struct Caused {
    message: String,
    source: Box<dyn Error + Send + Sync>,
}

impl std::fmt::Display for Caused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Caused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// Text from elsewhere must neither break the line structure nor drive the terminal, nor be read in another order than it has:
/// names in a cache that was imported are as their writer left them.
pub(crate) fn one_line(text: &str) -> String {
    let visible: String = text
        .chars()
        .filter(|character| character.is_control() || character.is_whitespace() || !steers(*character))
        .collect();
    visible
        .split(|character: char| character.is_control() || character.is_whitespace())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_is_written() {
        assert_eq!(
            one_line("alice\u{202e}moc.live@\u{200b}x \u{9b}2J\u{2028}y"),
            "alicemoc.live@x 2J y"
        );
    }

    #[test]
    fn a_failure_is_told_line_by_line() {
        let source = std::io::Error::other("disk\x1b[31m on\nfire");
        let failure = Failure::file("write", std::path::Path::new("out.json"), source).next("buy a new disk");
        let text = failure.to_text();
        assert_eq!(
            text,
            "error: could not write out.json\n  because: disk [31m on fire\n  next: buy a new disk"
        );
        let object = failure.to_json();
        assert_eq!(object["error"]["kind"], "file");
        assert_eq!(object["error"]["exit_code"], 1);
        assert_eq!(object["error"]["causes"][0], "disk [31m on fire");
    }
}
