//! Opaque values: codes, refresh tokens and identifiers that nobody can guess or mistake.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::AuthorityError;

/// Letters and digits of user codes: none that people confuse, and no vowel to spell a word with.
const USER_CODE_ALPHABET: &[u8] = b"BCDFGHJKLMNPQRSTVWXZ3456789";

/// Makes opaque values from one random seed and a counter, so that drawing one cannot fail.
pub(super) struct OpaqueValues {
    seed: [u8; 32],
    drawn: u64,
}

impl OpaqueValues {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place where the fake authority asks for randomness"
    )]
    pub(super) fn new() -> Result<Self, AuthorityError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| AuthorityError::cryptography("random seed", error))?;
        Ok(Self { seed, drawn: 0 })
    }

    /// A value that begins with `prefix`, which makes codes and tokens tell-tale in a test's output.
    pub(super) fn secret(&mut self, prefix: &str) -> String {
        format!("{prefix}{}", URL_SAFE_NO_PAD.encode(self.draw()))
    }

    /// A random GUID (version 4).
    pub(super) fn guid(&mut self) -> String {
        let digest = self.draw();
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!(
            "{}-{}-4{}-8{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[13..16],
            &hex[17..20],
            &hex[20..]
        )
    }

    /// Nine characters for a person to type.
    pub(super) fn user_code(&mut self) -> String {
        self.draw()
            .iter()
            .take(9)
            .filter_map(|byte| USER_CODE_ALPHABET.get(usize::from(*byte) % USER_CODE_ALPHABET.len()))
            .map(|character| char::from(*character))
            .collect()
    }

    fn draw(&mut self) -> [u8; 32] {
        self.drawn += 1;
        Sha256::new()
            .chain_update(self.seed)
            .chain_update(self.drawn.to_be_bytes())
            .finalize()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_form_and_do_not_repeat() {
        let mut values = OpaqueValues::new().unwrap();
        let guid = values.guid();
        assert_eq!(guid.len(), 36);
        assert_eq!(
            guid.split('-').map(str::len).collect::<Vec<_>>(),
            [8, 4, 4, 4, 12]
        );
        assert_eq!(values.user_code().len(), 9);
        assert_ne!(values.secret("rt-"), values.secret("rt-"));
    }
}
