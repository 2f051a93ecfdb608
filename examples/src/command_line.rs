//! Command lines, and what is said of one that makes no sense.

use clap::error::{ContextKind, ContextValue};
use clap::{Error, Parser};

/// Reads the command line of this process, or ends it.
#[must_use]
pub fn parse<O: Parser>() -> O {
    O::try_parse().unwrap_or_else(|error| without_values(error).exit())
}

/// clap repeats the value that it refuses, and terminals, journals and bug reports keep what was said. Who mistakes an option may have
/// given the secret itself, and a URL may hold a password.
fn without_values(mut error: Error) -> Error {
    let hidden = || ContextValue::String("(not shown)".to_owned());
    if error.get(ContextKind::InvalidValue).is_some() {
        error.insert(ContextKind::InvalidValue, hidden());
    }
    // A word that no option came before.
    if let Some(ContextValue::String(text)) = error.get(ContextKind::InvalidArg)
        && !text.starts_with('-')
    {
        error.insert(ContextKind::InvalidArg, hidden());
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front_end::options::Options;

    #[test]
    fn what_is_refused_is_not_repeated() {
        for words in [
            &["--store", "redis://user:canary@127.0.0.1"][..],
            &["--client-secret", "canary"],
            &["--key", "canary"],
            &["--redis-password", "canary:canary"],
            &["canary"],
        ] {
            let words = std::iter::once("front-end").chain(words.iter().copied());
            let error = without_values(Options::try_parse_from(words.clone()).unwrap_err());
            let said = error.to_string();
            assert!(!said.contains("canary"), "{said}");
        }
        let words = ["front-end", "--client-secret", "canary"];
        let said = without_values(Options::try_parse_from(words).unwrap_err()).to_string();
        assert!(
            said.contains("--client-secret") && said.contains("env:NAME"),
            "{said}"
        );
    }
}
