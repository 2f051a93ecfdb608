//! The default client: reqwest with rustls, held to the contract of [`HttpClient`].

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::secret::{Secret, SecretBytes};
use cache_core::time::{Clock, SystemClock, with_deadline};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use url::Url;
use zeroize::Zeroizing;

use super::{CertificatePin, HttpClient, HttpError, HttpErrorKind, HttpMethod, HttpRequest, HttpResponse};
use crate::error::ConfigurationError;

/// The default [`HttpClient`].
///
/// - Certificates are checked by the platform's verifier and trust store; add an authority of your own with
///   [`ReqwestClientBuilder::ca_certificates`].
/// - The proxy of the environment (`HTTPS_PROXY`, `NO_PROXY` …) is used, but **never for loopback addresses**: a
///   proxy would see what was meant for this machine, and never for its metadata service.
///   [`ReqwestClientBuilder::proxy`] names another, [`ReqwestClientBuilder::no_proxy`] turns it off.
/// - Each request opens its own connection. A kept one may be closed by the server at the very moment a refresh
///   token is written to it, and then nobody knows whether the token was spent.
/// - HTTP/1.1, no cookies, no content decoding, no `Referer`.
///
/// ```
/// # fn main() -> Result<(), flows::Error> {
/// use flows::http::ReqwestClient;
///
/// let http = ReqwestClient::builder().user_agent("my-tool/1.0").build()?;
/// # let _ = http; Ok(()) }
/// ```
#[derive(Clone)]
pub struct ReqwestClient {
    /// For loopback addresses and managed identities: no proxy, and `localhost` means this machine whatever DNS says.
    direct: reqwest::Client,
    /// For link-local addresses, which are on this host or nowhere: without an answer at once there is none.
    link_local: reqwest::Client,
    remote: reqwest::Client,
    clock: Arc<dyn Clock>,
}

/// How long a connection to a link-local address may take. Outside a cloud, packets to it are lost without a word.
const LINK_LOCAL_CONNECT: Duration = Duration::from_secs(2);

impl ReqwestClient {
    /// A client with the defaults.
    ///
    /// # Errors
    /// [`ConfigurationError`] when TLS cannot be set up, as on a system without any trusted certificate.
    pub fn new() -> Result<Self, ConfigurationError> {
        Self::builder().build()
    }

    /// A client to configure.
    #[must_use]
    pub fn builder() -> ReqwestClientBuilder {
        ReqwestClientBuilder::default()
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let client = if request.is_link_local() {
            &self.link_local
        } else if request.must_be_direct() {
            &self.direct
        } else {
            &self.remote
        };
        let mut builder = match request.method {
            HttpMethod::Get => client.get(request.url.clone()),
            HttpMethod::Post => client.post(request.url.clone()),
        };
        builder = builder.headers(headers(&request)?);
        if let Some(form) = request.form {
            // The bytes are handed over with their owner, so they are wiped when the transport drops them.
            builder = builder.body(Bytes::from_owner(Body(form)));
        }
        let response = builder
            .send()
            .await
            .map_err(|error| not_answered(&request.url, error))?;
        read(&request.url, response).await
    }
}

impl fmt::Debug for ReqwestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestClient").finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for ReqwestClient {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        request.check()?;
        let url = request.url.clone();
        with_deadline(&*self.clock, request.time_limit, self.exchange(request))
            .await
            .unwrap_or_else(|| {
                Err(HttpError::new(
                    HttpErrorKind::OutcomeUnknown,
                    &url,
                    "no complete reply within the time limit",
                ))
            })
    }
}

/// Configures a [`ReqwestClient`].
///
/// ```no_run
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use cache_core::secret::Secret;
/// use flows::http::{HttpClient, ReqwestClient};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let http = ReqwestClient::builder()
///     .ca_certificates(std::fs::read("/etc/ssl/company.pem")?)
///     .proxy(Secret::new("http://me:password@proxy.example:3128"))
///     .connect_timeout(Duration::from_secs(5))
///     .build()?;
/// let http: Arc<dyn HttpClient> = Arc::new(http); // what the builders of clients take
/// # let _ = http; Ok(()) }
/// ```
pub struct ReqwestClientBuilder {
    ca_certificates: Vec<Vec<u8>>,
    pin: Option<CertificatePin>,
    proxy: ProxyChoice,
    connect_timeout: Duration,
    user_agent: String,
    clock: Arc<dyn Clock>,
}

