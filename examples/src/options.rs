//! What both programs are told: where the cache is, what protects it, and whom it is for.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use flows::authority::Authority;
use flows::error::ConfigurationError;
use url::Url;

use crate::secret_address::SecretAddress;
use crate::store_address::StoreAddress;

/// The options of the shared cache. All programs on one cache are given the same.
#[derive(Args, Clone, Debug)]
pub struct CacheOptions {
    /// Where the cache is kept: sqlite:PATH, or the URL of Redis or Valkey
    #[arg(long, env = "EXAMPLE_STORE", hide_env_values = true)]
    pub store: StoreAddress,

    /// Where the password of a Redis store comes from, if it has one: file:PATH or env:NAME
    #[arg(long, env = "EXAMPLE_REDIS_PASSWORD", hide_env_values = true)]
    pub redis_password: Option<SecretAddress>,

    /// Where the key that the cache is sealed under comes from: file:PATH or env:NAME
    #[arg(long, env = "EXAMPLE_KEY", hide_env_values = true)]
    pub key: SecretAddress,

    /// Who signs the users in: the issuer's URL, with `oidc:`, `entra:`, `b2c:`, `ciam:` or `adfs:` before it where the kind cannot be told from it
    #[arg(long, env = "EXAMPLE_AUTHORITY")]
    pub authority: AuthorityAddress,

    /// The client ID of this application there
    #[arg(long, env = "EXAMPLE_CLIENT_ID")]
    pub client_id: String,

    /// Where the application's secret comes from: file:PATH or env:NAME
    #[arg(long, env = "EXAMPLE_CLIENT_SECRET", hide_env_values = true)]
    pub client_secret: SecretAddress,

    /// What the protected API wants a token for; may be given more than once
    #[arg(
        long = "scope",
        env = "EXAMPLE_SCOPES",
        value_delimiter = ' ',
        required = true
    )]
    pub scopes: Vec<String>,

    /// The protected API that is called for the user
    #[arg(long, env = "EXAMPLE_API")]
    pub api: Url,

    /// Certificates (PEM) of authorities that are trusted: beside the system's for the issuer and the API, alone for a Redis store
    /// over TLS
    #[arg(long, env = "EXAMPLE_CA_CERTIFICATES")]
    pub ca_certificates: Option<PathBuf>,
}

/// `--authority`: an authority, of a kind that was named or is told from its URL.
#[derive(Clone, Debug)]
pub struct AuthorityAddress(pub Authority);

impl FromStr for AuthorityAddress {
    type Err = ConfigurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let authority = match text.split_once(':') {
            Some(("oidc", url)) => Authority::oidc(url),
            Some(("entra", url)) => Authority::entra(url),
            Some(("b2c", url)) => Authority::b2c(url),
            Some(("ciam", url)) => Authority::ciam(url),
            Some(("adfs", url)) => Authority::adfs(url),
            _ => Authority::detect(text),
        };
        authority.map(Self)
    }
}
