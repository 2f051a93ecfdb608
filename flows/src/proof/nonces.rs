//! The nonces that servers want to see in proofs (RFC 9449 section 8).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use url::{Origin, Url};

use crate::http::HttpResponse;

/// The header that carries one.
const HEADER: &str = "dpop-nonce";

/// Longer ones are refused: they would come back with each request.
const LONGEST: usize = 1024;

/// How many servers are remembered.
const MOST_ORIGINS: usize = 256;

/// The latest nonce of each server. It is no secret: it only says that a proof is recent.
#[derive(Debug, Default)]
pub(crate) struct Nonces(Mutex<HashMap<Origin, String>>);

impl Nonces {
    /// The nonce that the server of `url` gave last.
    pub(crate) fn of(&self, url: &Url) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&url.origin()).cloned()
    }

    /// Remembers what a reply from `url` carries, be it a refusal or a success (section 8.2). Gives the nonce, if there is one.
    pub(crate) fn note(&self, url: &Url, response: &HttpResponse) -> Option<String> {
        let nonce = response.header(HEADER)?;
        // Section 8.1: NQCHAR, which cannot break out of anything.
        let is_sound = (1..=LONGEST).contains(&nonce.len())
            && nonce
                .bytes()
                .all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
        if !is_sound {
            return None;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_ORIGINS {
            known.clear();
        }
        known.insert(url.origin(), nonce.to_owned());
        Some(nonce.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use cache_core::secret::SecretBytes;

    use super::*;

    #[test]
    fn a_nonce_is_of_one_server_and_the_latest_counts() {
        let nonces = Nonces::default();
        let note = |url: &str, nonce: &str| {
            let response = HttpResponse {
                status: 400,
                headers: vec![(HEADER.to_owned(), nonce.to_owned())],
                body: SecretBytes::default(),
            };
            nonces.note(&Url::parse(url).unwrap(), &response)
        };
        let of = |url: &str| nonces.of(&Url::parse(url).unwrap());
        assert!(note("https://id.example/token", "one").is_some());
        note("https://id.example/token", "two");
        assert_eq!(of("https://id.example/other?q").as_deref(), Some("two"));
        assert_eq!(of("https://id.example:8443/token"), None);
        assert_eq!(of("https://api.example/token"), None);
        for unsound in ["", "a b", "a\"b", "a\\b", &"x".repeat(1025)] {
            assert!(note("https://id.example/token", unsound).is_none());
        }
        assert_eq!(of("https://id.example/token").as_deref(), Some("two"));
    }
}
