//! A key in an environment variable.

use std::env;
use std::process::Command;

use async_trait::async_trait;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::{KeySource, KeySourceError, SourceDescription};
use crate::random::Random;
use crate::seal::key::SecretKey;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Reads the key from an environment variable: exactly 32 bytes, as 64 hexadecimal digits or as base64 (standard or
/// URL-safe, padded or not). It never makes a key: whoever deploys the program does
/// (`head -c 32 /dev/urandom | base64`).
///
/// # Children inherit it
///
/// Rust programs cannot remove a variable from their own environment without `unsafe`, because another thread may be
/// reading it, and this crate has no `unsafe`. So the variable stays where it is, and **every child process inherits it
/// unless it is told not to**: call [`scrub`](Self::scrub) on each [`Command`]. Where that cannot be guaranteed, or
/// where others may read the process's environment, use a [`FileKeySource`](super::FileKeySource).
#[derive(Clone, Debug)]
pub struct EnvironmentKeySource {
    variable: String,
}

impl EnvironmentKeySource {
    /// The kind that the ring record names.
    pub const KIND: &str = "environment";

    /// A source that reads `variable`, each time that a key is needed.
    ///
    /// # Errors
    /// [`KeySourceError::Parameters`] when that cannot be a variable's name: empty, or with `=` or a zero byte.
    pub fn new(variable: impl Into<String>) -> Result<Self, KeySourceError> {
        let variable = variable.into();
        if variable.is_empty() || variable.contains(['=', '\0']) {
            let what = "an environment variable's name has at least one character, no '=' and no zero byte";
            return Err(KeySourceError::Parameters {
                what: what.to_owned(),
            });
        }
        Ok(Self { variable })
    }

    /// Removes the variable from what `command`'s process will inherit.
    pub fn scrub(&self, command: &mut Command) {
        command.env_remove(&self.variable);
    }

    fn read(&self) -> Result<SecretKey, KeySourceError> {
        let place = || format!("environment variable {}", self.variable);
        let value = env::var_os(&self.variable).ok_or_else(|| KeySourceError::Missing { place: place() })?;
        let text = Zeroizing::new(value.into_encoded_bytes());
        decode(&text).ok_or_else(|| KeySourceError::Malformed {
            place: place(),
            what: "it must be exactly 32 bytes in base64 or 64 hexadecimal digits",
        })
    }
}

#[async_trait]
impl KeySource for EnvironmentKeySource {
    fn kind(&self) -> &str {
        Self::KIND
    }

    async fn create(&self, _random: &dyn Random) -> Result<(SecretKey, SourceDescription), KeySourceError> {
        Ok((self.read()?, SourceDescription::new(Self::KIND, [])?))
    }

    async fn load(&self, description: &SourceDescription) -> Result<SecretKey, KeySourceError> {
        description.expect_kind(Self::KIND)?;
        description.expect_no_parameters()?;
        self.read()
    }

    async fn discard(&self, _description: &SourceDescription) -> Result<(), KeySourceError> {
        // It was not made here.
        Ok(())
    }
}

/// Exactly 32 bytes, encoded; `None` for anything else. Lengths do not overlap: 43 or 44 is base64, 64 hexadecimal.
fn decode(text: &[u8]) -> Option<SecretKey> {
    let mut bytes = Zeroizing::new([0_u8; 64]);
    let length = match text.len() {
        64 => decode_hex(text, bytes.as_mut_slice())?,
        43 | 44 => STANDARD
            .decode_slice(text, bytes.as_mut_slice())
            .or_else(|_| URL_SAFE.decode_slice(text, bytes.as_mut_slice()))
            .ok()?,
        _ => return None,
    };
    if length != SecretKey::BYTES {
        return None;
    }
    bytes.first_chunk().map(SecretKey::from_bytes)
}

fn decode_hex(text: &[u8], bytes: &mut [u8]) -> Option<usize> {
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(text.len() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_of_32_bytes_is_read() {
        let key = SecretKey::from_bytes(&[0xfb; 32]);
        for text in [
            "fb".repeat(32),
            "FB".repeat(32),
            format!("{}=", "+/v7".repeat(10) + "+/s"),
            "+/v7".repeat(10) + "+/s",
            "-_v7".repeat(10) + "-_s",
        ] {
            assert_eq!(decode(text.as_bytes()), Some(key.copy()), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            String::new(),
            "fb".repeat(31),
            "fb".repeat(33),
            "zz".repeat(32),
            "A".repeat(42),
            format!("{}==", "A".repeat(42)),
            format!("{}\n", "A".repeat(43)),
            "A".repeat(42) + "*",
            "A".repeat(42) + "B",
        ] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_child_can_be_kept_from_inheriting() {
        let mut command = Command::new("true");
        EnvironmentKeySource::new("SOME_KEY").unwrap().scrub(&mut command);
        assert_eq!(
            command.get_envs().collect::<Vec<_>>(),
            [("SOME_KEY".as_ref(), None)]
        );
        assert!(EnvironmentKeySource::new("A=B").is_err());
        assert!(EnvironmentKeySource::new("").is_err());
    }
}
