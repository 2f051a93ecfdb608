//! `--claims` and `--challenge`: what a resource wants of the next token.

use std::path::Path;

use clap::Args;
use flows::challenge::BearerChallenge;

use crate::failure::Failure;

/// What a resource demanded, as it was given.
#[derive(Args, Clone, Debug)]
pub(crate) struct DemandedClaims {
    /// Ask for a token with these claims, a JSON object or @FILE that holds one; the cached token is not used
    #[arg(long, value_name = "JSON", conflicts_with = "challenge")]
    claims: Option<String>,
    /// Answer a resource that refused the token: the value of its WWW-Authenticate header
    #[arg(long, value_name = "HEADER")]
    challenge: Option<String>,
}

/// What is demanded of the next token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Nothing.
    Nothing,
    /// Not to be the one that the resource refused.
    AnotherToken,
    /// To satisfy these claims.
    Claims(String),
}

impl DemandedClaims {
    /// Reads what was given, the file included.
    pub(crate) fn read(&self) -> Result<Demand, Failure> {
        if let Some(claims) = &self.claims {
            let claims = match claims.strip_prefix('@') {
                Some(path) => file(Path::new(path))?,
                None => claims.clone(),
            };
            return match claims.trim() {
                "" => Err(Failure::usage(
                    "--claims has no claims; give a JSON object or @FILE",
                )),
                claims => Ok(Demand::Claims(claims.to_owned())),
            };
        }
        let Some(challenge) = &self.challenge else {
            return Ok(Demand::Nothing);
        };
        let found = BearerChallenge::find([challenge]).map_err(|error| Failure::usage(error.to_string()))?;
        let challenge = found.ok_or_else(|| {
            Failure::usage("--challenge has no Bearer challenge; give the value of the resource's WWW-Authenticate header")
        })?;
        Ok(match challenge.claims() {
            Some(claims) => Demand::Claims(claims.to_owned()),
            None => Demand::AnotherToken,
        })
    }
}

impl Demand {
    /// The claims; empty where there are none.
    pub(crate) fn claims(&self) -> &str {
        match self {
            Self::Claims(claims) => claims,
            Self::Nothing | Self::AnotherToken => "",
        }
    }
}

/// Claims are no secret, so the file may be anybody's; they are short, so what is no file does not go on for ever.
fn file(path: &Path) -> Result<String, Failure> {
    use std::io::Read;

    let failed = |error| Failure::file("read the claims in", path, error).into_usage();
    let mut text = String::new();
    let most = BearerChallenge::MOST_CLAIMS as u64;
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(most + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > most {
        return Err(Failure::usage(format!(
            "the claims in the file are longer than {most} bytes"
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(claims: Option<&str>, challenge: Option<&str>) -> Result<Demand, Failure> {
        let (claims, challenge) = (claims.map(str::to_owned), challenge.map(str::to_owned));
        DemandedClaims { claims, challenge }.read()
    }

    #[test]
    fn a_challenge_demands_claims_or_another_token() {
        assert_eq!(read(None, None).unwrap(), Demand::Nothing);
        assert_eq!(read(Some(" {} "), None).unwrap(), Demand::Claims("{}".into()));
        let claims = r#"Negotiate, Bearer error="insufficient_claims", claims="e30=""#;
        assert_eq!(read(None, Some(claims)).unwrap(), Demand::Claims("{}".into()));
        let refused = r#"Bearer error="invalid_token""#;
        assert_eq!(read(None, Some(refused)).unwrap(), Demand::AnotherToken);
        for (claims, challenge) in [
            (Some(""), None),
            (Some("@"), None),
            (None, Some("Basic realm=\"x\"")),
            (None, Some("Bearer realm=\"x")),
        ] {
            assert!(read(claims, challenge).is_err(), "{claims:?} {challenge:?}");
        }
    }
}
