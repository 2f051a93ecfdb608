//! The one door to the network: a trait, the request and reply it carries, and the client that is used by default.
//!
//! Every rule that keeps a secret from going astray on the wire is stated at [`HttpClient`]. [`ReqwestClient`]
//! keeps them; your own client must keep them too.

#[cfg(feature = "reqwest")]
mod certificate_pin;
mod form;
mod request;
#[cfg(feature = "reqwest")]
mod reqwest_client;
mod sent_secrets;

use std::fmt;

use async_trait::async_trait;
use cache_core::secret::SecretBytes;
use url::{Host, Url};

#[cfg(feature = "reqwest")]
pub(crate) use certificate_pin::CertificatePin;
pub use form::Form;
pub use request::{HttpMethod, HttpRequest};
#[cfg(feature = "reqwest")]
pub use reqwest_client::{ReqwestClient, ReqwestClientBuilder};
pub(crate) use sent_secrets::SentSecrets;

/// Sends one HTTP request, exactly once.
///
/// # Contract
/// - **No retry**, not even of a connection that broke: a refresh token that is sent twice revokes its family.
/// - **No redirect** is followed; the 3xx reply is returned. A 307 would repost the form to wherever it points.
/// - The reply's body is at most [`HttpResponse::MAX_BODY`] bytes; a longer one is an error, found while reading.
/// - TLS 1.2 or newer. [`HttpRequest::check`] says which URLs may be used at all.
/// - No proxy where [`HttpRequest::must_be_direct`] says so: it would see, and could forge, what was meant for this machine.
/// - The request ends within [`HttpRequest::time_limit`], the last byte of the reply included.
/// - [`HttpErrorKind::NotSent`] is reported only when certainly no byte of the *request* left: name resolution,
///   connecting or the TLS handshake failed. In doubt it is [`HttpErrorKind::OutcomeUnknown`].
///
/// # Cancellation safety
/// Dropping the future abandons the request, whose outcome is then unknown.
///
/// ```
/// use std::sync::Arc;
///
/// use async_trait::async_trait;
/// use flows::http::{HttpClient, HttpError, HttpRequest, HttpResponse};
///
/// /// Counts what another client sends.
/// #[derive(Debug)]
/// struct Counting(Arc<dyn HttpClient>);
///
/// #[async_trait]
/// impl HttpClient for Counting {
///     async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
///         println!("{:?} to {}", request.method, request.url.host_str().unwrap_or_default());
///         self.0.send(request).await
///     }
/// }
/// ```
#[async_trait]
pub trait HttpClient: fmt::Debug + Send + Sync + 'static {
    /// Sends `request` and reads the whole reply, whatever its status.
    ///
    /// # Errors
    /// [`HttpError`] when there is no complete reply.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError>;
}

/// A complete reply.
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, with their values. Values that are not visible ASCII are left out.
    pub headers: Vec<(String, String)>,
    /// The body, which may hold tokens.
    pub body: SecretBytes,
}

impl HttpResponse {
    /// How many bytes a body may have: 1 MiB. An endless reply must not fill the memory.
    pub const MAX_BODY: usize = 1 << 20;

    /// The first value of the header `name` (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(candidate, _)| candidate == name)
            .map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Why there is no complete reply. It names the host, never a path, a query or a body.
pub struct HttpError {
    kind: HttpErrorKind,
    host: String,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl HttpError {
    /// An error of `kind` while talking to the host of `url`; `message` says what happened, without secrets.
    #[must_use]
    pub fn new(kind: HttpErrorKind, url: &Url, message: impl Into<String>) -> Self {
        Self {
            kind,
            host: host_and_port(url),
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn at(kind: HttpErrorKind, host: &str, message: &str) -> Self {
        Self {
            kind,
            host: host.to_owned(),
            message: message.to_owned(),
            source: None,
        }
    }

    /// Adds the cause, which must not show a URL's query or a body.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whether the server can have seen the request.
    #[must_use]
    pub fn kind(&self) -> HttpErrorKind {
        self.kind
    }

    /// The host, with its port unless it is the scheme's own.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.host, self.message)
    }
}

impl fmt::Debug for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpError")
            .field("kind", &self.kind)
            .field("host", &self.host)
            .field("message", &self.message)
            .field("source", &self.source)
            .finish()
    }
}

impl std::error::Error for HttpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Whether the server can have seen the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpErrorKind {
    /// Certainly not: no byte of it was sent.
    NotSent,
    /// It may have seen and executed it.
    OutcomeUnknown,
}

/// Why a URL may not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlRefused {
    /// Credentials would cross the network in clear text.
    #[error("only https is used, except for loopback addresses; use an https URL")]
    NotHttps,
    /// `https://user:password@host` leaks into logs, and hides the host from a hasty reader.
    #[error("a URL with a user name or password is not used; remove everything before the `@`")]
    UserInfo,
    /// There is nobody to talk to.
    #[error("the URL has no host")]
    NoHost,
}

/// Whether a request may go to `url`: HTTPS, or HTTP to a loopback address; no user info.
///
/// # Errors
/// [`UrlRefused`] says which rule the URL breaks.
pub fn is_allowed_url(url: &Url) -> Result<(), UrlRefused> {
    if !url.has_host() {
        return Err(UrlRefused::NoHost);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlRefused::UserInfo);
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(url) => Ok(()),
        _ => Err(UrlRefused::NotHttps),
    }
}

/// Whether `url` names this machine: `127.0.0.0/8`, `::1` or `localhost`.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(domain)) => domain.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

/// Whether `url` is plain HTTP to an IPv4 link-local address (RFC 3927), where a platform answers its machines: the instance metadata
/// service at `169.254.169.254`, App Service at an address and port that it names. Routers do not forward these addresses.
pub(crate) fn is_platform_address(url: &Url) -> bool {
    let is_link_local = |host: Host<&str>| matches!(host, Host::Ipv4(address) if address.is_link_local());
    url.scheme() == "http"
        && url.host().is_some_and(is_link_local)
        && url.username().is_empty()
        && url.password().is_none()
}

/// `host`, or `host:port` where the port is not the scheme's own.
pub(crate) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_or_loopback_without_user_info() {
        let check = |url: &str| is_allowed_url(&Url::parse(url).unwrap());
        for url in [
            "https://login.example/token",
            "http://127.0.0.1:8080/",
            "http://127.9.9.9/",
            "http://[::1]:1/",
            "http://localhost/",
        ] {
            assert_eq!(check(url), Ok(()), "{url}");
        }
        for (url, why) in [
            ("http://login.example/token", UrlRefused::NotHttps),
            ("http://localhost.evil.example/", UrlRefused::NotHttps),
            ("http://127.0.0.1.evil.example/", UrlRefused::NotHttps),
            ("ftp://127.0.0.1/", UrlRefused::NotHttps),
            ("https://user@login.example/", UrlRefused::UserInfo),
            ("https://login.example@evil.example/", UrlRefused::UserInfo),
            ("https://:p@login.example/", UrlRefused::UserInfo),
            ("mailto:a@b", UrlRefused::NoHost),
            ("file:///etc/passwd", UrlRefused::NoHost),
        ] {
            assert_eq!(check(url), Err(why), "{url}");
        }
    }

    #[test]
    fn an_error_names_the_host_and_nothing_else() {
        let url = Url::parse("https://login.example:8443/path-canary?code=query-canary").unwrap();
        let error = HttpError::new(HttpErrorKind::NotSent, &url, "refused");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("login.example:8443"));
        assert!(!shown.contains("canary"), "{shown}");
    }
}
