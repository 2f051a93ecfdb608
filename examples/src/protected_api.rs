//! The API that wants a token of the user.

use std::fmt;
use std::time::Duration;

use cache_core::secret::Secret;
use flows::AuthenticationResult;
use flows::challenge::BearerChallenge;
use flows::error::ChallengeError;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use url::Url;

/// How long the API may take to answer in full.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// How many bytes of an answer are read.
const MOST_BYTES: usize = 64 * 1024;

/// An API at a URL.
#[derive(Clone)]
pub struct ProtectedApi {
    url: Url,
    http: reqwest::Client,
}

impl ProtectedApi {
    /// The API at `url`, whose certificate may be vouched for by those of `ca_certificates` (PEM).
    ///
    /// # Errors
    /// [`ProtectedApiError`] for a URL that a token may not be sent to, and for certificates that cannot be read.
    pub fn new(url: Url, ca_certificates: Option<&[u8]>) -> Result<Self, ProtectedApiError> {
        let is_loopback = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback) {
            return Err(ProtectedApiError::NotHttps);
        }
        let authorities = ca_certificates
            .map(reqwest::Certificate::from_pem_bundle)
            .transpose()
            .map_err(ProtectedApiError::setup)?
            .unwrap_or_default();
        let mut http = reqwest::Client::builder();
        if is_loopback {
            // The environment's proxy is for other machines, and would see a token in clear.
            http = http.no_proxy();
        }
        let http = http
            .tls_backend_rustls()
            .tls_certs_merge(authorities)
            // A redirect would take the token to an address that nobody chose.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .timeout(TIME_LIMIT)
            .build()
            .map_err(ProtectedApiError::setup)?;
        Ok(Self { url, http })
    }

    /// Asks the API with `token`.
    ///
    /// # Errors
    /// [`ProtectedApiError`] when there is no whole answer; none shows the token, nor what the API answered.
    pub async fn ask(&self, token: &AuthenticationResult) -> Result<ApiAnswer, ProtectedApiError> {
        let mut response = self
            .http
            .get(self.url.clone())
            .header(AUTHORIZATION, sensitive(&token.authorization_header())?)
            .send()
            .await
            .map_err(ProtectedApiError::exchange)?;
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            let headers = response.headers().get_all(WWW_AUTHENTICATE);
            let challenge = BearerChallenge::find(headers.iter().filter_map(|value| value.to_str().ok()))?;
            return Ok(ApiAnswer::Challenged(challenge));
        }
        if !status.is_success() {
            return Ok(ApiAnswer::Refused(status.as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(ProtectedApiError::exchange)? {
            if body.len() + chunk.len() > MOST_BYTES {
                return Err(ProtectedApiError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(ApiAnswer::Answered(String::from_utf8_lossy(&body).into_owned()))
    }
}

impl fmt::Debug for ProtectedApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtectedApi")
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}

/// What the API made of a token.
#[derive(Debug)]
pub enum ApiAnswer {
    /// It took the token.
    Answered(String),
    /// It wants another token (401), and may have said which.
    Challenged(Option<BearerChallenge>),
    /// It refused or failed, with this status, whatever the token.
    Refused(u16),
}

/// Why the API gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProtectedApiError {
    /// The token would go through the network in clear.
    #[error("the API's URL is not https, and not on this machine")]
    NotHttps,
    /// The HTTP client.
    #[error("the HTTP client cannot be set up")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer, or half of one.
    #[error("the API did not answer")]
    Exchange(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// More than anybody wants to read.
    #[error("the API's answer is longer than {MOST_BYTES} bytes")]
    TooLong,
    /// The token is no header value.
    #[error("the token cannot be sent in a header")]
    Token,
    /// The API's demand cannot be read.
    #[error("the API's challenge cannot be read")]
    Challenge(#[from] ChallengeError),
}

impl ProtectedApiError {
    fn setup(error: reqwest::Error) -> Self {
        Self::Setup(Box::new(error.without_url()))
    }

    /// Without the URL, whose query may say what was asked for whom.
    fn exchange(error: reqwest::Error) -> Self {
        Self::Exchange(Box::new(error.without_url()))
    }
}

/// The value, marked so that nothing below logs or indexes it.
fn sensitive(value: &Secret) -> Result<HeaderValue, ProtectedApiError> {
    let mut value = HeaderValue::from_str(value.expose()).map_err(|_| ProtectedApiError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_over_tls_or_stays_on_the_machine() {
        for (url, may) in [
            ("https://api.example/things", true),
            ("http://127.0.0.1:8080/", true),
            ("http://[::1]:8080/", true),
            ("http://localhost:8080/", true),
            ("http://api.example/", false),
            ("http://localhost.example/", false),
            ("ftp://127.0.0.1/", false),
        ] {
            let made = ProtectedApi::new(url.parse().unwrap(), None);
            assert_eq!(made.is_ok(), may, "{url}");
        }
    }
}
