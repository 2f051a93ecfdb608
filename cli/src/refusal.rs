//! What is wrong with a command line that could not be parsed.
//!
//! clap repeats the value that it refuses. Who mistakes `--key` or `--client-secret-env` gives the secret itself, who forgets the
//! option before it has a stray word, and a URL may hold a password, so nothing that was refused is repeated here.

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::arguments::Arguments;

/// A command line that was refused.
pub(crate) struct Refusal {
    /// One line.
    pub(crate) message: String,
    /// For people: the message, and how it is written right.
    pub(crate) text: String,
}

impl Refusal {
    pub(crate) fn new(error: &clap::Error) -> Self {
        match error.kind() {
            ErrorKind::ValueValidation | ErrorKind::InvalidValue => Self::of_value(error),
            ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand | ErrorKind::TooManyValues => {
                Self::of_stray_word(error)
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Self::of_missing_command(error),
            _ => {
                let text = error.to_string();
                Self {
                    message: first_paragraph(&text),
                    text: text.trim_end().to_owned(),
                }
            }
        }
    }

    fn of_value(error: &clap::Error) -> Self {
        let argument = error
            .get(ContextKind::InvalidArg)
            .map_or_else(|| "an argument".to_owned(), ToString::to_string);
        let why = match (
            std::error::Error::source(error),
            error.get(ContextKind::ValidValue),
        ) {
            (Some(source), _) => source.to_string(),
            (None, Some(ContextValue::Strings(known))) if !known.is_empty() => {
                format!("give one of {}", known.join(", "))
            }
            (None, _) => "its value is missing or makes no sense".to_owned(),
        };
        let variable = argument
            .strip_prefix("--")
            .and_then(|rest| rest.split(' ').next())
            .and_then(variable)
            .map(|variable| format!(" or {variable}"))
            .unwrap_or_default();
        let name = argument.split(' ').next().unwrap_or_default();
        let message = format!("{name}{variable}: {why}");
        Self {
            text: format!("error: {message}"),
            message,
        }
    }

    fn of_stray_word(error: &clap::Error) -> Self {
        let what = match (error.kind(), given(error, ContextKind::InvalidArg)) {
            (ErrorKind::InvalidSubcommand, _) => "there is no such command".to_owned(),
            (_, Some(option)) if looks_like_an_option(option) => format!("there is no option {option} here"),
            _ => "a word stands where none is expected; it is not repeated, as it may be a secret".to_owned(),
        };
        let similar = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg]
            .into_iter()
            .find_map(|kind| given(error, kind))
            .map(|similar| format!("; is {similar} meant?"))
            .unwrap_or_default();
        let message = format!("{what}{similar}");
        let usage = error.get(ContextKind::Usage).map(ToString::to_string);
        let usage = usage.map(|usage| format!("\n\n{usage}")).unwrap_or_default();
        Self {
            text: format!("error: {message}{usage}\n\nFor more information, try '--help'."),
            message,
        }
    }

    /// clap answers with the help alone, whose first line says nothing of an error.
    fn of_missing_command(error: &clap::Error) -> Self {
        let help = error.to_string();
        let usage = help.lines().find_map(|line| line.strip_prefix("Usage: "));
        let message = match usage {
            Some(usage) => format!("a command is missing: {usage}"),
            None => "a command is missing; --help lists them".to_owned(),
        };
        Self {
            text: format!("error: {message}\n\n{}", help.trim_end()),
            message,
        }
    }
}

/// The environment variable of an option, if it has one: the options of single commands have none.
fn variable(option: &str) -> Option<String> {
    let command = Arguments::command();
    let argument = command
        .get_arguments()
        .find(|argument| argument.get_long() == Some(option))?;
    Some(argument.get_env()?.to_str()?.to_owned())
}

/// One word of what clap has to say. Suggestions are names of our own.
fn given(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind)? {
        ContextValue::String(word) => Some(word),
        ContextValue::Strings(words) => words.first().map(String::as_str),
        _ => None,
    }
}

/// Whether it can only be a mistyped option: no secret is two hyphens and a few small letters.
fn looks_like_an_option(word: &str) -> bool {
    let is_small = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
    word.len() <= 32
        && word
            .strip_prefix("--")
            .is_some_and(|name| name.bytes().all(is_small))
}

/// What stands before the first empty line, in one line: clap lists there what is missing.
fn first_paragraph(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = paragraph.split_whitespace().collect();
    let line = words.join(" ");
    line.strip_prefix("error: ").map_or(line.clone(), str::to_owned)
}
