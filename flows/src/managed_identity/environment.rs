//! What the platform left for programs to find its endpoint by.

use std::fmt;
use std::path::{Path, PathBuf};

use cache_core::secret::Secret;

/// The environment variables and files by which a platform makes its endpoint known, as they were when it was made.
///
/// ```
/// use flows::managed_identity::ManagedIdentityEnvironment;
///
/// // In a program:
/// let environment = ManagedIdentityEnvironment::from_process();
/// // In a test:
/// let environment = ManagedIdentityEnvironment::of(|name| match name {
///     "MSI_ENDPOINT" => Some("http://127.0.0.1:50342/oauth2/token".to_owned()),
///     _ => None,
/// });
/// ```
#[derive(Clone)]
pub struct ManagedIdentityEnvironment {
    pub(super) identity_endpoint: Option<String>,
    pub(super) identity_header: Option<Secret>,
    pub(super) identity_server_thumbprint: Option<String>,
    pub(super) imds_endpoint: Option<String>,
    pub(super) msi_endpoint: Option<String>,
    pub(super) msi_secret: Option<Secret>,
    pub(super) default_identity_client_id: Option<String>,
    pub(super) pod_identity_authority_host: Option<String>,
    pub(super) arc_agent: bool,
    pub(super) arc_key_folder: PathBuf,
}

impl ManagedIdentityEnvironment {
    /// This process's variables, and whether the agent of Azure Arc is installed.
    #[must_use]
    pub fn from_process() -> Self {
        let mut environment = Self::of(|name| std::env::var(name).ok());
        environment.arc_agent = arc_program().is_some_and(|path| path.exists());
        environment
    }

    /// The variables that `variable` knows, by their names. An empty value counts as none.
    #[must_use]
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        Self {
            identity_endpoint: variable("IDENTITY_ENDPOINT"),
            identity_header: variable("IDENTITY_HEADER").map(Secret::new),
            identity_server_thumbprint: variable("IDENTITY_SERVER_THUMBPRINT"),
            imds_endpoint: variable("IMDS_ENDPOINT"),
            msi_endpoint: variable("MSI_ENDPOINT"),
            msi_secret: variable("MSI_SECRET").map(Secret::new),
            default_identity_client_id: variable("DEFAULT_IDENTITY_CLIENT_ID"),
            pod_identity_authority_host: variable("AZURE_POD_IDENTITY_AUTHORITY_HOST"),
            arc_agent: false,
            arc_key_folder: arc_key_folder(),
        }
    }

    /// Sets whether the agent of Azure Arc is installed.
    #[must_use]
    pub fn arc_agent(mut self, is_installed: bool) -> Self {
        self.arc_agent = is_installed;
        self
    }

    /// Sets where the agent of Azure Arc keeps its keys, for tests: content of `.key` files there is sent to the agent. It must
    /// be a folder that only the agent can write.
    #[must_use]
    pub fn arc_key_folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.arc_key_folder = folder.as_ref().to_owned();
        self
    }
}

/// Names nothing but what was found: two of the values are secrets.
impl fmt::Debug for ManagedIdentityEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedIdentityEnvironment")
            .field("identity_endpoint", &self.identity_endpoint.is_some())
            .field("identity_header", &self.identity_header.is_some())
            .field("imds_endpoint", &self.imds_endpoint.is_some())
            .field("msi_endpoint", &self.msi_endpoint.is_some())
            .field("msi_secret", &self.msi_secret.is_some())
            .field("arc_agent", &self.arc_agent)
            .finish_non_exhaustive()
    }
}

#[cfg(windows)]
fn arc_program() -> Option<PathBuf> {
    let programs = PathBuf::from(std::env::var_os("ProgramFiles")?);
    Some(programs.join("AzureConnectedMachineAgent").join("himds.exe"))
}

#[cfg(not(windows))]
#[allow(
    clippy::unnecessary_wraps,
    reason = "Windows may not say where its programs are"
)]
fn arc_program() -> Option<PathBuf> {
    Some(PathBuf::from("/opt/azcmagent/bin/himds"))
}

#[cfg(windows)]
fn arc_key_folder() -> PathBuf {
    let data = std::env::var_os("ProgramData").unwrap_or_else(|| r"C:\ProgramData".into());
    PathBuf::from(data)
        .join("AzureConnectedMachineAgent")
        .join("Tokens")
}

#[cfg(not(windows))]
fn arc_key_folder() -> PathBuf {
    PathBuf::from("/var/opt/azcmagent/tokens")
}
