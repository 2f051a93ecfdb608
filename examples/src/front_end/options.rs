//! What the front end is told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use flows::request::authorization_code::Prompt;
use url::Url;

use super::{ReturnAddress, SessionLimits};
use crate::options::CacheOptions;

/// Signs users in, and calls an API for them.
#[derive(Parser, Clone, Debug)]
#[command(name = "front-end")]
pub struct Options {
    /// The cache.
    #[command(flatten)]
    pub cache: CacheOptions,

    /// Where browsers reach this application: `https://` and a host, with a port where it is not 443
    #[arg(long)]
    pub public_url: PublicUrl,

    /// The address to listen at
    #[arg(long, default_value = "127.0.0.1:8443")]
    pub listen: SocketAddr,

    /// How browsers are spoken to.
    #[command(flatten)]
    pub tls: TlsOptions,

    /// A page that a sign-in may lead back to, beside those that are there; may be given more than once
    #[arg(long = "return-to")]
    pub return_to: Vec<ReturnAddress>,

    /// What the issuer asks of the user at each sign-in. Some issuers grant no refresh token without `consent`
    #[arg(long)]
    pub prompt: Option<AskFor>,

    /// After how many seconds without a request a session ends
    #[arg(long, default_value = "1800", value_parser = seconds)]
    pub session_idle: Duration,

    /// After how many seconds a session ends in any case
    #[arg(long, default_value = "28800", value_parser = seconds)]
    pub session_lifetime: Duration,
}

impl Options {
    /// How long sessions last.
    #[must_use]
    pub fn session_limits(&self) -> SessionLimits {
        SessionLimits {
            idle: self.session_idle,
            absolute: self.session_lifetime,
        }
    }
}

/// TLS here, or by a proxy in front: there is no third way, as browsers keep `Secure` cookies to TLS.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = true)]
pub struct TlsOptions {
    /// The certificate (PEM), with those that vouch for it
    #[arg(long, requires = "tls_key", conflicts_with = "behind_tls_proxy")]
    pub tls_certificate: Option<PathBuf>,

    /// The private key of the certificate (PEM)
    #[arg(long, requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,

    /// A proxy on this machine does TLS, and speaks HTTP to a loopback address here
    #[arg(long)]
    pub behind_tls_proxy: bool,
}

/// `--public-url`: an origin over TLS. Addresses that are given out are made from it and never from a request's `Host`, which
/// whoever sends the request chooses.
#[derive(Clone, Debug)]
pub struct PublicUrl(Url);

impl PublicUrl {
    /// The address of `path` here.
    #[must_use]
    pub fn with_path(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(path);
        url
    }

    /// The origin, as browsers write it in `Origin`.
    #[must_use]
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// Whether it is a developer's machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let is_origin = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let is_bare = url.username().is_empty() && url.password().is_none();
        if url.scheme() != "https" || url.host().is_none() || !is_origin || !is_bare {
            return Err("give https://HOST or https://HOST:PORT, without a path".to_owned());
        }
        Ok(Self(url))
    }
}

/// `--prompt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AskFor {
    /// To sign in, whatever session there is.
    Login,
    /// To consent.
    Consent,
    /// To choose an account.
    SelectAccount,
}

impl From<AskFor> for Prompt {
    fn from(asked: AskFor) -> Self {
        match asked {
            AskFor::Login => Self::Login,
            AskFor::Consent => Self::Consent,
            AskFor::SelectAccount => Self::SelectAccount,
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("give a whole number of seconds, 1 or more".to_owned()),
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_origin_over_tls_is_a_public_url() {
        let url: PublicUrl = "https://app.example:8443".parse().unwrap();
        assert_eq!(url.origin(), "https://app.example:8443");
        assert_eq!(url.with_path("/a").as_str(), "https://app.example:8443/a");
        assert_eq!(
            "https://app.example:443/".parse::<PublicUrl>().unwrap().origin(),
            "https://app.example"
        );
        for text in [
            "http://app.example",
            "https://app.example/a",
            "https://a@app.example",
            "app.example",
            "https://a/?b",
        ] {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
    }
}
