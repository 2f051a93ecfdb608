//! `--key`: where the key-encryption key comes from.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::path_text;
use crate::variable_name::VariableName;

/// A source of the key-encryption key. It never holds the key itself: an argument list is public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyAddress {
    /// A file.
    File(PathBuf),
    /// An environment variable, by name.
    Environment(VariableName),
    /// A pass phrase.
    Passphrase,
}

impl FromStr for KeyAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => path_text::parse(path).map(Self::File),
            Some(("env", name)) => name.parse().map(Self::Environment),
            None if text == "passphrase" => Ok(Self::Passphrase),
            // What was given is not repeated: it may be the pass phrase itself.
            _ => Err(
                "a key is file:PATH, env:NAME or passphrase; a pass phrase itself is never an argument"
                    .to_owned(),
            ),
        }
    }
}

impl fmt::Display for KeyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::Passphrase => f.write_str("passphrase"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_shown_alike() {
        for text in ["file:/a/key", "env:NAME", "passphrase"] {
            assert_eq!(text.parse::<KeyAddress>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "file:",
            "env:",
            "passphrase:hunter2",
            "/a/key",
            "env:hunter2!",
        ] {
            let error = text.parse::<KeyAddress>().unwrap_err();
            assert!(!error.contains("hunter2"));
        }
    }
}