enum ProxyChoice {
    Environment,
    /// Its URL may hold a password.
    Given(Secret),
    None,
}

impl ReqwestClientBuilder {
    /// Trusts the certificates of `pem` too, which may hold several. They add to the platform's.
    #[must_use]
    pub fn ca_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_certificates.push(pem.into());
        self
    }

    /// Uses this HTTP proxy (`http://host:port`, with a user name and a password if it wants them) instead of that of the environment.
    /// Requests go through a tunnel (`CONNECT`), so it sees the host that is asked and nothing of what is said. As with the environment's,
    /// loopback addresses are reached directly.
    #[must_use]
    pub fn proxy(mut self, url: impl Into<Secret>) -> Self {
        self.proxy = ProxyChoice::Given(url.into());
        self
    }

    /// Trusts the one certificate of `pin`, and no certification authority.
    #[must_use]
    pub(crate) fn certificate_pin(mut self, pin: CertificatePin) -> Self {
        self.pin = Some(pin);
        self
    }

    /// Ignores the proxy of the environment.
    #[must_use]
    pub fn no_proxy(mut self) -> Self {
        self.proxy = ProxyChoice::None;
        self
    }

    /// How long connecting and the TLS handshake may take; 10 seconds unless set, and never more than 2 to the link-local
    /// address of a platform, where programs elsewhere would wait for nobody. A request that fails there was
    /// certainly not sent, so a limit well below the request's own turns unknown outcomes into known ones.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// What the client calls itself; `tokenkeep/` and the version unless set.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// Where time limits come from.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The client.
    ///
    /// # Errors
    /// [`ConfigurationError`] when a certificate cannot be read, the proxy's URL is none, the user agent is no header
    /// value or TLS cannot be set up.
    pub fn build(self) -> Result<ReqwestClient, ConfigurationError> {
        let mut authorities = Vec::new();
        for pem in &self.ca_certificates {
            let found = reqwest::Certificate::from_pem_bundle(pem).map_err(|error| {
                ConfigurationError::new("the CA certificates cannot be read; give them as PEM")
                    .with_source(error)
            })?;
            if found.is_empty() {
                return Err(ConfigurationError::new(
                    "the CA file holds no PEM certificate; it should have a `BEGIN CERTIFICATE` line",
                ));
            }
            authorities.extend(found);
        }
        let pinned = self.pin.map(CertificatePin::client_config).transpose()?;
        let builder = || {
            let builder = reqwest::Client::builder();
            let builder = match &pinned {
                Some(config) => builder.tls_backend_preconfigured(config.clone()),
                None => builder
                    .tls_backend_rustls()
                    .tls_version_min(reqwest::tls::Version::TLS_1_2)
                    .tls_certs_merge(authorities.clone()),
            };
            builder
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .http1_only()
                .pool_max_idle_per_host(0)
                .connect_timeout(self.connect_timeout)
                .user_agent(&self.user_agent)
        };
        let build = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|error| {
                ConfigurationError::new("the HTTP client cannot be set up").with_source(error.without_url())
            })
        };
        let this_machine = [
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
        ];
        let remote = match &self.proxy {
            ProxyChoice::Environment => builder(),
            ProxyChoice::None => builder().no_proxy(),
            ProxyChoice::Given(url) => {
                // The cause would show the URL, and a password in it.
                let proxy = reqwest::Proxy::all(url.expose()).map_err(|_| {
                    ConfigurationError::new("the proxy is no URL; give it as http://host:port")
                })?;
                // Taking the environment's away first, else `NO_PROXY` and its like would still count.
                builder().no_proxy().proxy(proxy)
            }
        };
        Ok(ReqwestClient {
            // Plain HTTP alone goes there, so it needs no certificates, which take a while to load.
            link_local: build(
                builder()
                    .no_proxy()
                    .tls_certs_only([])
                    .connect_timeout(self.connect_timeout.min(LINK_LOCAL_CONNECT)),
            )?,
            direct: build(builder().no_proxy().resolve_to_addrs("localhost", &this_machine))?,
            remote: build(remote)?,
            clock: self.clock,
        })
    }
}

