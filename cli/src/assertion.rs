//! A user's assertion, and the session that it begins: from a variable or a file, never from the command line.

use std::io::Read;
use std::path::PathBuf;

use cache_core::secret::Secret;
use clap::Args;
use flows::client::SessionId;
use flows::request::on_behalf_of::UserAssertion;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::variable_name::VariableName;

/// More than any token or SAML assertion.
const MAX_BYTES: u64 = 1 << 20;

/// On whose behalf.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct AssertionArguments {
    /// The name of the environment variable that holds the token that a user presented to this application
    #[arg(long, value_name = "NAME", conflicts_with = "assertion_file")]
    assertion_env: Option<VariableName>,
    /// The file that holds the token that a user presented to this application
    #[arg(long, value_name = "FILE")]
    assertion_file: Option<PathBuf>,
    /// The assertion is a SAML 2.0 assertion (XML)
    #[arg(long)]
    saml: bool,
    /// A session that goes on without the assertion: an ID of 22 random characters of base64url or more, or, with --account
    /// (a home account ID), any name. Other users of this machine see it here; where it is an ID, use --session-env
    #[arg(long, value_name = "NAME_OR_ID", value_parser = secret, conflicts_with = "session_env")]
    session: Option<Secret>,
    /// The name of the environment variable that holds the session's ID or name
    #[arg(long, value_name = "NAME")]
    session_env: Option<VariableName>,
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

impl AssertionArguments {
    /// Whether a token on somebody's behalf is meant at all.
    pub(crate) fn is_given(&self) -> bool {
        self.assertion_env.is_some()
            || self.assertion_file.is_some()
            || self.session.is_some()
            || self.session_env.is_some()
    }

    /// The assertion; `None` where none is named.
    pub(crate) fn assertion(&self) -> Result<Option<UserAssertion>, Failure> {
        let text = match (&self.assertion_env, &self.assertion_file) {
            (Some(name), _) => match std::env::var(name.as_str()) {
                Ok(text) => Zeroizing::new(text),
                // Not its name, which may be the assertion, given in the wrong place.
                Err(_) => {
                    return Err(Failure::usage(
                        "the environment variable that --assertion-env names holds no assertion",
                    ));
                }
            },
            (None, Some(path)) => {
                let failed = |error| Failure::file("read the assertion in", path, error).into_usage();
                let file = std::fs::File::open(path).map_err(failed)?;
                // Sized first: a buffer that grows would leave pieces of the assertion behind.
                let length = file
                    .metadata()
                    .map_or(0, |metadata| metadata.len())
                    .min(MAX_BYTES);
                let mut text =
                    Zeroizing::new(String::with_capacity(usize::try_from(length).unwrap_or(0) + 1));
                file.take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
                text
            }
            (None, None) => return Ok(None),
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(Failure::usage("the assertion is empty"));
        }
        let text = Secret::new(text);
        Ok(Some(if self.saml {
            UserAssertion::saml2(text)
        } else {
            UserAssertion::jwt(text)
        }))
    }

    /// The session; `None` where none is named. `account` is the one that it must be of.
    pub(crate) fn session(&self, account: Option<&str>) -> Result<Option<SessionId>, Failure> {
        let name = match (&self.session, &self.session_env) {
            (Some(name), _) => name.clone(),
            (None, Some(variable)) => match std::env::var(variable.as_str()) {
                Ok(name) if !name.is_empty() => Secret::new(name),
                // Not the variable's name, which may be the session's ID, given in the wrong place.
                _ => {
                    return Err(Failure::usage(
                        "the environment variable that --session-env names holds no session",
                    ));
                }
            },
            (None, None) => return Ok(None),
        };
        let id = match account {
            Some(account) => SessionId::with_expected_account(name.expose(), account),
            None => SessionId::parse(name.expose()),
        };
        Ok(Some(id.map_err(flows::Error::from)?))
    }
}
