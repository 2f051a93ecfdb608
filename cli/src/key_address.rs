//! `--key`: where the key-encryption key comes from.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::keychain_name::KeychainName;
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
    /// The operating system's keychain, and what to take where there is none when the key is made.
    Keychain {
        name: Option<KeychainName>,
        otherwise: Option<Box<KeyAddress>>,
    },
}

impl FromStr for KeyAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => path_text::parse(path).map(Self::File),
            Some(("env", name)) => name.parse().map(Self::Environment),
            None if text == "passphrase" => Ok(Self::Passphrase),
            _ if is_keychain(text) => keychain(text),
            // What was given is not repeated: it may be the pass phrase itself.
            _ => Err(
                "a key is file:PATH, env:NAME, passphrase or keychain; a pass phrase itself is never an argument"
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
            Self::Keychain { name, otherwise } => {
                f.write_str("keychain")?;
                if let Some(name) = name {
                    write!(f, ":{name}")?;
                }
                if let Some(otherwise) = otherwise {
                    write!(f, "{ELSE}{otherwise}")?;
                }
                Ok(())
            }
        }
    }
}

/// What stands before the key that is taken where there is no keychain.
const ELSE: &str = ",else=";

fn is_keychain(text: &str) -> bool {
    text.strip_prefix("keychain")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', ',']))
}

/// `keychain`, `keychain:NAME`, and either with `,else=KEY`.
fn keychain(text: &str) -> Result<KeyAddress, String> {
    let (place, otherwise) = match text.split_once(ELSE) {
        Some((place, otherwise)) => (place, Some(otherwise)),
        None => (text, None),
    };
    let rest = place.strip_prefix("keychain").unwrap_or(place);
    let name = match rest.strip_prefix(':') {
        // What is misspelled must not become a name, which everybody on the bus can read.
        Some(name) if !name.contains([',', '=']) => Some(name.parse()?),
        None if rest.is_empty() => None,
        _ => {
            return Err(
                "a keychain is written keychain or keychain:NAME, without a comma or = in the name, and with another key where there is \
                 none keychain,else=file:PATH"
                    .to_owned(),
            );
        }
    };
    let otherwise = match otherwise {
        Some(otherwise) if is_keychain(otherwise) => {
            return Err("what is taken where there is no keychain cannot be a keychain".to_owned());
        }
        Some(otherwise) => Some(Box::new(otherwise.parse()?)),
        None => None,
    };
    Ok(KeyAddress::Keychain { name, otherwise })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_shown_alike() {
        for text in [
            "file:/a/key",
            "env:NAME",
            "passphrase",
            "keychain",
            "keychain:my-app",
            "keychain,else=file:/a/key",
            "keychain:my-app,else=env:NAME",
            "keychain,else=passphrase",
        ] {
            assert_eq!(text.parse::<KeyAddress>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "file:",
            "env:",
            "passphrase:hunter2",
            "/a/key",
            "env:hunter2!",
            "keychain:",
            "keychain:hunter2!",
            "keychain,hunter2",
            "keychain,else=",
            "keychain,else=hunter2",
            "keychain,else=keychain",
            "keychain,else=keychain:x",
            "keychainhunter2",
        ] {
            let error = text.parse::<KeyAddress>().unwrap_err();
            assert!(!error.contains("hunter2"));
        }
    }

    #[test]
    fn a_misspelled_alternative_does_not_become_a_name() {
        for text in [
            "keychain,otherwise=file:/p/x",
            "keychain,els=file:/p/x",
            "keychain,file:/p/x",
            "keychain, else=file:/p/x",
            "keychain:my-app,els=file:/p/x",
            "keychain:my-app else=file:/p/x",
            "keychain:=file:/p/x",
        ] {
            let error = text.parse::<KeyAddress>().unwrap_err();
            assert!(error.contains("keychain,else=file:PATH"), "{text}: {error}");
        }
    }
}
