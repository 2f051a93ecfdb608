//! The options that every command accepts.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;

use crate::authority_address::AuthorityAddress;
use crate::credential_options::CredentialOptions;
use crate::key_address::KeyAddress;
use crate::redis_options::RedisOptions;
use crate::store_address::StoreAddress;

/// The options that every command accepts.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Where tokens are kept.
    #[arg(
        long,
        help = STORE_HELP,
        global = true,
        env = "TOKENKEEP_STORE",
        hide_env_values = true,
        value_name = "STORE",
        help_heading = HEADING,
    )]
    pub(crate) store: Option<StoreAddress>,

    /// What they are encrypted with: file:PATH, env:NAME (32 bytes in base64 or hexadecimal), passphrase, which is
    /// TOKENKEEP_PASSPHRASE, else asked for, or keychain (or keychain:NAME), where the operating system keeps secrets. Without a
    /// keychain that fails; keychain,else=file:PATH takes the other key where there is none when the key is made
    /// [default: a file in your configuration folder, made on first use]
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_KEY",
        hide_env_values = true,
        value_name = "KEY",
        help_heading = HEADING,
    )]
    pub(crate) key: Option<KeyAddress>,

    /// Who issues the tokens.
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_AUTHORITY",
        hide_env_values = true,
        value_name = "URL",
        help = AUTHORITY_HELP,
        help_heading = HEADING
    )]
    pub(crate) authority: Option<AuthorityAddress>,

    /// The application's ID at the authority
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_CLIENT_ID",
        hide_env_values = true,
        value_name = "ID",
        help_heading = HEADING,
    )]
    pub(crate) client_id: Option<String>,

    #[command(flatten)]
    pub(crate) redis: RedisOptions,

    #[command(flatten)]
    pub(crate) credential: CredentialOptions,

    /// What the token is for; repeat it, or separate several by spaces
    #[arg(long, env = "TOKENKEEP_SCOPE", hide_env_values = true, value_name = "SCOPE", help_heading = HEADING)]
    pub(crate) scope: Vec<String>,

    /// The account: its home account ID, or its user name where only one account bears it
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_ACCOUNT",
        hide_env_values = true,
        value_name = "ACCOUNT",
        help_heading = HEADING,
    )]
    pub(crate) account: Option<String>,

    /// Trust the certificates in this PEM file too
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_CA_CERT",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = HEADING,
    )]
    pub(crate) ca_cert: Option<PathBuf>,

    /// Print one JSON object to standard output
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_JSON",
        hide_env_values = true,
        value_parser = FalseyValueParser::new(),
        help_heading = HEADING
    )]
    pub(crate) json: bool,

    /// How long one request to the authority may take
    #[arg(
        long,
        global = true,
        env = "TOKENKEEP_REQUEST_TIMEOUT",
        hide_env_values = true,
        value_name = "SECONDS",
        default_value = "30",
        value_parser = seconds,
        help_heading = HEADING
    )]
    pub(crate) request_timeout: Duration,
}

const STORE_HELP: &str = "\
Where tokens are kept: sqlite:PATH, redis://USER@HOST:PORT/DATABASE, of which only HOST is needed (rediss:// with TLS, redis+unix://, \
redis-sentinel://, redis-cluster://), keychain (or keychain:NAME) for a few accounts in the operating system's keychain, or memory: for \
this process only. A password in the URL is refused here, as others see the command line. Not encrypted by this program, because others \
read and write them: azure-cli (the Azure CLI's sign-in; it needs no --authority and no --client-id), msal-file:PATH, and \
msal-secret-service:service=NAME,account=NAME (MSAL Node) or msal-secret-service:schema=NAME,ATTRIBUTE=VALUE (MSAL Python) with \
path=PATH where its programs name one [default: a file in your data folder]";

const AUTHORITY_HELP: &str = "\
Who issues the tokens: a URL such as https://login.microsoftonline.com/common or the issuer of an OpenID provider. The \
kind is told from the URL; write entra:URL, oidc:URL, b2c:URL, ciam:URL or adfs:URL where that is wrong";

pub(crate) const HEADING: &str = "Options of every command";

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give seconds, 0.1 to 600".to_owned()),
    }
}
