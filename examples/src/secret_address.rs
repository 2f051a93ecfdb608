//! Where a secret comes from.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use cache_core::seal::{EnvironmentKeySource, FileKeySource, KeySource, KeySourceError};
use cache_core::secret::Secret;
use zeroize::Zeroizing;

/// A place that holds a secret: `file:PATH` or `env:NAME`. Never the secret itself, as every process of a machine can read
/// the others' arguments.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretAddress {
    /// A file.
    File(PathBuf),
    /// An environment variable, by name.
    Environment(String),
}

impl SecretAddress {
    /// The text that is kept there, without the line end that editors add.
    ///
    /// # Errors
    /// [`SecretError`] when there is none.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let text = match self {
            Self::File(path) => std::fs::read_to_string(path).map_err(|source| SecretError::File {
                path: path.clone(),
                source,
            })?,
            Self::Environment(name) => {
                std::env::var(name).map_err(|_| SecretError::Environment(name.clone()))?
            }
        };
        let text = Zeroizing::new(text);
        let line = text.trim_end_matches(['\r', '\n']);
        if line.is_empty() {
            return Err(SecretError::Empty(self.to_string()));
        }
        Ok(Secret::new(line))
    }

    /// The key-encryption key that is kept there. A file is made, with a new key, when the cache is.
    ///
    /// # Errors
    /// [`KeySourceError`] for a name that no environment variable can have.
    pub fn key_source(&self) -> Result<Arc<dyn KeySource>, KeySourceError> {
        Ok(match self {
            Self::File(path) => Arc::new(FileKeySource::new(path)),
            Self::Environment(name) => Arc::new(EnvironmentKeySource::new(name.as_str())?),
        })
    }
}

impl FromStr for SecretAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = |name: &str| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("env", name)) if is_name(name) => Ok(Self::Environment(name.to_owned())),
            // What was given is not repeated: it may be the secret itself.
            _ => Err("a secret is given as file:PATH or env:NAME, never as itself".to_owned()),
        }
    }
}

impl fmt::Display for SecretAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Environment(name) => write!(f, "env:{name}"),
        }
    }
}

impl fmt::Debug for SecretAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A secret that is not where it should be.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the file {} that should hold a secret cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The variable is not set, or is no text.
    #[error("the environment variable {0} that should hold a secret is not set")]
    Environment(String),
    /// There is nothing in it.
    #[error("{0} holds no secret")]
    Empty(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_parsed_and_a_secret_in_its_place_is_not_repeated() {
        for text in ["file:/a/key", "env:NAME"] {
            assert_eq!(text.parse::<SecretAddress>().unwrap().to_string(), text);
        }
        for text in ["", "file:", "env:", "env:a b", "canary", "canary:canary"] {
            let error = text.parse::<SecretAddress>().unwrap_err();
            assert!(!error.contains("canary"));
        }
    }

    #[test]
    fn a_file_is_read_without_its_line_end() {
        let path = std::env::temp_dir().join(format!("tokenkeep-secret-{}", std::process::id()));
        std::fs::write(&path, "canary\r\n").unwrap();
        let secret = SecretAddress::File(path.clone()).read();
        std::fs::write(&path, "\n").unwrap();
        let empty = SecretAddress::File(path.clone()).read();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(secret.unwrap().expose(), "canary");
        assert!(matches!(empty, Err(SecretError::Empty(_))));
        let gone = SecretAddress::File(path).read();
        assert!(matches!(gone, Err(SecretError::File { .. })));
    }
}
