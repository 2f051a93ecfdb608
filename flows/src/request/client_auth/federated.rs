//! Workload identity: a platform, such as Kubernetes, writes a token of its own into a file and renews it there, and
//! the authority trusts that token as the client's assertion.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use async_trait::async_trait;
use cache_core::secret::Secret;
use zeroize::Zeroizing;

use super::{AssertionRequest, ClientAssertionError, ClientAssertionProvider};
use crate::authority::Authority;
use crate::error::ConfigurationError;

const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const CLIENT_ID: &str = "AZURE_CLIENT_ID";
const TENANT_ID: &str = "AZURE_TENANT_ID";
const AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
const PUBLIC_CLOUD: &str = "https://login.microsoftonline.com";

/// How many bytes are read of a file: far more than a token has, and few enough for any file to be named by mistake.
const MOST_BYTES: u64 = 64 * 1024;

/// A file with a client assertion, which is read for every request because its writer renews it.
///
/// ```no_run
/// use cache_core::cache::TokenCache;
/// use flows::authority::Authority;
/// use flows::client::{ClientCredential, ConfidentialClient};
/// use flows::request::FederatedTokenFile;
///
/// # async fn token(authority: Authority, cache: TokenCache) -> Result<(), flows::Error> {
/// let file = FederatedTokenFile::new("/var/run/secrets/tokens/assertion");
/// let credential = ClientCredential::federated_token_file(file);
/// let client = ConfidentialClient::builder("my-client", authority, credential, cache).build()?;
/// let result = client.acquire_token_for_client(["api:read"]).await?;
/// # let _ = result; Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederatedTokenFile {
    path: PathBuf,
}

impl FederatedTokenFile {
    /// The file at `path`. It need not exist yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file that `AZURE_FEDERATED_TOKEN_FILE` names.
    ///
    /// # Errors
    /// [`ConfigurationError`] when the variable is not set, or is empty.
    pub fn from_environment() -> Result<Self, ConfigurationError> {
        required(&environment, TOKEN_FILE).map(Self::new)
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }
}

#[async_trait]
impl ClientAssertionProvider for FederatedTokenFile {
    async fn assertion(&self, _request: &AssertionRequest<'_>) -> Result<Secret, ClientAssertionError> {
        let path = self.path.clone();
        // A disk, and a named pipe even more, may take its time; the caller's deadline goes on meanwhile.
        match tokio::task::spawn_blocking(move || read(path)).await {
            Ok(read) => read,
            Err(error) => Err(ClientAssertionError::provider(error)),
        }
    }
}

/// Who a workload is, as the webhook of Azure Workload Identity tells it by its environment.
///
/// ```no_run
/// use cache_core::cache::TokenCache;
/// use flows::client::{ClientCredential, ConfidentialClient};
/// use flows::request::WorkloadIdentity;
///
/// # async fn token(cache: TokenCache) -> Result<(), flows::Error> {
/// let identity = WorkloadIdentity::from_environment()?;
/// let credential = ClientCredential::federated_token_file(identity.token_file);
/// let client = ConfidentialClient::builder(identity.client_id, identity.authority, credential, cache).build()?;
/// let result = client.acquire_token_for_client(["https://vault.azure.net/.default"]).await?;
/// # let _ = result; Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkloadIdentity {
    /// `AZURE_CLIENT_ID`.
    pub client_id: String,
    /// `AZURE_TENANT_ID` at `AZURE_AUTHORITY_HOST`, which is the public cloud's unless set.
    pub authority: Authority,
    /// `AZURE_FEDERATED_TOKEN_FILE`.
    pub token_file: FederatedTokenFile,
}

impl WorkloadIdentity {
    /// Reads the environment.
    ///
    /// # Errors
    /// [`ConfigurationError`] when a variable is missing, or host and tenant make no authority.
    pub fn from_environment() -> Result<Self, ConfigurationError> {
        Self::from_variables(environment)
    }

