//! The endpoints that Azure gives programs their managed identities by, on loopback.
//!
//! Each follows its public contract to the letter: the path, the method, the header, the `api-version` and the names of the
//! parameters must be right, and nothing else may be there. What a real endpoint would let pass by chance is refused here.
//!
//! ```
//! use std::sync::Arc;
//! use cache_core::time::SystemClock;
//! use cache_testkit::managed_identity::{ManagedIdentityEndpoint, Platform};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let endpoint = ManagedIdentityEndpoint::start(Platform::AppService, Arc::new(SystemClock)).await?;
//! // What a program on that platform finds in its environment:
//! assert_eq!(endpoint.variables()[0].0, "IDENTITY_ENDPOINT");
//! assert!(endpoint.requests().is_empty());
//! # Ok::<(), std::io::Error>(())
//! # })?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod certificate;
mod contract;
mod server;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::time::Clock;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use certificate::ServerCertificate;

/// The client ID of the one user-assigned identity that there is.
pub const CLIENT_ID: &str = "c1c1c1c1-0000-4000-8000-000000000001";
/// Its object ID.
pub const OBJECT_ID: &str = "0b0b0b0b-0000-4000-8000-000000000002";
/// Its resource ID.
pub const RESOURCE_ID: &str = "/subscriptions/5b5b5b5b-0000-4000-8000-000000000003/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one";

/// The secret that the platform shares with its programs, where it has one.
pub const SECRET: &str = "canary-platform-secret";

/// A place that gives programs identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Service Fabric: HTTPS with a self-signed certificate.
    ServiceFabric,
    /// App Service.
    AppService,
    /// Azure Machine Learning.
    AzureMl,
    /// Cloud Shell.
    CloudShell,
    /// Azure Arc.
    AzureArc {
        /// Where the agent writes its keys.
        key_folder: PathBuf,
    },
    /// The instance metadata service of a virtual machine.
    Imds,
}

/// How a reply says when its token expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// `expires_in` and `expires_on`, both as strings.
    InAndOn,
    /// `expires_on` as a number.
    OnNumber,
    /// `expires_on` as a string of digits.
    OnDigits,
    /// `expires_on` as this text, such as a date.
    OnText(&'static str),
    /// `expires_in` as a number.
    In,
}

/// What becomes of a request in place of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// This status, with a body that the platform might send.
    Status(u16),
    /// This status, and a `Retry-After` of so many seconds.
    RetryAfter(u16, u64),
    /// A reply of 200 with this body.
    Body(&'static str),
    /// The connection is closed.
    Close,
}

/// A request as it came.
#[derive(Clone)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The parameters of the query, and of the form of a POST.
    pub parameters: Vec<(String, String)>,
    /// The headers, their names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Asked {
    /// The value of the parameter `name`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        find(&self.parameters, name)
    }

    /// The value of the header `name`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

/// Headers may be secrets.
impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = pairs.iter().find(|(candidate, _)| candidate == name);
    found.map(|(_, value)| value.as_str())
}

/// A running endpoint. Dropping it closes it.
pub struct ManagedIdentityEndpoint {
    core: Arc<Core>,
    port: u16,
    thumbprint: Option<String>,
    server: JoinHandle<()>,
}

struct Core {
    platform: Platform,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    requests: Vec<Asked>,
    tokens: u64,
    failures: VecDeque<Failure>,
    lifetime: Duration,
    expiry: Expiry,
    challenge: Option<String>,
    key: Option<String>,
    key_padding: usize,
}

impl ManagedIdentityEndpoint {
    /// Starts the endpoint of `platform` on a free port of 127.0.0.1. `clock` says when tokens expire.
    ///
    /// # Errors
    /// When there is no port, or no certificate can be made.
    pub async fn start(platform: Platform, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let certificate = match platform {
            Platform::ServiceFabric => Some(ServerCertificate::new()?),
            _ => None,
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let core = Arc::new(Core {
            platform,
            clock,
            state: Mutex::new(State {
                requests: Vec::new(),
                tokens: 0,
                failures: VecDeque::new(),
                lifetime: Duration::from_secs(3600),
                expiry: Expiry::InAndOn,
                challenge: None,
                key: None,
                key_padding: 0,
            }),
        });
        let tls = certificate
            .as_ref()
            .map(|certificate| Arc::clone(&certificate.tls));
        Ok(Self {
            server: tokio::spawn(server::serve(Arc::clone(&core), listener, tls)),
            thumbprint: certificate.map(|certificate| certificate.thumbprint),
            core,
            port,
        })
    }

    /// The environment variables that the platform sets.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let scheme = if self.thumbprint.is_some() {
            "https"
        } else {
            "http"
        };
        let origin = format!("{scheme}://127.0.0.1:{}", self.port);
        let url = format!("{origin}{}", contract::path(&self.core.platform));
        match &self.core.platform {
            Platform::ServiceFabric => vec![
                ("IDENTITY_ENDPOINT", url),
                ("IDENTITY_HEADER", SECRET.to_owned()),
                (
                    "IDENTITY_SERVER_THUMBPRINT",
                    self.thumbprint.clone().unwrap_or_default(),
                ),
            ],
            Platform::AppService => vec![
                ("IDENTITY_ENDPOINT", url.clone()),
                ("IDENTITY_HEADER", SECRET.to_owned()),
                // The older names are there too.
                ("MSI_ENDPOINT", url),
                ("MSI_SECRET", SECRET.to_owned()),
            ],
            Platform::AzureMl => vec![("MSI_ENDPOINT", url), ("MSI_SECRET", SECRET.to_owned())],
            Platform::CloudShell => vec![("MSI_ENDPOINT", url)],
            Platform::AzureArc { .. } => vec![("IDENTITY_ENDPOINT", url), ("IMDS_ENDPOINT", origin)],
            Platform::Imds => vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", origin)],
        }
    }

    /// The value of the variable `name`, as [`variables`](Self::variables) lists it.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        let all = self.variables();
        all.into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// The requests so far, those that were refused or that failed too.
    #[must_use]
    pub fn requests(&self) -> Vec<Asked> {
        self.core.state().requests.clone()
    }

    /// How many tokens were given.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.core.state().tokens
    }

    /// Lets the next request that is not already promised a failure fail.
    pub fn fail_next(&self, failure: Failure) {
        self.core.state().failures.push_back(failure);
    }

    /// Sets how long the tokens of now on live; an hour unless set.
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.core.state().lifetime = lifetime;
    }

    /// Sets how replies say when their tokens expire.
    pub fn set_expiry(&self, expiry: Expiry) {
        self.core.state().expiry = expiry;
    }

    /// Sets the `WWW-Authenticate` header of Azure Arc's challenge, in place of one that names a key.
    pub fn set_challenge(&self, challenge: impl Into<String>) {
        self.core.state().challenge = Some(challenge.into());
    }

    /// Makes the keys of Azure Arc longer by so many bytes.
    pub fn pad_keys(&self, bytes: usize) {
        self.core.state().key_padding = bytes;
    }
}

impl Drop for ManagedIdentityEndpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl fmt::Debug for ManagedIdentityEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedIdentityEndpoint")
            .field("platform", &self.core.platform)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl Core {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
