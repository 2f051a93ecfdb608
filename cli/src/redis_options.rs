//! How the program logs in to Redis and what it asks of it, beside what the URL says.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap::parser::ValueSource;

use crate::credential_options::CredentialFile;

const HEADING: &str = "Options of stores in Redis";

/// The ids of the options, to tell whether one was given.
const IDS: [&str; 8] = [
    "redis_password_file",
    "redis_sentinel_user",
    "redis_sentinel_password_file",
    "redis_ca_cert",
    "redis_client_cert",
    "redis_client_key",
    "redis_key_prefix",
    "redis_durability",
];

/// The variable that holds the password.
pub(crate) const PASSWORD_VARIABLE: &str = "TOKENKEEP_REDIS_PASSWORD";

/// The variable that holds the password of the Sentinels.
pub(crate) const SENTINEL_PASSWORD_VARIABLE: &str = "TOKENKEEP_REDIS_SENTINEL_PASSWORD";

/// None of them is a secret: what stands in a command line can be read by every process of the machine.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RedisOptions {
    /// The file with the password, which nobody else can read; the environment variable TOKENKEEP_REDIS_PASSWORD may hold the
    /// password itself
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_REDIS_PASSWORD_FILE",
        allow_hyphen_values = true,
        hide_env_values = true,
        value_name = "FILE",
        help_heading = HEADING,
    )]
    pub(crate) redis_password_file: Option<CredentialFile>,

    /// The user at the Sentinels, whose users are not those of the servers [default: the one without a name]
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_REDIS_SENTINEL_USER",
        hide_env_values = true,
        value_name = "USER",
        help_heading = HEADING,
    )]
    pub(crate) redis_sentinel_user: Option<String>,

    /// The file with the password of the Sentinels, which nobody else can read; the environment variable
    /// TOKENKEEP_REDIS_SENTINEL_PASSWORD may hold the password itself
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_REDIS_SENTINEL_PASSWORD_FILE",
        allow_hyphen_values = true,
        hide_env_values = true,
        value_name = "FILE",
        help_heading = HEADING,
    )]
    pub(crate) redis_sentinel_password_file: Option<CredentialFile>,

    /// Trust the certificates in this PEM file, and no others
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_REDIS_CA_CERT",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = HEADING,
    )]
    pub(crate) redis_ca_cert: Option<PathBuf>,

    /// The certificate (PEM) by which this program proves who it is
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_REDIS_CLIENT_CERT",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = HEADING,
    )]
    pub(crate) redis_client_cert: Option<PathBuf>,

    /// The private key (PEM) of --redis-client-cert, which nobody else can read
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_REDIS_CLIENT_KEY",
        allow_hyphen_values = true,
        hide_env_values = true,
        value_name = "FILE",
        help_heading = HEADING,
    )]
    pub(crate) redis_client_key: Option<CredentialFile>,

    /// What every key and channel of the store begins with [default: tokenkeep:]
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_REDIS_KEY_PREFIX",
        hide_env_values = true,
        value_name = "PREFIX",
        help_heading = HEADING,
    )]
    pub(crate) redis_key_prefix: Option<String>,

    /// What a write waits for: acknowledged (by the primary), or replicated:N (by N replicas too), or replicated:N:SECONDS with a time limit [default: acknowledged]
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_REDIS_DURABILITY",
        hide_env_values = true,
        value_name = "MODE",
        help_heading = HEADING,
    )]
    pub(crate) redis_durability: Option<RedisDurability>,
}

/// The option on the command line, if there is one, that only a store in Redis has a use for. From the environment they may come for
/// other runs.
pub(crate) fn first_given(source: impl Fn(&str) -> Option<ValueSource>) -> Option<String> {
    let given = IDS
        .iter()
        .find(|id| source(id) == Some(ValueSource::CommandLine))?;
    Some(format!("--{}", given.replace('_', "-")))
}

/// What a write waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum RedisDurability {
    Acknowledged,
    Replicated { replicas: usize, timeout: Duration },
}

impl FromStr for RedisDurability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "acknowledged" {
            return Ok(Self::Acknowledged);
        }
        let replicated = || {
            let rest = text.strip_prefix("replicated:")?;
            let (replicas, timeout) = match rest.split_once(':') {
                Some((replicas, seconds)) => (replicas, seconds.parse::<f64>().ok()?),
                None => (rest, 1.0),
            };
            let replicas = replicas.parse().ok().filter(|count| (1..=100).contains(count))?;
            let timeout = (0.001..=60.0)
                .contains(&timeout)
                .then(|| Duration::from_secs_f64(timeout))?;
            Some(Self::Replicated { replicas, timeout })
        };
        replicated().ok_or_else(|| {
            "give acknowledged, or replicated:N or replicated:N:SECONDS (1 to 100 replicas, 0.001 to 60 seconds)".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durability_is_named() {
        let replicated = |replicas, milliseconds| RedisDurability::Replicated {
            replicas,
            timeout: Duration::from_millis(milliseconds),
        };
        for (text, expected) in [
            ("acknowledged", RedisDurability::Acknowledged),
            ("replicated:1", replicated(1, 1000)),
            ("replicated:2:0.5", replicated(2, 500)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in [
            "",
            "replicated",
            "replicated:",
            "replicated:0",
            "replicated:1:",
            "replicated:1:0",
            "replicated:x",
        ] {
            assert!(text.parse::<RedisDurability>().is_err(), "{text}");
        }
    }
}
