//! What a resource says in `WWW-Authenticate` and `Authentication-Info`.

use flows::challenge::{BearerChallenge, Challenge, next_nonce, nonce};

use crate::shown::check_text;
use crate::{Outcome, Target};

/// The target.
pub const TARGET: Target = Target {
    name: "challenge",
    title: "`WWW-Authenticate` and `Authentication-Info`",
    run,
    seeds,
    max_len: 2048,
};

/// Reads each line of the bytes as one header.
///
/// # Panics
/// When a bound is not kept, or what is shown to people holds a control character.
pub fn run(data: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(data) else {
        return Outcome::Refused;
    };
    let headers: Vec<&str> = text.split('\n').collect();
    let challenges = Challenge::parse(&headers);
    if let Ok(challenges) = &challenges {
        assert!(challenges.len() <= Challenge::MOST_PARTS);
        for challenge in challenges {
            assert!(!challenge.scheme.is_empty());
            assert!(challenge.parameters.len() <= Challenge::MOST_PARTS);
            let names = challenge.parameters.iter().map(|(name, _)| name);
            assert!(
                names
                    .into_iter()
                    .all(|name| !name.is_empty() && !name.bytes().any(|b| b.is_ascii_uppercase()))
            );
        }
    }
    if let Ok(Some(found)) = BearerChallenge::find(&headers) {
        if let Some(claims) = found.claims() {
            assert!(claims.len() <= BearerChallenge::MOST_CLAIMS);
            let claims: serde_json::Value = serde_json::from_str(claims).expect("claims are JSON");
            assert!(claims.is_object());
        }
        check_text(found.error_description.as_deref().unwrap_or_default());
    }
    for scheme in ["DPoP", "PoP"] {
        if let Ok(Some(nonce)) = nonce(&headers, scheme) {
            assert!(!nonce.is_empty());
        }
    }
    if let Ok(Some(nonce)) = next_nonce(text) {
        assert!(!nonce.is_empty());
    }
    Outcome::taken(challenges.is_ok_and(|challenges| !challenges.is_empty()))
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "Negotiate, Bearer realm=\"a, b\", error=\"invalid_token\", error_description=\"it \\\"expired\\\"\"",
        "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", error=\"insufficient_claims\", claims=\"eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNjA0MTA2NjUxIn19fQ==\"",
        "DPoP error=\"use_dpop_nonce\", nonce=\"abc\"\nBasic realm=x",
        "nextnonce=\"n-1\", qop=auth",
        "Negotiate TlRMTVNTUAAC==, PoP nonce=\"1\"",
        "Bearer error=insufficient_scope scope=\"a b\"",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
