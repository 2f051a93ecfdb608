//! Azure Arc: the agent's program listens on loopback, and wants to be shown that the caller may read its files.
//!
//! Source: Microsoft Learn, "Authenticate against Azure resources with Azure Arc-enabled servers".
//!
//! The agent answers the first request with the path of a file. Whoever listens in its place could name any file that the
//! program can read and be sent its content, so only a `.key` file right in the agent's own folder is ever opened.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use cache_core::secret::Secret;
use url::Url;
use zeroize::Zeroizing;

use super::source::{Ask, endpoint_url, get, with_metadata_header};
use super::{ManagedIdentityError, ManagedIdentityId};
use crate::error::ConfigurationError;
use crate::http::{HttpRequest, HttpResponse, is_loopback};

const API_VERSION: &str = "2019-11-01";
const AGENT: &str = "http://127.0.0.1:40342/metadata/identity/oauth2/token";

/// How large a key may be, in bytes.
const LARGEST_KEY: usize = 4096;

pub(crate) struct AzureArc {
    url: Url,
    key_folder: PathBuf,
}

impl AzureArc {
    pub(super) fn new(
        endpoint: Option<&str>,
        key_folder: &Path,
        identity: &ManagedIdentityId,
    ) -> Result<Self, ConfigurationError> {
        identity.must_be_system_assigned("Azure Arc")?;
        let url = endpoint_url("IDENTITY_ENDPOINT", endpoint.unwrap_or(AGENT))?;
        if !is_loopback(&url) {
            return Err(ConfigurationError::new(
                "the environment variable IDENTITY_ENDPOINT names another machine; the agent of Azure Arc runs on this one",
            ));
        }
        Ok(Self {
            url,
            key_folder: key_folder.to_owned(),
        })
    }

    pub(super) fn request(&self, ask: &Ask<'_>) -> HttpRequest {
        with_metadata_header(get(&self.url, API_VERSION, ask, None))
    }

    /// The key file that a reply asks for; `None` when it asks for none.
    pub(crate) fn challenge(&self, response: &HttpResponse) -> Option<Result<PathBuf, ManagedIdentityError>> {
        (response.status == 401).then(|| {
            let challenge = response
                .header("www-authenticate")
                .ok_or(ManagedIdentityError::ChallengeUnreadable)?;
            self.key_file(challenge)
        })
    }

    fn key_file(&self, challenge: &str) -> Result<PathBuf, ManagedIdentityError> {
        const PREFIX: &str = "Basic realm=";
        let path = match challenge.trim().split_at_checked(PREFIX.len()) {
            Some((prefix, path)) if prefix.eq_ignore_ascii_case(PREFIX) => path,
            _ => return Err(ManagedIdentityError::ChallengeUnreadable),
        };
        let unquoted = path.strip_prefix('"').and_then(|path| path.strip_suffix('"'));
        let path = unquoted.unwrap_or(path);
        let name = path
            .rsplit(std::path::is_separator)
            .next()
            .filter(|name| name.strip_suffix(".key").is_some_and(|stem| !stem.is_empty()))
            .ok_or(ManagedIdentityError::KeyRefused)?;
        let expected = self.key_folder.join(name);
        // The whole text is compared, so that `..` and doubled separators are another path than the one that is meant.
        if Path::new(path).as_os_str() != expected.as_os_str() {
            return Err(ManagedIdentityError::KeyRefused);
        }
        Ok(expected)
    }
}

/// The `Authorization` header that shows the content of the key file at `path`. It blocks.
pub(crate) fn authorization(path: &Path) -> Result<Secret, ManagedIdentityError> {
    let unreadable = |error: std::io::Error| ManagedIdentityError::KeyUnreadable(error.kind());
    let file = open(path).map_err(|error| match is_link(&error) {
        true => ManagedIdentityError::KeyRefused,
        false => unreadable(error),
    })?;
    // Asked of the file that was opened: by its name, it could be another one by now.
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(ManagedIdentityError::KeyRefused);
    }
    let mut key = Zeroizing::new(Vec::with_capacity(LARGEST_KEY + 1));
    let limit = LARGEST_KEY as u64 + 1;
    file.take(limit).read_to_end(&mut key).map_err(unreadable)?;
    if key.len() > LARGEST_KEY {
        return Err(ManagedIdentityError::KeyTooLarge);
    }
    let key = std::str::from_utf8(&key)
        .map(str::trim_end)
        .ok()
        .filter(|key| !key.is_empty() && key.bytes().all(|byte| (b' '..=b'~').contains(&byte)))
        .ok_or(ManagedIdentityError::KeyMalformed)?;
    Ok(Secret::new(format!("Basic {key}")))
}

/// A link would lead out of the folder, so it is not followed; a pipe, which nobody may ever write to, is not waited for.
#[cfg(unix)]
fn open(path: &Path) -> std::io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

#[cfg(unix)]
fn is_link(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// There, only administrators make links as a rule.
#[cfg(not(unix))]
fn open(path: &Path) -> std::io::Result<File> {
    match path.symlink_metadata()?.is_symlink() {
        true => Err(std::io::ErrorKind::InvalidInput.into()),
        false => File::open(path),
    }
}

#[cfg(not(unix))]
fn is_link(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::InvalidInput
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_link_a_pipe_and_a_folder_are_not_read_as_keys() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "canary").unwrap();
        let (link, pipe, inner) = (
            folder.path().join("link.key"),
            folder.path().join("pipe.key"),
            folder.path().join("inner.key"),
        );
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        std::fs::create_dir(&inner).unwrap();
        for path in [link, pipe, inner] {
            let refused = authorization(&path).map(|_| ());
            assert_eq!(
                refused,
                Err(ManagedIdentityError::KeyRefused),
                "{}",
                path.display()
            );
        }
        assert_eq!(authorization(&secret).unwrap().expose(), "Basic canary");
    }

    #[test]
    fn only_a_key_right_in_the_folder_is_named() {
        let folder = Path::new("/var/opt/azcmagent/tokens");
        let arc = AzureArc::new(None, folder, &ManagedIdentityId::SystemAssigned).unwrap();
        for good in [
            "Basic realm=/var/opt/azcmagent/tokens/a-b.key",
            "basic realm=\"/var/opt/azcmagent/tokens/a-b.key\"",
        ] {
            assert_eq!(arc.key_file(good), Ok(folder.join("a-b.key")), "{good}");
        }
        for path in [
            "/etc/shadow",
            "/etc/ssl/server.key",
            "/var/opt/azcmagent/tokens/../../../../etc/ssl/server.key",
            "/var/opt/azcmagent/tokens/./a.key",
            "/var/opt/azcmagent/tokens//a.key",
            "/var/opt/azcmagent/tokens/sub/a.key",
            "/var/opt/azcmagent/tokens/a.pem",
            "/var/opt/azcmagent/tokens/.key",
            "/var/opt/azcmagent/tokens/a.key/",
            "/var/opt/azcmagent/tokens/a.key,charset=x",
            "var/opt/azcmagent/tokens/a.key",
            "a.key",
            "",
        ] {
            let challenge = format!("Basic realm={path}");
            assert_eq!(
                arc.key_file(&challenge),
                Err(ManagedIdentityError::KeyRefused),
                "{path}"
            );
        }
        for other in ["", "Bearer realm=/a.key", "Basic", "Negotiate"] {
            assert_eq!(
                arc.key_file(other),
                Err(ManagedIdentityError::ChallengeUnreadable),
                "{other}"
            );
        }
    }
}