impl Default for ReqwestClientBuilder {
    fn default() -> Self {
        Self {
            ca_certificates: Vec::new(),
            pin: None,
            proxy: ProxyChoice::Environment,
            connect_timeout: Duration::from_secs(10),
            user_agent: concat!("tokenkeep/", env!("CARGO_PKG_VERSION")).to_owned(),
            clock: Arc::new(SystemClock),
        }
    }
}

impl fmt::Debug for ReqwestClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestClientBuilder")
            .field("connect_timeout", &self.connect_timeout)
            .field("user_agent", &self.user_agent)
            .finish_non_exhaustive()
    }
}

struct Body(SecretBytes);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

fn headers(request: &HttpRequest) -> Result<HeaderMap, HttpError> {
    let mut headers = HeaderMap::new();
    if request.form.is_some() {
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
    }
    for (name, value) in &request.headers {
        let (name, value) = header(name, value).ok_or_else(|| {
            let message = format!("the header `{name}` has characters that HTTP does not allow");
            HttpError::new(HttpErrorKind::NotSent, &request.url, message)
        })?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn header(name: &str, value: &Secret) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let mut value = HeaderValue::from_str(value.expose()).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

/// Connecting covers name resolution, TCP, a proxy's tunnel and the TLS handshake: all of it happens before the
/// first byte of the request, and nothing after it is reported as a connect error.
fn not_answered(url: &Url, error: reqwest::Error) -> HttpError {
    let error = error.without_url();
    if error.is_builder() || error.is_connect() {
        let message = if error.is_dns() {
            "the host name cannot be resolved"
        } else if error.is_timeout() {
            "no connection within the time limit"
        } else {
            "no connection could be made"
        };
        return HttpError::new(HttpErrorKind::NotSent, url, message).with_source(error);
    }
    HttpError::new(
        HttpErrorKind::OutcomeUnknown,
        url,
        "the connection broke before a reply came",
    )
    .with_source(error)
}

async fn read(url: &Url, mut response: reqwest::Response) -> Result<HttpResponse, HttpError> {
    let too_long = || {
        let message = format!("the reply is longer than {} bytes", HttpResponse::MAX_BODY);
        HttpError::new(HttpErrorKind::OutcomeUnknown, url, message)
    };
    let announced = response.content_length().unwrap_or(0);
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    if announced > HttpResponse::MAX_BODY {
        return Err(too_long());
    }
    let status = response.status().as_u16();
    let headers = response
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    let mut body = Zeroizing::new(Vec::with_capacity(announced.max(8 * 1024)));
    loop {
        let chunk = response.chunk().await.map_err(|error| {
            HttpError::new(
                HttpErrorKind::OutcomeUnknown,
                url,
                "the connection broke before the reply was complete",
            )
            .with_source(error.without_url())
        })?;
        let Some(chunk) = chunk else { break };
        if body.len() + chunk.len() > HttpResponse::MAX_BODY {
            return Err(too_long());
        }
        append(&mut body, &chunk);
    }
    Ok(HttpResponse {
        status,
        headers,
        body: SecretBytes::new(std::mem::take(&mut *body)),
    })
}

/// Appends without leaving an unwiped copy behind, as `Vec` does when it grows.
fn append(body: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    if body.capacity() - body.len() < chunk.len() {
        let mut larger = Vec::with_capacity((body.capacity() * 2).max(body.len() + chunk.len()));
        larger.extend_from_slice(body);
        *body = Zeroizing::new(larger);
    }
    body.extend_from_slice(chunk);
}