    /// Reads what `variable` says of each name, as [`from_environment`](Self::from_environment) does of the
    /// environment; for programs that are configured otherwise.
    ///
    /// # Errors
    /// As [`from_environment`](Self::from_environment).
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigurationError> {
        let host = required(&variable, AUTHORITY_HOST).unwrap_or_else(|_| PUBLIC_CLOUD.to_owned());
        let tenant = required(&variable, TENANT_ID)?;
        Ok(Self {
            client_id: required(&variable, CLIENT_ID)?,
            authority: Authority::entra(&format!("{}/{tenant}", host.trim_end_matches('/')))?,
            token_file: required(&variable, TOKEN_FILE).map(FederatedTokenFile::new)?,
        })
    }
}

impl fmt::Debug for WorkloadIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadIdentity")
            .field("client_id", &self.client_id)
            .field("authority", &self.authority)
            .field("token_file", &self.token_file.path)
            .finish()
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn required(variable: &dyn Fn(&str) -> Option<String>, name: &str) -> Result<String, ConfigurationError> {
    variable(name)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| ConfigurationError::new(format!("the environment variable {name} is not set")))
}

fn read(path: PathBuf) -> Result<Secret, ClientAssertionError> {
    // One byte more than is allowed tells a file that is too large from one that just fits. The buffer never grows,
    // so no part of the token is left behind unwiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_BYTES as usize + 1));
    let outcome = File::open(&path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes));
    if let Err(source) = outcome {
        return Err(ClientAssertionError::File { path, source });
    }
    if bytes.len() as u64 > MOST_BYTES {
        let limit = MOST_BYTES;
        return Err(ClientAssertionError::TooLarge { path, limit });
    }
    let token = bytes.trim_ascii();
    if token.is_empty() {
        return Err(ClientAssertionError::EmptyFile { path });
    }
    match std::str::from_utf8(token) {
        Ok(token) if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Secret::new(token)),
        _ => Err(ClientAssertionError::NotOneToken { path }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

    fn identity(set: &[(&str, &str)]) -> Result<WorkloadIdentity, ConfigurationError> {
        WorkloadIdentity::from_variables(|name| {
            let found = set.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_workload_is_told_by_its_environment() {
        let mut set = vec![
            ("AZURE_CLIENT_ID", "c"),
            ("AZURE_TENANT_ID", TENANT),
            ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token"),
            ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us/"),
        ];
        let found = identity(&set).unwrap();
        assert_eq!(
            found.authority.url(),
            format!("https://login.microsoftonline.us/{TENANT}")
        );
        assert_eq!(found.client_id, "c");
        assert_eq!(found.token_file.path(), std::path::Path::new("/var/run/token"));

        // An empty variable counts as unset, and the host alone may be missing.
        set[3].1 = "";
        let public = identity(&set).unwrap().authority;
        assert_eq!(public.environment(), "login.microsoftonline.com");
        for missing in 0..3 {
            let mut less = set.clone();
            let (name, _) = less.remove(missing);
            assert!(identity(&less).unwrap_err().to_string().contains(name));
        }
    }

    #[test]
    fn a_file_holds_one_token_of_bounded_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let of = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            read(path.clone())
        };
        assert_eq!(of(b" a.b.c\r\n").unwrap().expose(), "a.b.c");
        assert_eq!(
            of(&vec![b'a'; MOST_BYTES as usize]).unwrap().expose().len(),
            65_536
        );
        let refused = of(&vec![b'a'; MOST_BYTES as usize + 1]);
        assert!(matches!(
            refused,
            Err(ClientAssertionError::TooLarge {
                limit: MOST_BYTES,
                ..
            })
        ));
        assert!(matches!(of(b" \n"), Err(ClientAssertionError::EmptyFile { .. })));
        for other in [&b"canary two"[..], b"canary\xff", b"canary\0"] {
            let refused = of(other).unwrap_err();
            assert!(matches!(refused, ClientAssertionError::NotOneToken { .. }));
            assert!(!format!("{refused} {refused:?}").contains("canary"));
        }
        let missing = read(folder.path().join("none")).unwrap_err();
        assert!(matches!(missing, ClientAssertionError::File { .. }));
    }
}
