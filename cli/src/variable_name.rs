//! The name of an environment variable, given where a secret must not be.

use std::fmt;
use std::str::FromStr;

/// Letters, digits and underscores, not beginning with a digit. What else is given in its place is probably the secret
/// itself, so it is refused without being repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VariableName(String);

impl VariableName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VariableName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_name = !text.is_empty() && !text.as_bytes()[0].is_ascii_digit() && text.bytes().all(is_word);
        if !is_name || looks_like_a_key(text) {
            return Err(
                "give the name of an environment variable (letters, digits and underscores), which holds the secret; \
                 the secret itself is never an argument"
                    .to_owned(),
            );
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for VariableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether it may be 32 bytes in hexadecimal or unpadded base64, whose alphabets are within that of names.
fn looks_like_a_key(text: &str) -> bool {
    let is_hexadecimal = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_base64 = text.len() == 43 && text.bytes().any(|byte| byte.is_ascii_lowercase());
    is_hexadecimal || is_base64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_secrets() {
        for name in ["A", "_a1", "TOKENKEEP_CLIENT_SECRET"] {
            assert_eq!(name.parse::<VariableName>().unwrap().as_str(), name);
        }
        let (hexadecimal, base64) = ("ab".repeat(32), "aB".repeat(21) + "c");
        for secret in [
            "",
            "1A",
            "s3cr3t-value!",
            "a b",
            "A=b",
            "\u{e4}",
            &hexadecimal,
            &base64,
        ] {
            let error = secret.parse::<VariableName>().unwrap_err();
            assert!(secret.is_empty() || !error.contains(secret), "{error}");
        }
    }
}
