//! ID tokens that somebody shows, and the keys that an issuer publishes.

use std::sync::Arc;

use cache_core::secret::Secret;
use flows::{IdTokenExpectations, IdTokenVerifier};

use crate::canned::{Canned, reply};
use crate::scene::{LIMIT, block_on};
use crate::shown::check_error;
use crate::token_reply::ISSUERS;
use crate::{Outcome, Target};

/// The target.
pub const TARGET: Target = Target {
    name: "id_token",
    title: "ID tokens with their signatures, and the keys of an issuer (JWKS)",
    run,
    seeds,
    max_len: 4096,
};

/// Signed by the key `1` of [`KEYS`], whose private half nobody has any more. It is of the moment at which the clock here stands.
const TOKEN: &str = include_str!("vectors/id_token.txt");
const KEYS: &str = include_str!("vectors/jwks.json");

/// Shows a token to a client whose issuer publishes keys: the bytes are one of them, or both, as the first byte says.
///
/// # Panics
/// When claims are believed that the honest key did not sign, or anybody but the issuer is asked for keys.
pub fn run(data: &[u8]) -> Outcome {
    let Some((&which, data)) = data.split_first() else {
        return Outcome::Refused;
    };
    let honest_keys = || Canned::read(&reply(0, "content-type: application/json", KEYS));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (token, keys) = match which % 3 {
        0 => (text(data), honest_keys()),
        1 => (TOKEN.trim().to_owned(), Canned::read(data)),
        _ => {
            let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
            let keys = data.get(end + 1..).unwrap_or_default();
            (text(&data[..end]), Canned::read(keys))
        }
    };
    // The issuer that is not Microsoft's.
    let issuer = &ISSUERS[1];
    let verifier = IdTokenVerifier::new(
        keys.transport(),
        issuer.authority.clone(),
        Arc::clone(&issuer.metadata),
        "client",
    );
    let shown = Secret::new(token.clone());
    let expected = IdTokenExpectations::without_nonce();
    let verified = block_on(verifier.verify(&shown, &expected, LIMIT));
    for url in keys.asked() {
        assert_eq!(
            url.host_str(),
            Some("id.example"),
            "somebody else was asked for keys"
        );
    }
    let claims = match verified {
        Ok(claims) => claims,
        Err(error) => {
            check_error(&error, &[]);
            return Outcome::Refused;
        }
    };
    assert_eq!(
        claims.issuer(),
        Some("https://id.example/a"),
        "another issuer's token"
    );
    if which % 3 != 2 {
        assert_eq!(signed(&token), signed(TOKEN), "nobody signed this");
        assert_eq!(claims.subject(), Some("alice"));
    }
    Outcome::Taken
}

/// What a signature is over.
fn signed(token: &str) -> Option<&str> {
    token.rsplit_once('.').map(|(signed, _)| signed)
}

fn seeds() -> Vec<Vec<u8>> {
    let token = TOKEN.trim();
    let keys = |status, keys: &str| reply(status, "content-type: application/json", keys);
    let (signed, signature) = token.rsplit_once('.').expect("a token has a signature");
    let of = |which: u8, bytes: &[u8]| [&[which], bytes].concat();
    vec![
        of(0, token.as_bytes()),
        of(0, format!("{signed}.").as_bytes()),
        // No algorithm, which nobody may take for a signature.
        of(
            0,
            format!(
                "eyJhbGciOiJub25lIn0{}.",
                &signed[signed.find('.').unwrap_or_default()..]
            )
            .as_bytes(),
        ),
        of(1, &keys(0, KEYS)),
        of(
            1,
            &keys(0, r#"{"keys":[{"kty":"oct","kid":"1","k":"c2VjcmV0"}]}"#),
        ),
        of(1, &keys(8, "")),
        of(2, &[token.as_bytes(), b"\n", &keys(0, KEYS)].concat()),
        of(
            2,
            &[signature.as_bytes(), b"\n", &keys(0, "{\"keys\":[]}")].concat(),
        ),
    ]
}
