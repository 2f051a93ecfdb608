//! The name of items in the operating system's keychain, as in `keychain:NAME`.

use std::fmt;
use std::str::FromStr;

/// Under which name items are kept. People see it in their keychain's program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeychainName(String);

impl KeychainName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeychainName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_usual = |character: char| character.is_alphanumeric() || "-_.: /@".contains(character);
        // What was given is not repeated: it may be meant as the key itself.
        if text.is_empty() || text.len() > 128 || text.trim() != text || !text.chars().all(is_usual) {
            return Err(
                "the name of items in a keychain is 1 to 128 letters, digits and -_.:/@, such as the name of the application; \
                 no secret stands there"
                    .to_owned(),
            );
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for KeychainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
